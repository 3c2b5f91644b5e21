//! What comes out of the engine.

use std::time::SystemTime;

use serde_json::Value;

/// One browser, as long as its WebSocket lives. A UUID on the wire.
pub type PeerId = uuid::Uuid;

/// How far a peer's media connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerState {
    /// Signalling is open; media is not there yet.
    Connecting,
    /// Media flows.
    Connected,
    /// No answer from the peer for some seconds; it may come back.
    Disconnected,
    /// The media connection is lost for good.
    Failed,
}

impl PeerState {
    /// The word of the JavaScript API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Connected => "connected",
            Self::Disconnected => "disconnected",
            Self::Failed => "failed",
        }
    }
}

/// What is known of a peer.
#[derive(Debug, Clone, PartialEq)]
pub struct PeerInfo {
    /// Its name on the wire.
    pub id: PeerId,
    /// How far its media connection is.
    pub state: PeerState,
    /// When its WebSocket was accepted.
    pub created_at: SystemTime,
    /// `token` of its WebSocket's address: what the application gave the page to prove who it is.
    pub token: Option<String>,
}

/// Sound from a browser's microphone: PCM, signed 16-bit little-endian, interleaved.
#[derive(Debug, Clone, PartialEq)]
pub struct Speech {
    /// Who speaks.
    pub peer: PeerId,
    /// The samples.
    pub data: Vec<u8>,
    /// Samples a second and channel.
    pub sample_rate: u32,
    /// Channels, interleaved.
    pub channels: u16,
    /// When its first sample was received, in ms of the Unix clock.
    pub timestamp_ms: f64,
    /// Whether the avatar's own voice may be in it: it was played at that time, or shortly before.
    pub avatar_speaking: bool,
}

/// One thing that the application may want to know.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A WebSocket was accepted.
    PeerConnected(PeerInfo),
    /// A peer whose WebSocket broke is there again.
    PeerResumed(PeerInfo),
    /// A WebSocket ended, and its peer did not come back.
    PeerDisconnected {
        /// Whose.
        peer: PeerId,
        /// Why, in words.
        reason: String,
    },
    /// A client's offer, as it was sent.
    Offer {
        /// Whose.
        peer: PeerId,
        /// The `data` of its message.
        offer: Value,
    },
    /// A client's answer to an offer of the application, as it was sent.
    Answer {
        /// Whose.
        peer: PeerId,
        /// The `data` of its message.
        answer: Value,
    },
    /// A client's candidate, as it was sent.
    IceCandidate {
        /// Whose.
        peer: PeerId,
        /// The `data` of its message.
        candidate: Value,
    },
    /// A command from the `avatar-control` data channel.
    Command {
        /// Whose.
        peer: PeerId,
        /// `change-character`, `change-emotion`, …
        command: String,
        /// Its argument.
        data: Value,
    },
    /// A piece of what a browser's user says, while they say it.
    IncomingAudio(Speech),
    /// The whole of what a browser's user said, once they stopped.
    Utterance(Speech),
    /// Somebody began to speak.
    SpeechStarted {
        /// Who.
        peer: PeerId,
        /// When the first of it was received, in ms of the Unix clock.
        timestamp_ms: f64,
        /// As in [`Speech::avatar_speaking`].
        avatar_speaking: bool,
    },
    /// They stopped, as long ago as the hang-over says.
    SpeechEnded {
        /// Who.
        peer: PeerId,
        /// When the last of it was received.
        timestamp_ms: f64,
    },
    /// All sound that was pushed has been played.
    PlayoutEnded,
    /// Something was wrong with pushed media or the machine; at most one a second and kind.
    Warning(String),
    /// The server itself failed.
    Error(String),
}

/// How many events a sink had no room for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DroppedEvents {
    /// What microphones hear: [`Event::IncomingAudio`], [`Event::Utterance`], and that somebody speaks.
    pub audio: u32,
    /// What clients write, and warnings.
    pub messages: u32,
    /// Who came and left, and what failed.
    pub state: u32,
}

/// Where events go. Called from the engine's own threads: it must not block.
pub trait EventSink: Send + Sync + 'static {
    /// Takes one event.
    fn emit(&self, event: Event);

    /// What it had no room for so far; a sink without a bound drops nothing.
    fn dropped(&self) -> DroppedEvents {
        DroppedEvents::default()
    }
}

impl<F: Fn(Event) + Send + Sync + 'static> EventSink for F {
    fn emit(&self, event: Event) {
        self(event);
    }
}

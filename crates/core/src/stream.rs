//! One avatar's media: where pushed frames and chunks become packets, and what its viewers ask for.

use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use serde_json::Value;

use crate::config::{MediaConfig, MicrophoneConfig};
use crate::encode::{self, VideoPipeline};
use crate::error::StartError;
use crate::event::{Event, EventSink, PeerId, PeerState};
use crate::media::{AudioChunk, PushOutcome, VideoFrame};
use crate::media_pool::PoolHandle;
use crate::microphone::{Hearing, MicrophoneHandle, Spurt};
use crate::peers::Peers;
use crate::playout::{AudioPipeline, EncodedAudio};
use crate::rtp::{MediaClock, OPUS_CLOCK_HZ, Packetizer, VIDEO_CLOCK_HZ};
use crate::source::{MediaOutput, OutputCounts};
use crate::transport::{StreamDelegate, StreamHandle, Track};
use crate::wall_clock::unix_ms;

/// The data channel of the browser page.
pub(crate) const CONTROL_CHANNEL: &str = "avatar-control";

/// The encoders, while a source is attached.
struct Media {
    video: VideoPipeline,
    audio: AudioPipeline,
}

/// Those who receive.
#[derive(Clone, Copy, Default)]
struct Audience {
    viewers: usize,
    listeners: usize,
}

pub(crate) struct Stream {
    media: RwLock<Option<Media>>,
    /// The tracks' numbering goes on from one source to the next: an SRTP index must never seal two different
    /// packets.
    video: Arc<Mutex<Packetizer>>,
    audio: Arc<Mutex<Packetizer>>,
    audience: Mutex<Audience>,
    peers: Arc<Peers>,
    pool: PoolHandle,
    microphones: MicrophoneHandle,
    pub(crate) hearing: Arc<Hearing>,
    events: Arc<dyn EventSink>,
}

impl Stream {
    pub(crate) fn new(
        peers: Arc<Peers>,
        pool: PoolHandle,
        microphones: MicrophoneHandle,
        events: Arc<dyn EventSink>,
    ) -> Arc<Self> {
        Arc::new(Self {
            media: RwLock::new(None),
            video: Arc::default(),
            audio: Arc::default(),
            audience: Mutex::default(),
            peers,
            pool,
            microphones,
            hearing: Hearing::new(&MicrophoneConfig::default(), events.clone()),
            events,
        })
    }

    /// Starts the encoders; what they make goes out through `handle`.
    pub(crate) fn open_media(
        &self,
        config: &MediaConfig,
        handle: &Arc<StreamHandle>,
    ) -> Result<(), StartError> {
        let warn = || {
            let events = self.events.clone();
            Box::new(move |text| events.emit(Event::Warning(text)))
        };
        let media = Media {
            video: VideoPipeline::spawn(
                &self.pool,
                config,
                publish_video(handle.clone(), self.video.clone()),
                warn(),
            )?,
            audio: AudioPipeline::spawn(
                &self.pool,
                config,
                publish_audio(handle.clone(), self.audio.clone()),
                warn(),
            )
            .map_err(|source| StartError::Thread {
                what: "the sound encoder",
                source,
            })?,
        };
        self.hearing.configure(&config.microphone);
        let old = self.media.write().replace(media);
        drop(old);
        self.follow_audience();
        Ok(())
    }

    /// Ends the encoders.
    pub(crate) fn close_media(&self) {
        let media = self.media.write().take();
        drop(media);
    }

    fn follow_audience(&self) {
        // Held to the end, so that the last word is the newest.
        let audience = self.audience.lock();
        if let Some(media) = &*self.media.read() {
            media.video.set_watched(audience.viewers > 0);
            media.audio.set_heard(audience.listeners > 0);
        }
    }
}

/// An encoded frame becomes an access unit of the video track.
fn publish_video(handle: Arc<StreamHandle>, track: Arc<Mutex<Packetizer>>) -> encode::Output {
    let mut clock = MediaClock::default();
    Box::new(move |frame| {
        let wall_ms = clock.map(frame.timestamp_ms, unix_ms());
        let timestamp = MediaClock::ticks(wall_ms, VIDEO_CLOCK_HZ);
        let unit = track
            .lock()
            .h264(&frame.data, timestamp, wall_ms, frame.keyframe);
        if let Some(unit) = unit {
            handle.publish(Track::Video, unit);
        }
    })
}

/// An Opus packet becomes an access unit of the audio track.
fn publish_audio(
    handle: Arc<StreamHandle>,
    track: Arc<Mutex<Packetizer>>,
) -> Box<dyn FnMut(EncodedAudio) + Send> {
    // A source counts its samples from zero; on the track they follow the Unix clock, as the pictures do.
    let mut origin = None;
    Box::new(move |audio| {
        let start = || {
            MediaClock::ticks(audio.wall_ms, OPUS_CLOCK_HZ).saturating_sub(audio.sample_position)
        };
        let timestamp = *origin.get_or_insert_with(start) + audio.sample_position;
        let unit = track
            .lock()
            .opus(audio.data, timestamp, audio.wall_ms, audio.spurt_start);
        if let Some(unit) = unit {
            handle.publish(Track::Audio, unit);
        }
    })
}

impl MediaOutput for Stream {
    fn push_video(&self, frame: VideoFrame<'_>) {
        if let Some(media) = &*self.media.read() {
            media.video.push(frame);
        }
    }

    fn push_audio(&self, chunk: AudioChunk<'_>) -> PushOutcome {
        match &*self.media.read() {
            Some(media) => media.audio.push(chunk),
            None => PushOutcome::Queued,
        }
    }

    fn counts(&self) -> OutputCounts {
        match &*self.media.read() {
            Some(media) => {
                let video = media.video.stats();
                OutputCounts {
                    encoded_frames: video.encoded,
                    superseded_frames: video.superseded,
                    undecodable_frames: video.invalid,
                    keyframes: video.keyframes,
                    queued_audio_ms: media.audio.queued_ms(),
                }
            }
            None => OutputCounts::default(),
        }
    }
}

impl StreamDelegate for Stream {
    fn state(&self, peer: PeerId, state: PeerState) {
        if state == PeerState::Failed {
            self.microphones.close(peer);
        }
        self.peers.set_state(peer, state);
    }

    fn gone(&self, peer: PeerId) {
        self.microphones.close(peer);
    }

    fn keyframe_wanted(&self) {
        if let Some(media) = &*self.media.read() {
            media.video.request_keyframe();
        }
    }

    fn audience(&self, viewers: usize, listeners: usize) {
        *self.audience.lock() = Audience { viewers, listeners };
        self.follow_audience();
    }

    fn hearing(&self) -> Arc<Hearing> {
        self.hearing.clone()
    }

    fn microphone(&self, peer: PeerId, spurt: Spurt) {
        self.microphones.hear(peer, &self.hearing, spurt);
    }

    fn text(&self, peer: PeerId, label: &str, text: &str) {
        if label != CONTROL_CHANNEL {
            return;
        }
        let Ok(Value::Object(mut message)) = serde_json::from_str(text) else {
            tracing::debug!(%peer, "a data-channel message is not a JSON object");
            return;
        };
        if let Some(Value::String(command)) = message.remove("command") {
            let data = message.remove("data").unwrap_or(Value::Null);
            self.events.emit(Event::Command {
                peer,
                command,
                data,
            });
        }
    }
}

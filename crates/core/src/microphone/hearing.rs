//! What one stream wants to hear of its microphones, where that goes, and what it costs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;

use crate::config::MicrophoneConfig;
use crate::event::EventSink;

/// Beyond the pre-roll, for the decoder and the detector to find their feet before what is delivered begins: a
/// few packets of Opus, and the detector's window of 80 ms.
const WARM_UP: Duration = Duration::from_millis(120);

/// A microphone stays open for this long after the last loud packet, on top of the hang-over, so that the gate
/// behind the decoder has closed by then: its window of 80 ms, and a second in all by default.
const RELEASE: Duration = Duration::from_millis(600);

/// From the moment that the avatar's voice is sent until its echo may come back: a browser's jitter buffer and playout, the
/// room, and the microphone's way here.
const ECHO_MS: f64 = 400.0;

/// What is listened to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// [`Event::IncomingAudio`](crate::event::Event::IncomingAudio).
    pub chunks: bool,
    /// [`Event::Utterance`](crate::event::Event::Utterance).
    pub utterances: bool,
    /// [`Event::SpeechStarted`](crate::event::Event::SpeechStarted) and
    /// [`Event::SpeechEnded`](crate::event::Event::SpeechEnded).
    pub speech: bool,
}

/// How much of a microphone is to be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attention {
    /// Nothing: nobody listens.
    Nothing,
    /// What may be speech.
    Speech,
    /// Silence too.
    Everything,
}

/// What a stream's microphones cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MicrophoneUsage {
    /// Microphones that are being decoded now.
    pub decoders: usize,
    /// Packets that were decoded, or waited for it in vain.
    pub packets: u64,
    /// Packets that the microphones' thread had no time for.
    pub dropped: u64,
}

/// One stream's wishes. Read by the network thread at each packet: nothing there is locked.
pub struct Hearing {
    chunks: AtomicBool,
    utterances: AtomicBool,
    speech: AtomicBool,
    voice_gating: AtomicBool,
    pre_roll_ms: AtomicU32,
    hang_over_ms: AtomicU32,
    /// Read where a microphone is opened.
    config: Mutex<MicrophoneConfig>,
    /// Until when the avatar is heard, in ms of the Unix clock.
    avatar_until_ms: AtomicU64,
    pub(super) events: Arc<dyn EventSink>,
    pub(super) decoders: AtomicUsize,
    pub(super) packets: AtomicU64,
    pub(super) dropped: AtomicU64,
}

impl Hearing {
    /// Listens to everything, as `config` says; what is heard goes to `events`.
    pub fn new(config: &MicrophoneConfig, events: Arc<dyn EventSink>) -> Arc<Self> {
        let hearing = Self {
            chunks: AtomicBool::new(true),
            utterances: AtomicBool::new(true),
            speech: AtomicBool::new(true),
            voice_gating: AtomicBool::default(),
            pre_roll_ms: AtomicU32::default(),
            hang_over_ms: AtomicU32::default(),
            config: Mutex::default(),
            avatar_until_ms: AtomicU64::default(),
            events,
            decoders: AtomicUsize::default(),
            packets: AtomicU64::default(),
            dropped: AtomicU64::default(),
        };
        hearing.configure(config);
        Arc::new(hearing)
    }

    /// For the microphones that are opened from now on.
    pub fn configure(&self, config: &MicrophoneConfig) {
        let ms = |time: Duration| u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
        self.voice_gating.store(config.voice_gating, Relaxed);
        self.pre_roll_ms.store(ms(config.pre_roll), Relaxed);
        self.hang_over_ms.store(ms(config.hang_over), Relaxed);
        *self.config.lock() = config.clone();
    }

    /// From now on.
    pub fn set_wanted(&self, wanted: Wanted) {
        self.chunks.store(wanted.chunks, Relaxed);
        self.utterances.store(wanted.utterances, Relaxed);
        self.speech.store(wanted.speech, Relaxed);
    }

    /// What is listened to.
    pub fn wanted(&self) -> Wanted {
        Wanted {
            chunks: self.chunks.load(Relaxed),
            utterances: self.utterances.load(Relaxed),
            speech: self.speech.load(Relaxed),
        }
    }

    /// What that asks of each microphone.
    pub fn attention(&self) -> Attention {
        let Wanted {
            chunks,
            utterances,
            speech,
        } = self.wanted();
        if chunks && !self.gates_voice() {
            Attention::Everything
        } else if chunks || utterances || speech {
            Attention::Speech
        } else {
            Attention::Nothing
        }
    }

    /// Whether chunks come only while somebody speaks.
    pub fn gates_voice(&self) -> bool {
        self.voice_gating.load(Relaxed)
    }

    /// How much of the time before a loud packet is to be decoded with it.
    pub fn look_back(&self) -> Duration {
        Duration::from_millis(self.pre_roll_ms.load(Relaxed).into()) + WARM_UP
    }

    /// How long quiet packets are decoded after a loud one.
    pub fn release(&self) -> Duration {
        Duration::from_millis(self.hang_over_ms.load(Relaxed).into()) + RELEASE
    }

    /// The avatar's voice went out just now.
    pub fn avatar_speaks(&self, now_ms: f64) {
        self.avatar_until_ms.fetch_max(now_ms as u64, Relaxed);
    }

    /// Whether a microphone may hear the avatar in what was received from `from_ms` of the Unix clock on.
    pub fn hears_avatar(&self, from_ms: f64) -> bool {
        from_ms <= self.avatar_until_ms.load(Relaxed) as f64 + ECHO_MS
    }

    /// What the microphones cost.
    pub fn usage(&self) -> MicrophoneUsage {
        MicrophoneUsage {
            decoders: self.decoders.load(Relaxed),
            packets: self.packets.load(Relaxed),
            dropped: self.dropped.load(Relaxed),
        }
    }

    pub(super) fn config(&self) -> MicrophoneConfig {
        self.config.lock().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Event;

    #[test]
    fn silence_is_wanted_only_for_chunks_without_gating() {
        let config = |voice_gating| MicrophoneConfig {
            voice_gating,
            ..MicrophoneConfig::default()
        };
        let hearing = Hearing::new(&config(true), Arc::new(|_: Event| ()));
        let ask = |voice_gating, chunks, utterances, speech| {
            hearing.configure(&config(voice_gating));
            hearing.set_wanted(Wanted {
                chunks,
                utterances,
                speech,
            });
            hearing.attention()
        };
        assert_eq!(ask(true, true, true, true), Attention::Speech);
        assert_eq!(ask(true, false, true, false), Attention::Speech);
        assert_eq!(ask(false, false, true, false), Attention::Speech);
        assert_eq!(ask(false, false, false, true), Attention::Speech);
        assert_eq!(ask(false, true, false, false), Attention::Everything);
        assert_eq!(ask(false, false, false, false), Attention::Nothing);
    }

    #[test]
    fn the_avatar_may_be_heard_for_a_while_after_it_was_sent() {
        let hearing = Hearing::new(&MicrophoneConfig::default(), Arc::new(|_: Event| ()));
        assert!(!hearing.hears_avatar(1_000.0));
        hearing.avatar_speaks(5_000.0);
        assert!(hearing.hears_avatar(5_399.0));
        assert!(!hearing.hears_avatar(5_401.0));
    }
}

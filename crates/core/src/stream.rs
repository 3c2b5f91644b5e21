//! One avatar's media: where pushed frames and chunks become packets, and what its viewers ask for.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};
use serde_json::{Value, json};

use crate::codec::{AudioCodec, KeyframeReason, Layer, PerLayer, VideoCodec};
use crate::config::MicrophoneConfig;
use crate::encode::{self, VideoPipeline};
use crate::error::StartError;
use crate::event::{Event, EventSink, PeerId, PeerState};
use crate::media::{AudioChunk, PushOutcome, VideoFrame, opus_packet};
use crate::media_clock::{self, MediaClock};
use crate::media_pool::PoolHandle;
use crate::microphone::{Hearing, MicrophoneHandle, Spurt};
use crate::peers::Peers;
use crate::playout::{
    AudioPipeline, Cue, CueTime, EncodedAudio, Interrupted, Notice, Notify, POSITION_HZ,
};
use crate::rtp::{MAX_PAYLOAD, Packetizer};
use crate::source::{MediaOutput, OutputCounts, Source};
use crate::transport::{StreamDelegate, StreamHandle};
use crate::wall_clock::unix_ms;

/// More than a browser buffers, and less than half the range of an RTP timestamp.
const LONG_AGO_MS: f64 = 10_000.0;

/// The data channel of the browser page.
pub(crate) const CONTROL_CHANNEL: &str = "avatar-control";

/// The encoders, while a source is attached.
struct Media {
    video: VideoPipeline,
    audio: AudioPipeline,
}

pub(crate) struct Stream {
    media: RwLock<Option<Media>>,
    /// A layer's numbering goes on from one encoder and source to the next: an SRTP index must never seal two
    /// different packets.
    packetizers: Packetizers,
    /// How many receive each layer.
    audience: Mutex<PerLayer<usize>>,
    peers: Arc<Peers>,
    pool: PoolHandle,
    microphones: MicrophoneHandle,
    pub(crate) hearing: Arc<Hearing>,
    /// Peers that are not heard.
    muted: Mutex<HashSet<PeerId>>,
    events: Arc<dyn EventSink>,
    announce: Announce,
    /// Where the sound that went out ends, on the media clock at [`POSITION_HZ`].
    sound_end: Arc<AtomicU64>,
}

/// Tells every client.
pub(crate) type Announce = Arc<dyn Fn(Value) + Send + Sync>;

impl Stream {
    pub(crate) fn new(
        peers: Arc<Peers>,
        pool: PoolHandle,
        microphones: MicrophoneHandle,
        events: Arc<dyn EventSink>,
        announce: Announce,
    ) -> Arc<Self> {
        Arc::new(Self {
            media: RwLock::new(None),
            packetizers: Arc::default(),
            audience: Mutex::default(),
            peers,
            pool,
            microphones,
            hearing: Hearing::new(&MicrophoneConfig::default(), events.clone()),
            muted: Mutex::default(),
            events,
            announce,
            sound_end: Arc::default(),
        })
    }

    /// Starts the encoders; what they make goes out through `handle`.
    pub(crate) fn open_media(
        &self,
        source: &Source,
        handle: &Arc<StreamHandle>,
    ) -> Result<(), StartError> {
        let config = source.config();
        let warn = || {
            let events = source.events().clone();
            Box::new(move |text| events.emit(Event::Warning(text)))
        };
        let clock = Arc::<Mutex<MediaClock>>::default();
        let media = Media {
            video: VideoPipeline::spawn(
                &self.pool,
                config,
                clock.clone(),
                publish_video(handle.clone(), self.packetizers.clone()),
                warn(),
            )?,
            audio: AudioPipeline::spawn(
                &self.pool,
                config,
                clock,
                publish_audio(
                    handle.clone(),
                    self.packetizers.clone(),
                    self.sound_end.clone(),
                    self.hearing.clone(),
                ),
                self.on_notice(source),
            )
            .map_err(|source| StartError::Thread {
                what: "the sound encoder",
                source,
            })?,
        };
        self.hearing.configure(&config.microphone);
        handle.set_max_latency(config.max_latency);
        let old = self.media.write().replace(media);
        drop(old);
        self.follow_audience();
        Ok(())
    }

    /// What the sound tells goes to the source, and cues to every client.
    fn on_notice(&self, source: &Source) -> Notify {
        let (events, announce) = (source.events().clone(), self.announce.clone());
        Box::new(move |notice| match notice {
            Notice::Ended => events.emit(Event::PlayoutEnded),
            Notice::Warning(text) => events.emit(Event::Warning(text)),
            Notice::Cues(cues) => {
                let cue =
                    |Cue { position, data }| json!({"audioTime": millis_of(position), "cue": data});
                let cues: Vec<Value> = cues.into_iter().map(cue).collect();
                announce(json!({"type": "cues", "data": cues}));
            }
        })
    }

    /// Hears nothing of a peer from now on, or hears it again. False: it was so before.
    pub(crate) fn set_muted(&self, peer: PeerId, muted: bool) -> bool {
        let changed = match muted {
            true => self.muted.lock().insert(peer),
            false => self.muted.lock().remove(&peer),
        };
        if changed && muted {
            self.microphones.close(peer);
        }
        changed
    }

    /// A peer has left: what was set for it ends. Its transport may come and go before.
    pub(crate) fn forget(&self, peer: PeerId) {
        self.muted.lock().remove(&peer);
    }

    /// Ends the encoders; tells whether that cut off what was being said.
    pub(crate) fn close_media(&self) -> bool {
        let media = self.media.write().take();
        media.is_some_and(|media| !media.audio.queued().is_zero())
    }

    /// How many receive each layer.
    pub(crate) fn layer_viewers(&self) -> PerLayer<usize> {
        *self.audience.lock()
    }

    /// What the encoders answer; while there are none, that there is nothing.
    fn ask_media<T: Default>(&self, ask: impl FnOnce(&Media) -> T) -> T {
        self.media.read().as_ref().map(ask).unwrap_or_default()
    }

    fn follow_audience(&self) {
        // Held to the end, so that the last word is the newest.
        let audience = self.audience.lock();
        let watched = VideoCodec::ALL
            .into_iter()
            .filter(|codec| audience[Layer::Video(*codec)] > 0);
        let heard = AudioCodec::ALL
            .into_iter()
            .filter(|codec| audience[Layer::Audio(*codec)] > 0);
        if let Some(media) = &*self.media.read() {
            media.video.set_watched(&watched.collect::<Vec<_>>());
            media.audio.set_heard(&heard.collect::<Vec<_>>());
        }
    }
}

type Packetizers = Arc<Mutex<PerLayer<Packetizer>>>;

/// An encoded frame becomes an access unit of its layer.
fn publish_video(handle: Arc<StreamHandle>, packetizers: Packetizers) -> encode::Output {
    Box::new(move |frame| {
        let layer = Layer::Video(frame.codec);
        let timestamp = media_clock::ticks(frame.timestamp_ms, layer.clock_hz());
        // Not held while it is handed on: sound has its packets cut under the same lock.
        let unit =
            packetizers.lock()[layer].picture(frame.codec, &frame.data, timestamp, frame.keyframe);
        if let Some(unit) = unit {
            handle.publish(layer, unit);
        }
    })
}

// A pushed Opus packet is one payload: it is not split.
const _: () = assert!(opus_packet::MAX_BYTES <= MAX_PAYLOAD);

/// A packet of sound becomes an access unit of its layer.
fn publish_audio(
    handle: Arc<StreamHandle>,
    packetizers: Packetizers,
    newest_end: Arc<AtomicU64>,
    hearing: Arc<Hearing>,
) -> Box<dyn FnMut(EncodedAudio) + Send> {
    Box::new(move |audio| {
        newest_end.fetch_max(audio.end(), Relaxed);
        if audio.is_sound {
            hearing.avatar_speaks(unix_ms());
        }
        let layer = Layer::Audio(audio.codec);
        // Packets begin at multiples of 2.5 ms: whole ticks of every clock.
        let timestamp = audio.position * u64::from(layer.clock_hz()) / u64::from(POSITION_HZ);
        let unit = packetizers.lock()[layer].sound(audio.data, timestamp, audio.spurt_start);
        if let Some(unit) = unit {
            handle.publish(layer, unit);
        }
    })
}

/// A place on the media clock in ms.
fn millis_of(position: u64) -> f64 {
    position as f64 * 1_000.0 / f64::from(POSITION_HZ)
}

impl MediaOutput for Stream {
    fn push_video(&self, frame: VideoFrame<'_>) {
        if let Some(media) = &*self.media.read() {
            media.video.push(frame);
        }
    }

    fn video_waits(&self) -> Duration {
        self.ask_media(|media| media.video.waits())
    }

    fn queued_audio(&self) -> Duration {
        self.ask_media(|media| media.audio.queued())
    }

    fn push_audio(&self, chunk: AudioChunk<'_>) -> PushOutcome {
        match &*self.media.read() {
            Some(media) => media.audio.push(chunk),
            None => PushOutcome::Queued,
        }
    }

    fn push_cue(&self, time: CueTime, data: &Value) -> PushOutcome {
        match &*self.media.read() {
            Some(media) => media.audio.push_cue(time, data.clone()),
            None => PushOutcome::Queued,
        }
    }

    fn interrupt(&self) -> Interrupted {
        let Some(media) = &*self.media.read() else {
            return Interrupted::default();
        };
        media.video.drop_waiting();
        let cut = media.audio.interrupt();
        if cut.played > Duration::ZERO || cut.recalls_cues {
            // What went out is still in the clients' buffers: they need not play it.
            let until = millis_of(self.sound_end.load(Relaxed)) + cut.tail.as_secs_f64() * 1_000.0;
            // If nothing was sent yet, then a time that was.
            let until = until.max(unix_ms() - LONG_AGO_MS);
            (self.announce)(json!({"type": "interrupt", "data": {"audioTime": until}}));
        }
        cut
    }

    fn counts(&self) -> OutputCounts {
        self.ask_media(|media| {
            let video = media.video.stats();
            OutputCounts {
                encoded_frames: video.encoded,
                superseded_frames: video.superseded,
                undecodable_frames: video.invalid,
                keyframes: video.keyframes,
                encode_time: video.encode_time,
                queued_audio_ms: media.audio.queued().as_secs_f64() * 1_000.0,
            }
        })
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

    fn keyframe_wanted(&self, codec: VideoCodec, reason: KeyframeReason) {
        if let Some(media) = &*self.media.read() {
            media.video.request_keyframe(codec, reason);
        }
    }

    fn sound_lost(&self, share: f64) {
        if let Some(media) = &*self.media.read() {
            media.audio.report_loss(share, Instant::now());
        }
    }

    fn audience(&self, audience: &PerLayer<usize>) {
        *self.audience.lock() = *audience;
        self.follow_audience();
    }

    fn hearing(&self) -> Arc<Hearing> {
        self.hearing.clone()
    }

    fn microphone(&self, peer: PeerId, spurt: Spurt) {
        if !self.muted.lock().contains(&peer) {
            self.microphones.hear(peer, &self.hearing, spurt);
        }
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

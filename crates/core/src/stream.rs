//! One avatar's media: where pushed frames and chunks become packets, and what its viewers ask for.

use std::sync::Arc;
use std::time::Instant;

use parking_lot::{Mutex, RwLock};
use serde_json::Value;

use crate::codec::{AudioCodec, Layer, PerLayer, VideoCodec};
use crate::config::{MediaConfig, MicrophoneConfig};
use crate::encode::{self, VideoPipeline};
use crate::error::StartError;
use crate::event::{Event, EventSink, PeerId, PeerState};
use crate::media::{AudioChunk, PushOutcome, VideoFrame};
use crate::media_pool::PoolHandle;
use crate::microphone::{Hearing, MicrophoneHandle, Spurt};
use crate::peers::Peers;
use crate::playout::{AudioPipeline, EncodedAudio, POSITION_HZ};
use crate::rtp::{MediaClock, Packetizer};
use crate::source::{MediaOutput, OutputCounts};
use crate::transport::{StreamDelegate, StreamHandle};
use crate::wall_clock::unix_ms;

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
            packetizers: Arc::default(),
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
                publish_video(handle.clone(), self.packetizers.clone()),
                warn(),
            )?,
            audio: AudioPipeline::spawn(
                &self.pool,
                config,
                publish_audio(handle.clone(), self.packetizers.clone()),
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
    let mut clock = MediaClock::default();
    // The layers of a picture have one time.
    let mut shown = (f64::NAN, 0.0);
    Box::new(move |frame| {
        if shown.0 != frame.timestamp_ms {
            shown = (frame.timestamp_ms, clock.map(frame.timestamp_ms, unix_ms()));
        }
        let layer = Layer::Video(frame.codec);
        let (wall_ms, keyframe) = (shown.1, frame.keyframe);
        let timestamp = MediaClock::ticks(wall_ms, layer.clock_hz());
        // Not held while it is handed on: sound has its packets cut under the same lock.
        let unit = packetizers.lock()[layer].picture(
            frame.codec,
            &frame.data,
            timestamp,
            wall_ms,
            keyframe,
        );
        if let Some(unit) = unit {
            handle.publish(layer, unit);
        }
    })
}

/// 20 ms of sound become an access unit of their layer.
fn publish_audio(
    handle: Arc<StreamHandle>,
    packetizers: Packetizers,
) -> Box<dyn FnMut(EncodedAudio) + Send> {
    // A source counts its samples from zero; on the track they follow the Unix clock, as the pictures do.
    let mut origin_ms = None;
    Box::new(move |audio| {
        let layer = Layer::Audio(audio.codec);
        let position_ms = audio.sample_position as f64 * 1_000.0 / f64::from(POSITION_HZ);
        let origin_ms = *origin_ms.get_or_insert((audio.wall_ms - position_ms).floor());
        // Whole milliseconds and 20 ms a packet: whole ticks of every clock.
        let timestamp = MediaClock::ticks(origin_ms + position_ms, layer.clock_hz());
        let unit = packetizers.lock()[layer].sound(
            audio.data,
            timestamp,
            audio.wall_ms,
            audio.spurt_start,
        );
        if let Some(unit) = unit {
            handle.publish(layer, unit);
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

    fn keyframe_wanted(&self, codec: VideoCodec) {
        if let Some(media) = &*self.media.read() {
            media.video.request_keyframe(codec);
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

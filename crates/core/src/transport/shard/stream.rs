//! One avatar as a shard sees it: its viewers here, and what they may ask for again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::Io;
use super::members::Members;
use crate::codec::{AudioCodec, KeyframeReason, Layer, PerLayer, VideoCodec};
use crate::rtp::{AccessUnit, History};
use crate::transport::StreamDelegate;
use crate::transport::counters::Counters;
use crate::wall_clock::unix_ms;

/// Until somebody says otherwise.
const MAX_LATENCY_MS: u32 = 200;

/// What all shards share of a stream.
pub(crate) struct StreamHub {
    pub(crate) delegate: Arc<dyn StreamDelegate>,
    pub(crate) counters: Arc<Counters>,
    /// How many receive each layer, of each shard.
    audience: Mutex<Vec<PerLayer<usize>>>,
    /// A unit that waited longer for its shard is not sent any more: the machine cannot keep up, and what comes late makes
    /// everything after it late too.
    max_latency_ms: AtomicU32,
    /// Whether there was anything to hear yet.
    pub(crate) has_sound: AtomicBool,
}

impl StreamHub {
    pub(crate) fn new(delegate: Arc<dyn StreamDelegate>, shards: usize) -> Arc<Self> {
        Arc::new(Self {
            delegate,
            counters: Arc::default(),
            audience: Mutex::new(vec![PerLayer::default(); shards]),
            max_latency_ms: AtomicU32::new(MAX_LATENCY_MS),
            has_sound: AtomicBool::new(false),
        })
    }

    pub(super) fn max_latency(&self) -> Duration {
        Duration::from_millis(self.max_latency_ms.load(Relaxed).into())
    }

    pub(crate) fn set_max_latency(&self, max_latency: Duration) {
        let ms = u32::try_from(max_latency.as_millis()).unwrap_or(u32::MAX);
        self.max_latency_ms.store(ms, Relaxed);
    }

    /// Takes one shard's count, and tells the delegate the sum.
    fn count(&self, shard: usize, audience: PerLayer<usize>) {
        let mut parts = self.audience.lock();
        if let Some(part) = parts.get_mut(shard) {
            *part = audience;
        }
        let mut sum = PerLayer::default();
        for layer in Layer::all() {
            sum[layer] = parts.iter().map(|part| part[layer]).sum();
        }
        // The lock is held meanwhile, so that the last word is the newest.
        self.delegate.audience(&sum);
    }
}

/// A stream within one shard.
pub(super) struct Stream {
    pub(super) hub: Arc<StreamHub>,
    /// All of its peers, whatever they receive.
    pub(super) peers: Vec<usize>,
    layers: PerLayer<LayerStream>,
}

/// One of its layers.
#[derive(Default)]
struct LayerStream {
    /// Those who receive it.
    peers: Vec<usize>,
    /// Who is served first moves on with each access unit.
    first_served: usize,
    history: History,
    /// Video came too late and was left out: nothing can be decoded before the next keyframe.
    is_broken: bool,
}

impl Stream {
    pub(super) fn new(hub: Arc<StreamHub>) -> Self {
        Self {
            hub,
            peers: Vec::new(),
            layers: PerLayer::default(),
        }
    }

    /// What those who receive a layer may ask for again.
    pub(super) fn history(&self, layer: Layer) -> &History {
        &self.layers[layer].history
    }

    /// Whether a unit that was published at `published` is still to be sent.
    pub(super) fn accepts(
        &mut self,
        now: Instant,
        published: Instant,
        layer: Layer,
        unit: &AccessUnit,
    ) -> bool {
        let is_late = now.saturating_duration_since(published) > self.hub.max_latency();
        let state = &mut self.layers[layer];
        if let Layer::Video(codec) = layer {
            state.is_broken = is_late || state.is_broken && !unit.keyframe;
            if is_late && !state.peers.is_empty() {
                self.hub
                    .delegate
                    .keyframe_wanted(codec, KeyframeReason::LeftOut);
            }
        }
        let left_out = is_late || state.is_broken;
        self.hub.counters.late_units.add(left_out.into());
        !left_out
    }

    /// Sends one access unit to all who receive its layer, and the reports that are due.
    pub(super) fn fan_out(
        &mut self,
        now: Instant,
        layer: Layer,
        unit: Arc<AccessUnit>,
        members: &mut Members,
        io: &mut Io,
    ) {
        let (scratch, sockets) = (&mut io.scratch, &io.sockets);
        let has_sound = self.hub.has_sound.load(Relaxed);
        let state = &mut self.layers[layer];
        state.history.push(unit.clone());
        let first = state.first_served.min(state.peers.len());
        state.first_served = (first + 1) % state.peers.len().max(1);
        let now_ms = unix_ms();

        let (last, first) = self.layers[layer].peers.split_at(first);
        for &key in first.iter().chain(last) {
            let Some(outlet) = members.outlet(key) else {
                continue;
            };
            let waited = outlet.waits_for_keyframe();
            outlet.send(layer, &unit, scratch, sockets, &self.hub.counters);
            // One that did not get its keyframe either has to be given another.
            let asks = !waited || unit.keyframe;
            if let Layer::Video(codec) = layer
                && outlet.waits_for_keyframe()
                && asks
            {
                self.hub
                    .delegate
                    .keyframe_wanted(codec, KeyframeReason::LeftOut);
            }
            outlet.report(now, now_ms, has_sound, sockets);
        }
    }

    /// Follows a change of what the peer `key` receives.
    pub(super) fn recount(&mut self, shard: usize, key: usize, before: Receives, after: Receives) {
        if before == after {
            return;
        }
        for (before, after) in before.layers().into_iter().zip(after.layers()) {
            if before == after {
                continue;
            }
            if let Some(layer) = before {
                self.layers[layer].peers.retain(|&peer| peer != key);
            }
            if let Some(layer) = after {
                self.layers[layer].peers.push(key);
            }
        }
        let mut audience = PerLayer::default();
        for layer in Layer::all() {
            audience[layer] = self.layers[layer].peers.len();
        }
        self.hub.count(shard, audience);
    }
}

/// What one viewer receives.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Receives {
    pub(super) video: Option<VideoCodec>,
    pub(super) audio: Option<AudioCodec>,
}

impl Receives {
    fn layers(self) -> [Option<Layer>; 2] {
        [self.video.map(Layer::Video), self.audio.map(Layer::Audio)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::Packetizer;
    use crate::transport::testing::Told;

    const H264: Layer = Layer::Video(VideoCodec::H264);

    #[test]
    fn after_a_late_frame_everybody_waits_for_a_keyframe_that_is_in_time() {
        let delegate = Arc::<Told>::default();
        let mut stream = Stream::new(StreamHub::new(delegate.clone(), 1));
        stream.layers[H264].peers.push(0);
        let mut packetizer = Packetizer::default();
        let start = Instant::now();
        let mut accepts = |layer, waited_ms: u64, keyframe| {
            let unit = packetizer
                .picture(VideoCodec::H264, &[0, 0, 1, 0x65, 1], 0, keyframe)
                .unwrap();
            let now = start + Duration::from_millis(waited_ms);
            stream.accepts(now, start, layer, &unit)
        };
        let in_time = [accepts(H264, 200, true), accepts(H264, 200, false)];
        let late = [
            accepts(H264, 201, false),
            accepts(H264, 0, false),
            accepts(H264, 300, true),
        ];
        let other = accepts(Layer::Video(VideoCodec::Vp8), 0, false);
        let after = [
            accepts(H264, 0, false),
            accepts(H264, 0, true),
            accepts(H264, 0, false),
        ];
        assert_eq!(in_time, [true, true]);
        assert_eq!(late, [false, false, false]);
        assert!(other, "another layer is not late");
        assert_eq!(after, [false, true, true]);
        assert_eq!(*delegate.keyframes_wanted.lock(), [VideoCodec::H264; 2]);
        assert_eq!(stream.hub.counters.snapshot().late_units, 4);
    }

    #[test]
    fn the_audience_of_each_layer_is_the_sum_of_all_shards() {
        let delegate = Arc::<Told>::default();
        let hub = StreamHub::new(delegate.clone(), 2);
        let mut shards = [Stream::new(hub.clone()), Stream::new(hub)];
        let nothing = Receives::default();
        let video = |codec| Receives {
            video: Some(codec),
            audio: None,
        };
        let both = Receives {
            video: Some(VideoCodec::H264),
            audio: Some(AudioCodec::Opus),
        };
        shards[0].recount(0, 7, nothing, both);
        shards[1].recount(1, 7, nothing, video(VideoCodec::H264));
        shards[1].recount(1, 7, video(VideoCodec::H264), video(VideoCodec::H264));
        shards[1].recount(1, 7, video(VideoCodec::H264), video(VideoCodec::Vp8));
        shards[0].recount(0, 7, both, nothing);
        let told = [(1, 0, 1), (2, 0, 1), (1, 1, 1), (0, 1, 0)];
        assert_eq!(*delegate.audiences.lock(), told);
    }
}

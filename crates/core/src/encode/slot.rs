//! The latest-frame slot between the pushing threads and the encoders.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::codec::VideoCodec;
use crate::media::{PixelFormat, VideoFrame};

/// One buffer is filled, one waits, one is encoded.
const MAX_BUFFERS: usize = 3;

/// What a pipeline did since it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct VideoStats {
    /// Frames pushed.
    pub frames_in: u64,
    /// Pictures that were encoded, in one layer or in several.
    pub encoded: u64,
    /// Keyframes of all layers.
    pub keyframes: u64,
    /// Pictures among the encoded ones that were the last one again, since a keyframe was wanted and no frame came.
    pub repeated: u64,
    /// Frames that a newer one replaced before they were encoded, while somebody watched.
    pub superseded: u64,
    /// Frames that a newer one replaced while nobody watched.
    pub unwatched: u64,
    /// Frames that could not be decoded.
    pub invalid: u64,
    /// Times that an encoder failed, or skipped a picture.
    pub failed: u64,
    /// Bytes given to the output, of all layers.
    pub bytes: u64,
    /// Mean time from a frame to the picture that is encoded.
    pub convert_time: Duration,
    /// Mean time that all encoders took for a picture.
    pub encode_time: Duration,
}

/// The counters behind [`VideoStats`].
#[derive(Default)]
pub(super) struct Counters {
    pub(super) frames_in: AtomicU64,
    pub(super) encoded: AtomicU64,
    pub(super) keyframes: AtomicU64,
    pub(super) repeated: AtomicU64,
    pub(super) superseded: AtomicU64,
    pub(super) unwatched: AtomicU64,
    pub(super) invalid: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) bytes: AtomicU64,
    pub(super) converted: AtomicU64,
    pub(super) convert_ns: AtomicU64,
    pub(super) encode_ns: AtomicU64,
}

/// A frame in a buffer of ours.
pub(super) struct SlotFrame {
    data: Vec<u8>,
    width: u32,
    height: u32,
    timestamp_ms: f64,
    format: PixelFormat,
    /// When it was pushed, if nobody watched then: it may be shown much later.
    pub(super) kept_since: Option<Instant>,
}

/// That somebody watches a layer.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Watched {
    /// The first request for a keyframe that its policy has not been told of.
    pub(super) asked: Option<Instant>,
}

/// What there is to do.
pub(super) struct Orders {
    /// The frame to encode, if a new one came.
    pub(super) frame: Option<SlotFrame>,
    /// The layers to encode, by codec.
    pub(super) watched: ByCodec<Option<Watched>>,
}

/// Something of each [`VideoCodec`].
pub(super) type ByCodec<T> = [T; VideoCodec::ALL.len()];

/// The slot. Its lock is held for moves of pointers only, never for a copy or for encoding.
#[derive(Default)]
pub(super) struct Slot {
    state: Mutex<State>,
    pub(super) counters: Counters,
}

#[derive(Default)]
struct State {
    latest: Option<SlotFrame>,
    spare: Vec<Vec<u8>>,
    watched: ByCodec<Option<Watched>>,
}

impl Slot {
    /// Copies `frame` in, in the place of one that waits; tells whether it is to be encoded now.
    pub(super) fn push(&self, frame: VideoFrame<'_>) -> bool {
        self.counters.frames_in.fetch_add(1, Relaxed);
        let mut data = self.state.lock().spare.pop().unwrap_or_default();
        data.clear();
        data.extend_from_slice(frame.payload());

        let mut state = self.state.lock();
        let watched = state.is_watched();
        let replaced = state.latest.replace(SlotFrame {
            data,
            width: frame.width,
            height: frame.height,
            timestamp_ms: frame.timestamp_ms,
            format: frame.format,
            kept_since: (!watched).then(Instant::now),
        });
        if let Some(replaced) = replaced {
            let counter = match watched {
                true => &self.counters.superseded,
                false => &self.counters.unwatched,
            };
            counter.fetch_add(1, Relaxed);
            state.recycle(replaced.data);
        }
        watched
    }

    /// Asks for a keyframe of a layer that is watched.
    pub(super) fn request_keyframe(&self, codec: VideoCodec, now: Instant) {
        if let Some(watched) = &mut self.state.lock().watched[codec as usize] {
            watched.asked.get_or_insert(now);
        }
    }

    /// Says which layers are watched; the first who watches one needs a keyframe.
    pub(super) fn set_watched(&self, codecs: &[VideoCodec], now: Instant) {
        let mut state = self.state.lock();
        for (codec, watched) in VideoCodec::ALL.into_iter().zip(&mut state.watched) {
            if !codecs.contains(&codec) {
                *watched = None;
            } else if watched.is_none() {
                *watched = Some(Watched { asked: Some(now) });
            }
        }
    }

    /// What is to be done. A frame that nobody watches stays.
    pub(super) fn take(&self) -> Orders {
        let mut state = self.state.lock();
        let frame = match state.is_watched() {
            true => state.latest.take(),
            false => None,
        };
        let watched = state.watched;
        for layer in state.watched.iter_mut().flatten() {
            layer.asked = None;
        }
        Orders { frame, watched }
    }

    /// Takes the buffer of a frame that was encoded.
    pub(super) fn recycle(&self, frame: SlotFrame) {
        self.state.lock().recycle(frame.data);
    }
}

impl State {
    fn is_watched(&self) -> bool {
        self.watched.iter().any(Option::is_some)
    }

    fn recycle(&mut self, buffer: Vec<u8>) {
        if self.spare.len() < MAX_BUFFERS {
            self.spare.push(buffer);
        }
    }
}

impl SlotFrame {
    pub(super) fn borrow(&self) -> VideoFrame<'_> {
        VideoFrame {
            data: &self.data,
            width: self.width,
            height: self.height,
            timestamp_ms: self.timestamp_ms,
            format: self.format,
        }
    }
}

impl Counters {
    pub(super) fn snapshot(&self) -> VideoStats {
        let mean = |total_ns: &AtomicU64, count: u64| {
            Duration::from_nanos(total_ns.load(Relaxed) / count.max(1))
        };
        let encoded = self.encoded.load(Relaxed);
        VideoStats {
            frames_in: self.frames_in.load(Relaxed),
            encoded,
            keyframes: self.keyframes.load(Relaxed),
            repeated: self.repeated.load(Relaxed),
            superseded: self.superseded.load(Relaxed),
            unwatched: self.unwatched.load(Relaxed),
            invalid: self.invalid.load(Relaxed),
            failed: self.failed.load(Relaxed),
            bytes: self.bytes.load(Relaxed),
            convert_time: mean(&self.convert_ns, self.converted.load(Relaxed)),
            encode_time: mean(&self.encode_ns, encoded),
        }
    }
}

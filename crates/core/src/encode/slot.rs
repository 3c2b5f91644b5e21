//! The latest-frame slot between the pushing threads and the encoders.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::codec::{ByReason, KeyframeReason, VideoCodec};
use crate::error::DropReason;
use crate::histogram::{AtomicHistogram, Histogram};
use crate::media::{Converter, I420, PixelFormat, VideoFrame};

/// One buffer is filled, one waits, one is encoded.
const MAX_BUFFERS: usize = 3;

/// What a pipeline did since it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct VideoStats {
    /// Frames pushed.
    pub frames_in: u64,
    /// Pictures that were encoded, in one layer or in several.
    pub encoded: u64,
    /// Keyframes of all layers, by reason.
    pub keyframes: ByReason<u64>,
    /// Pictures among the encoded ones that were the last one again, since a keyframe was wanted and no frame came.
    pub repeated: u64,
    /// Frames that a newer one replaced, or an interruption dropped, before they were encoded, while somebody watched.
    pub superseded: u64,
    /// Frames that a newer one replaced while nobody watched.
    pub unwatched: u64,
    /// Frames that could not be decoded.
    pub invalid: u64,
    /// Times that an encoder failed, or skipped a picture.
    pub failed: u64,
    /// Bytes given to the output, of all layers.
    pub bytes: u64,
    /// Mean time from a frame to the picture that is encoded, on the thread that pushes or on one of the pool.
    pub convert_time: Duration,
    /// What an encoder took for a picture.
    pub encode_time: Histogram,
}

/// The counters behind [`VideoStats`].
#[derive(Default)]
pub(super) struct Counters {
    pub(super) frames_in: AtomicU64,
    pub(super) encoded: AtomicU64,
    pub(super) keyframes: ByReason<AtomicU64>,
    pub(super) repeated: AtomicU64,
    pub(super) superseded: AtomicU64,
    pub(super) unwatched: AtomicU64,
    pub(super) invalid: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) bytes: AtomicU64,
    converted: AtomicU64,
    convert_ns: AtomicU64,
    pub(super) encode_time: AtomicHistogram,
}

/// A frame in a buffer of ours.
pub(super) struct SlotFrame {
    content: Content,
    pub(super) timestamp_ms: f64,
    /// Whether somebody watched when it was pushed; otherwise it may be shown much later.
    pub(super) was_watched: bool,
}

enum Content {
    /// What needed nothing but its planes copied, or its colours converted, which costs no more than a copy.
    Picture(I420),
    /// What is decoded or scaled first: as it was pushed.
    Bytes {
        data: Vec<u8>,
        width: u32,
        height: u32,
        format: PixelFormat,
    },
}

/// That somebody watches a layer.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Watched {
    /// The first request for a keyframe that its policy has not been told of.
    pub(super) asked: Option<(Instant, KeyframeReason)>,
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
pub(super) struct Slot {
    /// Of the stream, in pixels.
    size: (u32, u32),
    state: Mutex<State>,
    pub(super) counters: Counters,
}

#[derive(Default)]
struct State {
    latest: Option<SlotFrame>,
    spare_pictures: Vec<I420>,
    spare_bytes: Vec<Vec<u8>>,
    watched: ByCodec<Option<Watched>>,
    /// Since when the encoders have been behind.
    waits_since: Option<Instant>,
}

impl Slot {
    /// An empty slot of a stream of `width` x `height` pixels.
    pub(super) fn new(width: u32, height: u32) -> Self {
        Self {
            size: (width, height),
            state: Mutex::default(),
            counters: Counters::default(),
        }
    }

    /// Takes `frame` in, in the place of one that waits; tells whether it is to be encoded now.
    pub(super) fn push(&self, frame: VideoFrame<'_>) -> bool {
        self.counters.frames_in.fetch_add(1, Relaxed);
        let content = self.take_in(&frame);
        let mut state = self.state.lock();
        let watched = state.is_watched();
        let replaced = state.latest.replace(SlotFrame {
            content,
            timestamp_ms: frame.timestamp_ms,
            was_watched: watched,
        });
        if let Some(replaced) = replaced {
            let counter = match watched {
                true => &self.counters.superseded,
                false => &self.counters.unwatched,
            };
            counter.fetch_add(1, Relaxed);
            state.recycle(replaced.content);
        }
        if watched {
            state.waits_since.get_or_insert_with(Instant::now);
        }
        watched
    }

    /// Drops the frame that waits, if somebody watches: otherwise it is the picture that the next one begins with.
    pub(super) fn drop_waiting(&self) {
        let mut state = self.state.lock();
        if state.is_watched()
            && let Some(dropped) = state.latest.take()
        {
            self.counters.superseded.fetch_add(1, Relaxed);
            state.recycle(dropped.content);
        }
    }

    /// How long the encoders have left frames waiting.
    pub(super) fn waits(&self) -> Duration {
        let since = self.state.lock().waits_since;
        since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    fn take_in(&self, frame: &VideoFrame<'_>) -> Content {
        if frame.format.is_raw() {
            let start = Instant::now();
            let spare = self.state.lock().spare_pictures.pop();
            let mut picture = spare.unwrap_or_else(|| I420::black(self.size.0, self.size.1));
            if picture.draw(frame) {
                self.counters.add_conversion(start.elapsed());
                return Content::Picture(picture);
            }
            self.state.lock().recycle(Content::Picture(picture));
        }
        let mut data = self.state.lock().spare_bytes.pop().unwrap_or_default();
        data.clear();
        data.extend_from_slice(frame.payload());
        Content::Bytes {
            data,
            width: frame.width,
            height: frame.height,
            format: frame.format,
        }
    }

    /// Asks for a keyframe of a layer that is watched.
    pub(super) fn request_keyframe(&self, codec: VideoCodec, reason: KeyframeReason, now: Instant) {
        if let Some(watched) = &mut self.state.lock().watched[codec as usize] {
            watched.asked.get_or_insert((now, reason));
        }
    }

    /// Says which layers are watched; the first who watches one needs a keyframe.
    pub(super) fn set_watched(&self, codecs: &[VideoCodec], now: Instant) {
        let mut state = self.state.lock();
        for (codec, watched) in VideoCodec::ALL.into_iter().zip(&mut state.watched) {
            if !codecs.contains(&codec) {
                *watched = None;
            } else if watched.is_none() {
                let asked = Some((now, KeyframeReason::Joined));
                *watched = Some(Watched { asked });
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
        state.waits_since = None;
        let watched = state.watched;
        for layer in state.watched.iter_mut().flatten() {
            layer.asked = None;
        }
        Orders { frame, watched }
    }

    /// Makes `frame` the picture of `converter`.
    pub(super) fn show(
        &self,
        frame: SlotFrame,
        converter: &mut Converter,
    ) -> Result<(), DropReason> {
        let mut content = frame.content;
        let shown = match &mut content {
            Content::Picture(picture) => {
                converter.show(picture);
                Ok(())
            }
            Content::Bytes {
                data,
                width,
                height,
                format,
            } => {
                let start = Instant::now();
                let frame = VideoFrame {
                    data,
                    width: *width,
                    height: *height,
                    timestamp_ms: frame.timestamp_ms,
                    format: *format,
                };
                let shown = converter.convert(&frame).map(|_| ());
                self.counters.add_conversion(start.elapsed());
                shown
            }
        };
        self.state.lock().recycle(content);
        shown
    }
}

impl State {
    fn is_watched(&self) -> bool {
        self.watched.iter().any(Option::is_some)
    }

    fn recycle(&mut self, content: Content) {
        match content {
            Content::Picture(picture) if self.spare_pictures.len() < MAX_BUFFERS => {
                self.spare_pictures.push(picture);
            }
            Content::Bytes { data, .. } if self.spare_bytes.len() < MAX_BUFFERS => {
                self.spare_bytes.push(data);
            }
            _ => {}
        }
    }
}

impl Counters {
    fn add_conversion(&self, time: Duration) {
        self.converted.fetch_add(1, Relaxed);
        self.convert_ns.fetch_add(time.as_nanos() as u64, Relaxed);
    }

    pub(super) fn snapshot(&self) -> VideoStats {
        let mean = |total_ns: &AtomicU64, count: u64| {
            Duration::from_nanos(total_ns.load(Relaxed) / count.max(1))
        };
        VideoStats {
            frames_in: self.frames_in.load(Relaxed),
            encoded: self.encoded.load(Relaxed),
            keyframes: std::array::from_fn(|reason| self.keyframes[reason].load(Relaxed)),
            repeated: self.repeated.load(Relaxed),
            superseded: self.superseded.load(Relaxed),
            unwatched: self.unwatched.load(Relaxed),
            invalid: self.invalid.load(Relaxed),
            failed: self.failed.load(Relaxed),
            bytes: self.bytes.load(Relaxed),
            convert_time: mean(&self.convert_ns, self.converted.load(Relaxed)),
            encode_time: self.encode_time.snapshot(),
        }
    }
}

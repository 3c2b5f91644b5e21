//! What a bridge counts. Pure: the time of each push is an argument.

use std::collections::VecDeque;

use crate::codec::ByReason;
use crate::error::DropReason;
use crate::histogram::Histogram;
use crate::source::OutputCounts;

/// A push is late when it comes more than this many frame intervals after its timestamp.
const LATE_INTERVALS: f64 = 1.5;
/// Weight of a new sample in the average latency.
const LATENCY_WEIGHT: f64 = 0.1;
/// `fps` is measured over this long.
const FPS_WINDOW_MS: f64 = 1_000.0;
/// Most pushes that the window remembers: thirty times the fastest `videoFps`.
const FPS_WINDOW_FRAMES: usize = 4_096;

/// A snapshot of the counters. All count since the bridge was made or its metrics were reset.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Metrics {
    /// Frames pushed while streaming, invalid ones included.
    pub video_frames: u64,
    /// Chunks pushed while streaming, invalid ones included.
    pub audio_chunks: u64,
    /// Late frames (sent all the same) and frames that were not sent.
    pub dropped_frames: u64,
    /// Late frames: sent all the same.
    pub late_frames: u64,
    /// Chunks that were not sent: invalid, or the audio queue was full.
    pub dropped_chunks: u64,
    /// Exponential average of the age of a frame at its push, in ms; 0 before the first.
    pub avg_latency_ms: f64,
    /// When the last frame was pushed, in ms of the Unix clock; 0 before the first.
    pub last_frame_time_ms: f64,
    /// Frames pushed in the last second.
    pub fps: f64,
    /// Whether the bridge is started.
    pub is_streaming: bool,
    /// Frames whose content could not be used.
    pub invalid_frames: u64,
    /// Chunks whose content could not be used.
    pub invalid_chunks: u64,
    /// Frames that a newer one replaced, or an interruption dropped, before they were encoded.
    pub superseded_frames: u64,
    /// Frames encoded, repeated ones included.
    pub encoded_frames: u64,
    /// Encoded frames that a decoder can begin at, by reason.
    pub keyframes: ByReason<u64>,
    /// What an encoder took for a frame.
    pub encode_time: Histogram,
    /// Sound that waits to be played, in ms.
    pub queued_audio_ms: f64,
    /// [`DropReason::code`] of the last frame that was not sent.
    pub last_frame_error: Option<&'static str>,
    /// [`DropReason::code`] of the last chunk that was not sent.
    pub last_chunk_error: Option<&'static str>,
}

/// Keeps the counters.
#[derive(Debug)]
pub(crate) struct Recorder {
    late_after_ms: f64,
    counted: Metrics,
    /// When each frame of the last second was pushed, oldest first.
    recent: VecDeque<f64>,
    has_latency: bool,
}

impl Recorder {
    pub(crate) fn new(video_fps: u32) -> Self {
        Self {
            late_after_ms: LATE_INTERVALS * 1_000.0 / f64::from(video_fps.max(1)),
            counted: Metrics::default(),
            recent: VecDeque::new(),
            has_latency: false,
        }
    }

    /// Counts a pushed frame; `refused` says why it is not sent.
    pub(crate) fn video(&mut self, timestamp_ms: f64, now_ms: f64, refused: Option<&DropReason>) {
        let latency = now_ms - timestamp_ms;
        let is_late = self.counted.video_frames > 0 && latency > self.late_after_ms;
        self.counted.video_frames += 1;
        self.counted.last_frame_time_ms = now_ms;
        if latency.is_finite() && refused != Some(&DropReason::BadTimestamp) {
            self.latency(latency);
        }
        self.forget_old(now_ms);
        if self.recent.len() == FPS_WINDOW_FRAMES {
            self.recent.pop_front();
        }
        self.recent.push_back(now_ms);
        match refused {
            Some(reason) => self.invalid_video(reason),
            None if is_late => {
                self.counted.late_frames += 1;
                self.counted.dropped_frames += 1;
            }
            None => {}
        }
    }

    /// Counts a pushed chunk; `refused` says why it is not sent.
    pub(crate) fn audio(&mut self, refused: Option<&DropReason>) {
        self.counted.audio_chunks += 1;
        if let Some(reason) = refused {
            self.unsent_audio(reason);
        }
    }

    /// Counts a frame whose content cannot be used.
    pub(crate) fn invalid_video(&mut self, reason: &DropReason) {
        self.counted.invalid_frames += 1;
        self.counted.dropped_frames += 1;
        self.counted.last_frame_error = Some(reason.code());
    }

    /// Counts a chunk that is not sent.
    pub(crate) fn unsent_audio(&mut self, reason: &DropReason) {
        if *reason != DropReason::QueueFull {
            self.counted.invalid_chunks += 1;
        }
        self.counted.dropped_chunks += 1;
        self.counted.last_chunk_error = Some(reason.code());
    }

    /// Counts what the outputs did since they were last asked.
    pub(crate) fn output(&mut self, added: &OutputCounts) {
        let counted = &mut self.counted;
        counted.encoded_frames += added.encoded_frames;
        for (total, added) in counted.keyframes.iter_mut().zip(added.keyframes) {
            *total += added;
        }
        counted.encode_time = counted.encode_time.plus(added.encode_time);
        counted.superseded_frames += added.superseded_frames;
        counted.invalid_frames += added.undecodable_frames;
        counted.dropped_frames += added.superseded_frames + added.undecodable_frames;
        counted.queued_audio_ms = added.queued_audio_ms;
        if added.undecodable_frames > 0 {
            counted.last_frame_error = Some(DropReason::Undecodable("picture").code());
        }
    }

    pub(crate) fn snapshot(&mut self, now_ms: f64, is_streaming: bool) -> Metrics {
        self.forget_old(now_ms);
        Metrics {
            fps: self.recent.len() as f64 * 1_000.0 / FPS_WINDOW_MS,
            is_streaming,
            ..self.counted.clone()
        }
    }

    pub(crate) fn reset(&mut self) {
        self.counted = Metrics::default();
        self.recent.clear();
        self.has_latency = false;
    }

    fn latency(&mut self, sample_ms: f64) {
        let average = &mut self.counted.avg_latency_ms;
        *average = if self.has_latency {
            *average * (1.0 - LATENCY_WEIGHT) + sample_ms * LATENCY_WEIGHT
        } else {
            sample_ms
        };
        self.has_latency = true;
    }

    /// The clock may also have been set back: what lies in the future is forgotten too.
    fn forget_old(&mut self, now_ms: f64) {
        self.recent
            .retain(|&at| at <= now_ms && now_ms - at < FPS_WINDOW_MS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latency_starts_at_the_first_sample_and_follows_with_weight_a_tenth() {
        let mut recorder = Recorder::new(30);
        recorder.video(900.0, 1_000.0, None);
        assert_eq!(recorder.snapshot(1_000.0, true).avg_latency_ms, 100.0);
        recorder.video(1_000.0, 1_000.0, None);
        assert_eq!(recorder.snapshot(1_000.0, true).avg_latency_ms, 90.0);
        recorder.video(f64::NAN, 1_000.0, Some(&DropReason::BadTimestamp));
        recorder.video(1.8e18, 1_000.0, Some(&DropReason::BadTimestamp));
        assert_eq!(recorder.snapshot(1_000.0, true).avg_latency_ms, 90.0);
    }

    #[test]
    fn a_late_frame_counts_as_dropped_but_never_the_first() {
        let mut recorder = Recorder::new(10);
        recorder.video(0.0, 1_000.0, None);
        assert_eq!(recorder.snapshot(1_000.0, true).dropped_frames, 0);
        recorder.video(850.0, 1_000.0, None);
        assert_eq!(recorder.snapshot(1_000.0, true).dropped_frames, 0);
        recorder.video(849.0, 1_000.0, None);
        let metrics = recorder.snapshot(1_000.0, true);
        assert_eq!((metrics.dropped_frames, metrics.late_frames), (1, 1));
    }

    #[test]
    fn a_late_frame_that_is_not_sent_counts_once() {
        let mut recorder = Recorder::new(30);
        recorder.video(1_000.0, 1_000.0, None);
        recorder.video(0.0, 1_000.0, Some(&DropReason::Undecodable("JPEG")));
        let metrics = recorder.snapshot(1_000.0, true);
        assert_eq!((metrics.dropped_frames, metrics.invalid_frames), (1, 1));
        assert_eq!(metrics.late_frames, 0);
        assert_eq!(metrics.last_frame_error, Some("undecodable"));
    }

    #[test]
    fn fps_is_what_was_pushed_in_the_last_second() {
        let mut recorder = Recorder::new(30);
        for frame in 0..90 {
            let now = f64::from(frame) * 1_000.0 / 30.0;
            recorder.video(now, now, None);
        }
        assert_eq!(recorder.snapshot(2_990.0, true).fps, 30.0);
        assert_eq!(recorder.snapshot(9_000.0, true).fps, 0.0);
    }

    #[test]
    fn a_full_queue_is_a_dropped_chunk_but_not_an_invalid_one() {
        let mut recorder = Recorder::new(30);
        recorder.audio(Some(&DropReason::QueueFull));
        recorder.audio(Some(&DropReason::BadLength(3)));
        let metrics = recorder.snapshot(0.0, true);
        assert_eq!(metrics.audio_chunks, 2);
        assert_eq!((metrics.dropped_chunks, metrics.invalid_chunks), (2, 1));
    }

    #[test]
    fn reset_forgets_everything() {
        let mut recorder = Recorder::new(30);
        recorder.video(900.0, 1_000.0, None);
        recorder.output(&OutputCounts {
            superseded_frames: 2,
            ..OutputCounts::default()
        });
        recorder.reset();
        assert_eq!(recorder.snapshot(1_000.0, false), Metrics::default());
    }
}

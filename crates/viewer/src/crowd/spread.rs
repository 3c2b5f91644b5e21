//! How far apart in time viewers get one and the same frame.

use std::collections::VecDeque;
use std::time::Duration;

use super::histogram::Histogram;

/// Frames that are still arriving somewhere: 2 s at 30 fps. An older one has reached all whom it will reach.
const FRAMES: usize = 64;

/// The newest frames, which a report leaves out since they may still be on their way.
const UNFINISHED: usize = 3;

/// Frames by their RTP timestamp, which one avatar's viewers share. Where they do not, nothing is counted.
#[derive(Default)]
pub(super) struct Spread {
    frames: VecDeque<Frame>,
    /// The newest frame before the window.
    before: Option<u32>,
    histogram: Histogram,
}

struct Frame {
    timestamp: u32,
    first: Duration,
    last: Duration,
    viewers: u32,
}

impl Spread {
    /// A viewer has got a frame whole.
    pub(super) fn record(&mut self, timestamp: u32, arrival: Duration) {
        if self.before == Some(timestamp) {
            return;
        }
        let known = self
            .frames
            .iter_mut()
            .rev()
            .find(|frame| frame.timestamp == timestamp);
        if let Some(frame) = known {
            frame.first = frame.first.min(arrival);
            frame.last = frame.last.max(arrival);
            frame.viewers += 1;
            return;
        }
        if self.frames.len() >= FRAMES
            && let Some(frame) = self.frames.pop_front()
        {
            count(&mut self.histogram, &frame);
        }
        self.frames.push_back(Frame {
            timestamp,
            first: arrival,
            last: arrival,
            viewers: 1,
        });
    }

    /// Forgets what was before.
    pub(super) fn begin_window(&mut self) {
        self.before = self.frames.back().map(|frame| frame.timestamp);
        self.frames.clear();
        self.histogram.clear();
    }

    /// All frames of the window that had the time to reach everybody.
    pub(super) fn report(&self) -> Histogram {
        let mut histogram = self.histogram.clone();
        let finished = self.frames.len().saturating_sub(UNFINISHED);
        for frame in self.frames.iter().take(finished) {
            count(&mut histogram, frame);
        }
        histogram
    }
}

fn count(histogram: &mut Histogram, frame: &Frame) {
    if frame.viewers > 1 {
        histogram.record((frame.last - frame.first).as_secs_f64() * 1_000.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spread_is_from_the_first_to_the_last_viewer() {
        let mut spread = Spread::default();
        for frame in 0..100u32 {
            for viewer in [2, 0, 5] {
                let arrival = Duration::from_millis(u64::from(frame) * 33 + viewer);
                spread.record(frame * 3_000, arrival);
            }
        }
        let histogram = spread.report();
        assert_eq!(histogram.total(), 100 - UNFINISHED as u64);
        assert_eq!(histogram.max_ms(), Some(5.0));
    }

    #[test]
    fn a_frame_of_one_viewer_has_no_spread() {
        let mut spread = Spread::default();
        for frame in 0..200u32 {
            spread.record(frame, Duration::from_millis(u64::from(frame)));
        }
        assert_eq!(spread.report().total(), 0);
    }

    #[test]
    fn a_frame_that_was_under_way_does_not_count_in_the_window() {
        let mut spread = Spread::default();
        spread.record(1, Duration::from_secs(1));
        spread.begin_window();
        for timestamp in [1, 1, 2, 2, 3, 3, 4, 4, 5, 5] {
            spread.record(timestamp, Duration::from_secs(2));
        }
        assert_eq!(spread.report().total(), 4 - UNFINISHED as u64);
    }
}

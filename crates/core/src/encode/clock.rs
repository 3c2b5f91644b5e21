//! Timestamps of what is sent: the source's own, kept strictly rising.

use std::time::{Duration, Instant};

/// Between two pictures whose source gave them no later time, in ms.
const STEP_MS: f64 = 1.0;
/// A source that falls back further than this has set its clock anew.
const JUMP_MS: f64 = 1_000.0;

/// Gives each emitted picture its time, in ms of the source's clock.
#[derive(Debug, Default)]
pub(super) struct MediaClock {
    /// The last emitted time, and when that was.
    last: Option<(f64, Instant)>,
    /// Added to the source's times since its clock jumped back, until it has caught up.
    offset_ms: f64,
}

impl MediaClock {
    /// The time of a frame that the source stamped with `timestamp_ms`.
    pub(super) fn of_frame(&mut self, timestamp_ms: f64, now: Instant) -> f64 {
        let Some((last_ms, _)) = self.last else {
            return self.emit(timestamp_ms, now);
        };
        if timestamp_ms > last_ms {
            self.offset_ms = 0.0;
            return self.emit(timestamp_ms, now);
        }
        let shifted = timestamp_ms + self.offset_ms;
        if last_ms - shifted > JUMP_MS {
            let next = self.next(now);
            self.offset_ms = next - timestamp_ms;
            return self.emit(next, now);
        }
        self.emit(shifted.max(last_ms + STEP_MS), now)
    }

    /// The time of the last picture when it is sent again: what the source's clock shows by now.
    pub(super) fn of_repeat(&mut self, now: Instant) -> f64 {
        let next = self.next(now);
        self.emit(next, now)
    }

    fn next(&self, now: Instant) -> f64 {
        self.last.map_or(0.0, |(last_ms, at)| {
            last_ms + millis(now.saturating_duration_since(at)).max(STEP_MS)
        })
    }

    fn emit(&mut self, timestamp_ms: f64, now: Instant) -> f64 {
        self.last = Some((timestamp_ms, now));
        timestamp_ms
    }
}

/// `duration` in ms.
pub(super) fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FRAME: Duration = Duration::from_millis(33);

    #[test]
    fn the_times_of_a_good_source_are_not_touched() {
        let start = Instant::now();
        let mut clock = MediaClock::default();
        for (n, timestamp) in [5e11, 5e11 + 33.0, 5e11 + 70.5].into_iter().enumerate() {
            assert_eq!(
                clock.of_frame(timestamp, start + n as u32 * FRAME),
                timestamp
            );
        }
    }

    #[test]
    fn a_repeated_picture_is_as_late_as_time_has_passed() {
        let start = Instant::now();
        let mut clock = MediaClock::default();
        clock.of_frame(1_000.0, start);
        assert_eq!(clock.of_repeat(start + Duration::from_secs(2)), 3_000.0);
        // Stamped before the repetition, pushed after it.
        assert_eq!(
            clock.of_frame(2_990.0, start + Duration::from_secs(2)),
            3_001.0
        );
        assert_eq!(
            clock.of_frame(3_033.0, start + Duration::from_secs(2)),
            3_033.0
        );
    }

    #[test]
    fn a_clock_that_jumps_back_goes_on_at_its_pace() {
        let start = Instant::now();
        let mut clock = MediaClock::default();
        clock.of_frame(1e12, start);
        assert_eq!(clock.of_frame(50.0, start + FRAME), 1e12 + 33.0);
        assert_eq!(clock.of_frame(83.0, start + 2 * FRAME), 1e12 + 66.0);
        assert_eq!(clock.of_frame(2e12, start + 3 * FRAME), 2e12);
    }

    proptest! {
        #[test]
        fn times_always_rise(
            steps in proptest::collection::vec((any::<bool>(), -5_000.0f64..5_000.0, 0u64..500), 1..100),
        ) {
            let mut clock = MediaClock::default();
            let mut now = Instant::now();
            let (mut source, mut last) = (1e12, clock.of_frame(1e12, now));
            for (repeat, step, wait) in steps {
                now += Duration::from_millis(wait);
                source += step;
                let emitted = if repeat { clock.of_repeat(now) } else { clock.of_frame(source, now) };
                prop_assert!(emitted > last);
                last = emitted;
            }
        }
    }
}

//! From the application's timestamps to a track's RTP clock.

/// A timestamp further than this from now is not believed: the source's clock is then taken to run from now.
const MAX_SKEW_MS: f64 = 2_000.0;

/// Maps the application's timestamps to times near the server's clock that never go back, so that a clock
/// that jumps or stands still neither stalls nor floods a receiver.
#[derive(Debug, Default)]
pub struct MediaClock {
    offset_ms: f64,
    last_ms: f64,
}

impl MediaClock {
    /// When a picture with the application's `timestamp_ms` is to be seen, if it was pushed at `now_ms`.
    /// Each result is at least 1 ms after the one before.
    pub fn map(&mut self, timestamp_ms: f64, now_ms: f64) -> f64 {
        if (timestamp_ms + self.offset_ms - now_ms).abs() > MAX_SKEW_MS {
            self.offset_ms = if (timestamp_ms - now_ms).abs() > MAX_SKEW_MS {
                now_ms - timestamp_ms
            } else {
                0.0
            };
        }
        let mapped = (timestamp_ms + self.offset_ms).max(self.last_ms + 1.0);
        self.last_ms = mapped;
        mapped
    }

    /// `wall_ms` in ticks of a clock of `rate` Hz since the Unix epoch.
    pub fn ticks(wall_ms: f64, rate: u32) -> u64 {
        (wall_ms * f64::from(rate) / 1_000.0).round().max(0.0) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sane_clock_is_kept_to_the_millisecond() {
        let mut clock = MediaClock::default();
        assert_eq!(clock.map(10_000.0, 10_012.0), 10_000.0);
        assert_eq!(clock.map(10_033.0, 10_040.0), 10_033.0);
    }

    #[test]
    fn a_jump_of_an_hour_goes_on_from_now() {
        let mut clock = MediaClock::default();
        clock.map(10_000.0, 10_000.0);
        assert_eq!(clock.map(3_610_033.0, 10_033.0), 10_033.0);
        assert_eq!(clock.map(3_610_066.0, 10_068.0), 10_066.0);
        assert_eq!(clock.map(10_100.0, 10_101.0), 10_100.0);
    }

    #[test]
    fn a_clock_that_stands_still_moves_on() {
        let mut clock = MediaClock::default();
        let mapped: Vec<f64> = (0..300)
            .map(|n| clock.map(10_000.0, 10_000.0 + f64::from(n) * 33.0))
            .collect();
        assert!(mapped.windows(2).all(|pair| pair[1] > pair[0]));
        assert!(*mapped.last().unwrap() > 10_000.0 + 299.0 * 33.0 - 2_100.0);
    }
}

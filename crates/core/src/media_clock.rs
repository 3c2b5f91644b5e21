//! One clock for an avatar's pictures and sound: the application's timestamps, as long as they can be believed.
//!
//! Its times are in ms of the Unix clock, and both tracks' RTP timestamps and sender reports are
//! made of nothing else: what the application stamped alike is played together, whatever it took to arrive.
//! Pictures lead, since they come steadily: sound follows a correction that they needed. Pure: time is an argument.

/// Older pictures and sounds than this are not believed to be so late.
const MAX_LATE_MS: f64 = 2_000.0;
/// What is stamped further ahead is not believed to be so early: nobody waits for longer because of a timestamp.
const MAX_EARLY_MS: f64 = 1_000.0;
/// A clock that is not believed must keep pace to within this.
const MAX_APART_MS: f64 = 60.0;
/// Between two pictures at least.
const STEP_MS: f64 = 1.0;
/// After so long without a picture sound finds its own time.
const LEAD_MS: f64 = 2_000.0;

/// Gives pictures and sound their times.
#[derive(Debug, Default)]
pub struct MediaClock {
    /// Added to the application's timestamps, since they could not be believed.
    offset_ms: f64,
    /// How late the last picture was that could be believed; none is early.
    late_ms: f64,
    /// The time of the last picture, and when it was given.
    last: Option<(f64, f64)>,
}

impl MediaClock {
    /// The time of a picture that the application stamped with `timestamp_ms`; at least 1 ms after the one before.
    pub fn picture(&mut self, timestamp_ms: f64, now_ms: f64) -> f64 {
        let is_next = |ms: f64| {
            is_credible(ms, now_ms, now_ms)
                && self.last.is_none_or(|(last_ms, _)| ms >= last_ms + STEP_MS)
        };
        if is_next(timestamp_ms) {
            self.offset_ms = 0.0;
            // An early one tells nothing of how late the others are.
            if timestamp_ms <= now_ms {
                self.late_ms = now_ms - timestamp_ms;
            }
        } else {
            let shifted_ms = timestamp_ms + self.offset_ms;
            let in_time_ms = now_ms - self.late_ms;
            // What was only stamped ahead is made good; another clock keeps its jitter.
            let most_ahead_ms = match is_credible(timestamp_ms, now_ms, now_ms) {
                true => 0.0,
                false => MAX_APART_MS,
            };
            let is_in_time = (-MAX_APART_MS..=most_ahead_ms).contains(&(shifted_ms - in_time_ms));
            if !is_in_time || !is_next(shifted_ms) {
                let last_ms = self.last.map_or(f64::MIN, |(last_ms, _)| last_ms);
                self.offset_ms = in_time_ms.max(last_ms + STEP_MS) - timestamp_ms;
            }
        }
        self.give(timestamp_ms + self.offset_ms, now_ms)
    }

    /// Where a timestamp of the application's is now, whatever it belongs to.
    pub fn moment(&self, timestamp_ms: f64) -> f64 {
        timestamp_ms + self.offset_ms
    }

    /// The time of the last picture when it is shown again.
    pub fn repeat(&mut self, now_ms: f64) -> f64 {
        self.give(self.next(now_ms), now_ms)
    }

    /// When a sound is to be heard that the application stamped with `timestamp_ms`. `queued_until_ms` is the time at which
    /// what is played before it ends, if it is not played yet: it follows that if its timestamp cannot be believed.
    pub fn sound(&mut self, timestamp_ms: f64, now_ms: f64, queued_until_ms: Option<f64>) -> f64 {
        let latest_ms = queued_until_ms.map_or(now_ms, |end_ms| end_ms.max(now_ms));
        let pictures_lead = self.last.is_some_and(|(_, at)| now_ms - at < LEAD_MS);
        if !pictures_lead && is_credible(timestamp_ms, now_ms, latest_ms) {
            self.offset_ms = 0.0;
        }
        let shifted_ms = timestamp_ms + self.offset_ms;
        if is_credible(shifted_ms, now_ms, latest_ms) {
            return shifted_ms;
        }
        if let Some(end_ms) = queued_until_ms {
            return end_ms;
        }
        if !pictures_lead {
            self.offset_ms = now_ms - timestamp_ms;
        }
        now_ms
    }

    /// As long after the last picture as time has passed.
    fn next(&self, now_ms: f64) -> f64 {
        self.last
            .map_or(now_ms, |(last_ms, at)| last_ms + (now_ms - at).max(STEP_MS))
    }

    fn give(&mut self, ms: f64, now_ms: f64) -> f64 {
        self.last = Some((ms, now_ms));
        ms
    }
}

/// `ms` in ticks of a clock of `rate` Hz since the Unix epoch.
pub fn ticks(ms: f64, rate: u32) -> u64 {
    (ms * f64::from(rate) / 1_000.0).round().max(0.0) as u64
}

fn is_credible(ms: f64, now_ms: f64, latest_ms: f64) -> bool {
    (now_ms - MAX_LATE_MS..=latest_ms + MAX_EARLY_MS).contains(&ms)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: f64 = 1.7e12;
    const HOUR: f64 = 3.6e6;

    #[test]
    fn good_timestamps_are_not_touched() {
        let mut clock = MediaClock::default();
        for (late, at) in [(12.0, 0.0), (140.0, 33.3), (8.0, 66.7)] {
            assert_eq!(clock.picture(NOW + at, NOW + at + late), NOW + at);
            assert_eq!(clock.sound(NOW + at, NOW + at + late, None), NOW + at);
        }
        assert_eq!(clock.sound(NOW + 900.0, NOW + 100.0, None), NOW + 900.0);
    }

    #[test]
    fn a_repeated_picture_is_as_late_as_time_has_passed() {
        let mut clock = MediaClock::default();
        assert_eq!(clock.repeat(NOW), NOW);
        clock.picture(NOW + 20.0, NOW + 60.0);
        assert_eq!(clock.repeat(NOW + 2_060.0), NOW + 2_020.0);
        // Stamped before the repetition, pushed after it.
        assert_eq!(clock.picture(NOW + 2_010.0, NOW + 2_065.0), NOW + 2_025.0);
        assert_eq!(clock.picture(NOW + 2_053.0, NOW + 2_098.0), NOW + 2_053.0);
    }

    #[test]
    fn pictures_and_sound_go_through_a_jump_of_an_hour_together() {
        for jump in [HOUR, -HOUR] {
            let mut clock = MediaClock::default();
            clock.picture(NOW, NOW + 40.0);
            assert_eq!(clock.picture(NOW + jump + 33.0, NOW + 73.0), NOW + 33.0);
            assert_eq!(clock.picture(NOW + jump + 66.0, NOW + 109.0), NOW + 66.0);
            assert_eq!(
                clock.sound(NOW + jump + 70.0, NOW + 110.0, None),
                NOW + 70.0
            );
            // And back.
            assert_eq!(clock.picture(NOW + 99.0, NOW + 140.0), NOW + 99.0);
            assert_eq!(clock.sound(NOW + 100.0, NOW + 141.0, None), NOW + 100.0);
        }
    }

    #[test]
    fn a_small_step_back_is_followed_by_sound_too() {
        let mut clock = MediaClock::default();
        clock.picture(NOW, NOW);
        for n in 1..100 {
            let passed = f64::from(n) * 33.0;
            let given = clock.picture(NOW - 1_500.0 + passed, NOW + passed);
            assert_eq!(given, NOW + passed);
        }
        let passed = 3_300.0;
        let given = clock.sound(NOW - 1_500.0 + passed, NOW + passed, None);
        assert_eq!(given, NOW + passed);
    }

    #[test]
    fn a_clock_that_stands_still_goes_on_at_the_pace_of_its_pictures() {
        let mut clock = MediaClock::default();
        for n in 0..300 {
            let passed = f64::from(n) * 33.0;
            assert_eq!(clock.picture(NOW, NOW + passed), NOW + passed);
        }
        // One that trembles as well.
        for n in 300..600 {
            let (passed, tremble) = (f64::from(n) * 33.0, f64::from(n * 7 % 5));
            let given = clock.picture(NOW + tremble, NOW + passed);
            assert!(
                (given - NOW - passed).abs() <= MAX_APART_MS,
                "{}",
                given - NOW
            );
        }
    }

    #[test]
    fn what_was_stamped_ahead_once_is_made_good_within_a_second() {
        let mut clock = MediaClock::default();
        clock.picture(NOW, NOW + 20.0);
        clock.picture(NOW + 933.0, NOW + 53.0);
        for n in 2..60 {
            let passed = f64::from(n) * 33.0;
            let given = clock.picture(NOW + passed, NOW + passed + 20.0);
            assert!(n < 35 || given == NOW + passed, "{} in {n}", given - NOW);
        }
    }

    #[test]
    fn a_stall_and_a_burst_of_another_machines_clock_leave_nothing_behind() {
        let mut clock = MediaClock::default();
        let mut push = |at: f64, now: f64| clock.picture(NOW + HOUR + at, NOW + now) - NOW;
        assert_eq!(push(0.0, 0.0), 0.0);
        // Pushed half a second late, all at once; then in time again.
        for n in 1..16 {
            push(f64::from(n) * 33.0, 500.0 + f64::from(n));
        }
        for n in 16..200 {
            let passed = f64::from(n) * 33.0;
            let given = push(passed, passed);
            assert!(n < 60 || (given - passed).abs() <= MAX_APART_MS, "{given}");
        }
    }

    #[test]
    fn sound_alone_finds_its_own_time_and_pictures_take_it_over() {
        let mut clock = MediaClock::default();
        assert_eq!(clock.sound(5.0, NOW, None), NOW);
        assert_eq!(clock.sound(1_005.0, NOW + 1_020.0, None), NOW + 1_000.0);
        assert_eq!(clock.picture(1_010.0, NOW + 1_025.0), NOW + 1_005.0);
    }

    #[test]
    fn sound_that_cannot_be_placed_follows_what_is_queued_and_moves_nothing() {
        let mut clock = MediaClock::default();
        // A minute of speech in pieces that are stamped as they are to be heard, all pushed at once.
        for n in 0..60 {
            let at = NOW + f64::from(n) * 1_000.0;
            let queued = (n > 0).then_some(at);
            assert_eq!(clock.sound(at, NOW, queued), at);
        }
        assert_eq!(clock.sound(7.0, NOW, Some(NOW + 60_000.0)), NOW + 60_000.0);
        assert_eq!(clock.picture(NOW + 5.0, NOW + 5.0), NOW + 5.0);
        // Beside pictures that are in order, nonsense is heard now.
        assert_eq!(clock.sound(7.0, NOW + 6.0, None), NOW + 6.0);
        assert_eq!(clock.sound(NOW + 7.0, NOW + 8.0, None), NOW + 7.0);
    }

    proptest! {
        #[test]
        fn times_of_pictures_rise_and_stay_near_now(
            steps in proptest::collection::vec((0..3, -5_000.0f64..5_000.0, 0.0f64..500.0), 1..100),
        ) {
            let mut clock = MediaClock::default();
            let (mut now, mut source, mut last) = (NOW, NOW, f64::MIN);
            for (what, step, wait) in steps {
                now += wait;
                source += step;
                let given = match what {
                    0 => clock.repeat(now),
                    1 => clock.picture(source, now),
                    _ => {
                        let heard = clock.sound(source, now, None);
                        prop_assert!(is_credible(heard, now, now));
                        continue;
                    }
                };
                prop_assert!(given > last);
                prop_assert!((given - now).abs() < MAX_LATE_MS + 100.0);
                last = given;
            }
        }
    }
}

//! When a chunk is to be heard, by its timestamp.
//!
//! Sound is played in the order in which it was pushed and never over other sound, so a timestamp places only what begins
//! a talk-spurt, or what is stamped visibly later than the end of what was pushed before: then there is silence in
//! between. Pure: time is an argument.

use std::time::Duration;

use super::queue::Begins;
use crate::media_clock::MediaClock;

/// Chunks whose timestamps are further apart than they are long, by less than this, are one sound: a source's timer
/// is no better.
const MAX_GAP_MS: f64 = 100.0;
/// What ended longer ago does not hold back what begins: the source has set its clock back.
const MAX_OVERLAP_MS: f64 = 2_000.0;

/// Where the sound ends that was pushed so far, in ms of the media clock.
#[derive(Debug, Default)]
pub(super) struct Timeline {
    end_ms: Option<f64>,
    /// Where the last chunk begins.
    start_ms: Option<f64>,
}

impl Timeline {
    /// When a chunk begins that was stamped with `timestamp_ms`; `None`: right behind what is queued. `is_queued`:
    /// whether something that was pushed before is not played yet.
    pub(super) fn place(
        &self,
        clock: &mut MediaClock,
        timestamp_ms: f64,
        now_ms: f64,
        is_queued: bool,
    ) -> Option<Begins> {
        let queued_until_ms = self.end_ms.filter(|_| is_queued);
        let media_ms = clock.sound(timestamp_ms, now_ms, queued_until_ms);
        match queued_until_ms {
            Some(end_ms) if media_ms - end_ms <= MAX_GAP_MS => None,
            Some(end_ms) => Some(Begins {
                media_ms,
                after: millis(media_ms - end_ms),
            }),
            None => {
                let overlaps = |end_ms: &f64| (0.0..MAX_OVERLAP_MS).contains(&(end_ms - media_ms));
                let media_ms = self.end_ms.filter(overlaps).unwrap_or(media_ms);
                Some(Begins {
                    media_ms,
                    after: millis(media_ms - now_ms),
                })
            }
        }
    }

    /// `length` of sound was pushed, which begins as [`Self::place`] said.
    pub(super) fn add(&mut self, begins: Option<Begins>, length: Duration) {
        self.start_ms = begins.map(|begins| begins.media_ms).or(self.end_ms);
        self.end_ms = self
            .start_ms
            .map(|start_ms| start_ms + length.as_secs_f64() * 1_000.0);
    }

    /// Where the chunk begins that was pushed last.
    pub(super) fn start_ms(&self) -> Option<f64> {
        self.start_ms
    }

    /// The chunk that was pushed last is not heard.
    pub(super) fn forget_start(&mut self) {
        self.start_ms = None;
    }

    /// What was pushed so far is not heard.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

fn millis(ms: f64) -> Duration {
    Duration::from_secs_f64(ms.max(0.0) / 1_000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: f64 = 1.7e12;
    const SECOND: Duration = Duration::from_secs(1);

    fn begins(media_ms: f64, after_ms: u64) -> Option<Begins> {
        let after = Duration::from_millis(after_ms);
        Some(Begins { media_ms, after })
    }

    #[test]
    fn a_spurt_begins_at_its_timestamp_and_not_before_it() {
        let (timeline, mut clock) = (Timeline::default(), MediaClock::default());
        let mut place = |at: f64| timeline.place(&mut clock, NOW + at, NOW, false);
        assert_eq!(place(-30.0), begins(NOW - 30.0, 0));
        assert_eq!(place(400.0), begins(NOW + 400.0, 400));
        assert_eq!(place(3.6e6), begins(NOW, 0));
    }

    #[test]
    fn only_a_gap_in_the_timestamps_parts_what_is_queued() {
        let (mut timeline, mut clock) = (Timeline::default(), MediaClock::default());
        let mut push = |at: f64, is_queued| {
            let begins = timeline.place(&mut clock, NOW + at, NOW, is_queued);
            timeline.add(begins, SECOND);
            begins
        };
        assert_eq!(push(0.0, false), begins(NOW, 0));
        assert_eq!(push(0.0, true), None, "stamped when it was pushed");
        assert_eq!(push(2_090.0, true), None, "a timer's jitter");
        assert_eq!(push(3_500.0, true), begins(NOW + 3_500.0, 500));
        assert_eq!(push(4_500.0, true), None);
        assert_eq!(push(3.6e6, true), None, "not credible");
    }

    #[test]
    fn what_comes_too_late_is_heard_behind_what_was_heard() {
        let (mut timeline, mut clock) = (Timeline::default(), MediaClock::default());
        let begun = timeline.place(&mut clock, NOW, NOW, false);
        timeline.add(begun, SECOND);
        let mut place = |at: f64, now: f64| timeline.place(&mut clock, NOW + at, NOW + now, false);
        assert_eq!(place(0.0, 1_050.0), begins(NOW + 1_000.0, 0));
        assert_eq!(place(1_040.0, 1_050.0), begins(NOW + 1_040.0, 0));
        timeline.clear();
        let after = timeline.place(&mut clock, NOW + 100.0, NOW + 120.0, false);
        assert_eq!(after, begins(NOW + 100.0, 0));
    }
}

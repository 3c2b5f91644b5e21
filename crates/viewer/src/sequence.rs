//! Sequence numbers: from 16 bits to a count, and what of it was lost.

use crate::report::Sequence;

/// How far back a late packet is told from a duplicate. At 170 packets a second: 24 s.
const WINDOW: u64 = 4096;

/// Follows one stream's sequence numbers.
pub(crate) struct SequenceTracker {
    first: u64,
    highest: u64,
    seen: Vec<bool>,
    counts: Sequence,
}

impl SequenceTracker {
    /// Begins with the first packet that came.
    pub(crate) fn new(first: u16) -> Self {
        // One cycle up, so that earlier packets have a number too.
        let first = u64::from(first) + (1 << 16);
        let mut tracker = Self {
            first,
            highest: first,
            seen: vec![false; WINDOW as usize],
            counts: Sequence::default(),
        };
        tracker.mark(first);
        tracker.counts.received = 1;
        tracker
    }

    /// The number of the first packet, in the sense of [`Self::add`].
    pub(crate) fn first(&self) -> u64 {
        self.first
    }

    /// Takes one packet. Returns its number, which does not wrap, or `None` for a duplicate.
    pub(crate) fn add(&mut self, sequence: u16) -> Option<u64> {
        let step = sequence.wrapping_sub(self.highest as u16) as i16;
        let number = self.highest.wrapping_add_signed(i64::from(step));
        if number > self.highest {
            for skipped in self.highest + 1..number {
                self.unmark(skipped);
            }
            self.counts.gaps += number - self.highest - 1;
            self.highest = number;
        } else if number + WINDOW <= self.highest || self.is_marked(number) {
            self.counts.duplicates += 1;
            return None;
        } else {
            self.counts.late += 1;
            self.first = self.first.min(number);
        }
        self.mark(number);
        self.counts.received += 1;
        Some(number)
    }

    /// Whether this is a packet that came before; it is counted then.
    pub(crate) fn is_duplicate(&mut self, sequence: u16) -> bool {
        let back = u64::from((self.highest as u16).wrapping_sub(sequence));
        let duplicate = back < WINDOW && self.is_marked(self.highest - back);
        self.counts.duplicates += u64::from(duplicate);
        duplicate
    }

    /// The counts so far.
    pub(crate) fn counts(&self) -> Sequence {
        Sequence {
            lost: (self.highest - self.first + 1).saturating_sub(self.counts.received),
            ..self.counts
        }
    }

    fn is_marked(&self, number: u64) -> bool {
        self.seen
            .get((number % WINDOW) as usize)
            .copied()
            .unwrap_or(false)
    }

    fn mark(&mut self, number: u64) {
        self.set(number, true);
    }

    fn unmark(&mut self, number: u64) {
        self.set(number, false);
    }

    fn set(&mut self, number: u64, value: bool) {
        if let Some(slot) = self.seen.get_mut((number % WINDOW) as usize) {
            *slot = value;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(numbers: &[u16]) -> Sequence {
        let mut tracker = SequenceTracker::new(numbers[0]);
        for &number in &numbers[1..] {
            tracker.add(number);
        }
        tracker.counts()
    }

    #[test]
    fn a_packet_that_never_comes_is_lost_and_a_late_one_is_not() {
        let lost = counts(&[65_534, 65_535, 1, 2]);
        assert_eq!(
            (lost.received, lost.lost, lost.gaps, lost.late),
            (4, 1, 1, 0)
        );
        let late = counts(&[65_534, 65_535, 1, 2, 0]);
        assert_eq!(
            (late.received, late.lost, late.gaps, late.late),
            (5, 0, 1, 1)
        );
    }

    #[test]
    fn a_packet_that_comes_twice_is_a_duplicate() {
        let twice = counts(&[7, 8, 8, 9, 7]);
        assert_eq!((twice.received, twice.lost, twice.duplicates), (3, 0, 2));
    }

    #[test]
    fn a_duplicate_is_known_before_it_is_added() {
        let mut tracker = SequenceTracker::new(65_535);
        tracker.add(1);
        assert!(tracker.is_duplicate(65_535) && tracker.is_duplicate(1));
        assert!(!tracker.is_duplicate(0) && !tracker.is_duplicate(2));
        assert_eq!((tracker.counts().duplicates, tracker.counts().lost), (2, 1));
    }

    #[test]
    fn a_packet_before_the_first_one_counts_as_late() {
        let before = counts(&[0, 65_535, 1]);
        assert_eq!((before.received, before.lost, before.late), (3, 0, 1));
    }

    #[test]
    fn a_window_that_was_used_before_does_not_make_duplicates() {
        let mut tracker = SequenceTracker::new(0);
        for number in 1..20_000u16 {
            if number % 10 != 0 {
                tracker.add(number);
            }
        }
        let counts = tracker.counts();
        assert_eq!((counts.lost, counts.duplicates), (1999, 0));
    }
}

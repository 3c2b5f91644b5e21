//! One stream's sequence numbers, in a few hundred bytes: which came, and which are worth asking for.

use std::time::{Duration, Instant};

/// How far back a late packet is told from a duplicate: 6 s of video.
const WINDOW: u64 = 1024;

/// Missing packets that are asked for at a time. More is an outage, which a keyframe ends sooner.
const MAX_MISSING: usize = 64;

/// NACKs for one packet; Chromium's limit.
const MAX_NACKS: u8 = 10;

/// Between NACKs for the same packet: some round trips of a near network.
const NACK_INTERVAL: Duration = Duration::from_millis(30);

/// Counts since the stream began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Sequence numbers from the first to the highest.
    pub(super) expected: u64,
    /// Different packets that came.
    pub(super) received: u64,
    /// Those of them that came after a later one, or by retransmission.
    pub(super) late: u64,
    /// Packets that came again.
    pub(super) duplicates: u64,
}

/// Follows the sequence numbers of one stream.
pub(super) struct SequenceLog {
    first: u64,
    highest: u64,
    seen: [u64; (WINDOW / 64) as usize],
    counts: Counts,
    missing: Vec<Missing>,
    /// Whether missing packets are noted.
    nack: bool,
}

struct Missing {
    number: u64,
    nacks: u8,
    due: Instant,
}

impl SequenceLog {
    /// Begins with the packet that came first; `nack`: note what is to be asked for.
    ///
    /// Numbers carry the roll-over count from the beginning on, as SRTP does (RFC 3711, 3.3.1): the lower 48
    /// bits are the SRTP index.
    pub(super) fn new(first: u16, nack: bool) -> Self {
        let first = u64::from(first);
        let mut log = Self {
            first,
            highest: first,
            seen: [0; (WINDOW / 64) as usize],
            counts: Counts::default(),
            missing: Vec::new(),
            nack,
        };
        log.set(first, true);
        log.counts.received = 1;
        log
    }

    pub(super) fn first(&self) -> u64 {
        self.first
    }

    /// The highest number so far, roll-overs included.
    pub(super) fn highest(&self) -> u64 {
        self.highest
    }

    /// The number of a packet that comes now.
    pub(super) fn number(&self, sequence: u16) -> u64 {
        let step = sequence.wrapping_sub(self.highest as u16) as i16;
        self.highest.saturating_add_signed(i64::from(step))
    }

    /// Takes one packet. Returns its number, or `None` for one that came before.
    pub(super) fn add(&mut self, sequence: u16, now: Instant) -> Option<u64> {
        let number = self.number(sequence);
        if number > self.highest {
            self.skip_to(number, now);
        } else if number + WINDOW <= self.highest || self.is_set(number) {
            self.counts.duplicates += 1;
            return None;
        } else {
            self.counts.late += 1;
            self.first = self.first.min(number);
            self.missing.retain(|missing| missing.number != number);
        }
        self.set(number, true);
        self.counts.received += 1;
        Some(number)
    }

    fn skip_to(&mut self, number: u64, now: Instant) {
        if number - self.highest > WINDOW {
            self.seen.fill(0);
        }
        let from = (self.highest + 1).max(number.saturating_sub(WINDOW));
        for skipped in from..number {
            self.set(skipped, false);
            if self.nack && self.missing.len() < MAX_MISSING {
                self.missing.push(Missing {
                    number: skipped,
                    nacks: 0,
                    due: now,
                });
            }
        }
        self.highest = number;
    }

    /// Calls `take` with each sequence number that is to be asked for now.
    pub(super) fn nacks_due(&mut self, now: Instant, mut take: impl FnMut(u16)) {
        self.missing.retain_mut(|missing| {
            if missing.due <= now {
                take(missing.number as u16);
                missing.nacks += 1;
                missing.due = now + NACK_INTERVAL;
            }
            missing.nacks < MAX_NACKS
        });
    }

    /// When [`Self::nacks_due`] has something to say.
    pub(super) fn next_nack(&self) -> Option<Instant> {
        self.missing.iter().map(|missing| missing.due).min()
    }

    /// Asks no more for packets before `number`.
    pub(super) fn give_up_before(&mut self, number: u64) {
        self.missing.retain(|missing| missing.number >= number);
    }

    pub(super) fn counts(&self) -> Counts {
        Counts {
            expected: self.highest - self.first + 1,
            ..self.counts
        }
    }

    fn is_set(&self, number: u64) -> bool {
        let (word, bit) = place(number);
        self.seen.get(word).is_some_and(|word| word >> bit & 1 == 1)
    }

    fn set(&mut self, number: u64, value: bool) {
        let (word, bit) = place(number);
        if let Some(word) = self.seen.get_mut(word) {
            *word = *word & !(1 << bit) | u64::from(value) << bit;
        }
    }
}

fn place(number: u64) -> (usize, u64) {
    ((number % WINDOW / 64) as usize, number % 64)
}

impl Counts {
    /// Packets that never came (so far).
    pub(super) fn lost(&self) -> u64 {
        self.expected.saturating_sub(self.received)
    }

    /// What was counted since `earlier`. A packet that was missing then and came now makes nothing lost.
    pub(super) fn since(&self, earlier: &Self) -> Self {
        Self {
            expected: self.expected - earlier.expected,
            received: self.received - earlier.received,
            late: self.late - earlier.late,
            duplicates: self.duplicates - earlier.duplicates,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(numbers: &[u16]) -> SequenceLog {
        let mut log = SequenceLog::new(numbers[0], true);
        for &number in &numbers[1..] {
            log.add(number, Instant::now());
        }
        log
    }

    #[test]
    fn a_packet_that_never_comes_is_lost_and_a_late_one_is_not() {
        let lost = log(&[65_534, 65_535, 1, 2]).counts();
        assert_eq!((lost.received, lost.lost(), lost.late), (4, 1, 0));
        let late = log(&[65_534, 65_535, 1, 2, 0]).counts();
        assert_eq!((late.received, late.lost(), late.late), (5, 0, 1));
    }

    #[test]
    fn a_packet_that_comes_twice_is_a_duplicate() {
        let twice = log(&[7, 8, 8, 9, 7]).counts();
        assert_eq!((twice.received, twice.lost(), twice.duplicates), (3, 0, 2));
    }

    #[test]
    fn numbers_go_on_across_a_roll_over() {
        let mut log = log(&[65_535]);
        assert_eq!(log.add(0, Instant::now()), Some(1 << 16));
        assert_eq!(log.number(65_534), 65_534);
    }

    #[test]
    fn a_long_gap_is_lost_as_a_whole_and_leaves_no_old_marks() {
        let mut log = log(&[1, 2, 3, 20_000]);
        assert_eq!(log.counts().lost(), 19_996);
        assert_eq!(log.add(19_999, Instant::now()), Some(19_999));
    }

    #[test]
    fn a_missing_packet_is_asked_for_until_it_comes_or_too_often() {
        let mut log = log(&[1, 3, 5]);
        let start = Instant::now();
        let asked = |log: &mut SequenceLog, now| {
            let mut asked = Vec::new();
            log.nacks_due(now, |number| asked.push(number));
            asked
        };
        assert_eq!(asked(&mut log, start), [2, 4]);
        assert!(asked(&mut log, start).is_empty());
        log.add(4, start);
        let mut times = 1;
        while let Some(due) = log.next_nack() {
            assert_eq!(asked(&mut log, due), [2]);
            times += 1;
        }
        assert_eq!(times, MAX_NACKS);
    }

    #[test]
    fn an_outage_does_not_ask_for_everything() {
        let mut log = log(&[1, 1_000]);
        let mut asked = 0;
        log.nacks_due(Instant::now(), |_| asked += 1);
        assert_eq!(asked, MAX_MISSING);
    }
}

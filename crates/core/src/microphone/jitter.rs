//! Puts packets back into their order, and decides when a missing one is lost.
//!
//! Nobody listens at real time here, so a packet that is in order goes on at once; only one that comes
//! after a hole waits for it. Pure: time is an argument.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;

/// How long a hole is waited for at least: twice the spread (30 ms) that browsers' senders and Wi-Fi usually cause.
const LEAST_PATIENCE: Duration = Duration::from_millis(60);
/// And at most: later than this a recogniser had better have the sentence than its syllable.
const MOST_PATIENCE: Duration = Duration::from_millis(200);
/// How much longer than the latest packet so far took.
const MARGIN: Duration = Duration::from_millis(20);
/// By how much the latest packet so far is forgotten, each second: 100 ms in 10 s.
const FORGOTTEN_PER_SECOND: f64 = 0.010;
/// Most packets that wait behind a hole: 1 s of speech.
const MOST_WAITING: usize = 50;
/// A sequence number further away than this belongs to a sender that started anew.
const RESTART_DISTANCE: u64 = 1_000;
/// As does the first packet after this silence, DTX keep-alives (400 ms) included.
const RESTART_SILENCE: Duration = Duration::from_secs(2);
/// So many late packets in a row are a sender that started anew a little behind.
const RESTART_LATE: u32 = 25;

/// One packet, in its place.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Packet {
    /// RTP timestamp, 48 kHz.
    pub(super) timestamp: u32,
    /// One Opus packet.
    pub(super) payload: Bytes,
}

/// What comes next in the stream.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Next {
    /// A packet.
    Packet(Packet),
    /// A packet that will not come; with the one after it, whose redundant copy may replace it.
    Lost(Option<Packet>),
}

/// What became of a packet that was put in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Inserted {
    /// It is in its place.
    Accepted,
    /// It was there already, or its place has been passed.
    Late,
    /// It begins a new stream; so many packets of the old one were discarded.
    Restarted(usize),
}

/// The buffer.
#[derive(Default)]
pub(super) struct JitterBuffer {
    waiting: BTreeMap<u64, (Instant, Packet)>,
    /// Extended sequence number of the packet that goes on next.
    next: Option<u64>,
    last_arrival: Option<Instant>,
    late_in_a_row: u32,
    /// Places that were given up, with the time since which they had been waited for.
    given_up: BTreeMap<u64, Instant>,
    lateness: Lateness,
}

/// How late packets come that do come.
#[derive(Default)]
struct Lateness {
    /// The latest so far, and when that was; it is forgotten over time.
    worst: Option<(Duration, Instant)>,
}

impl Lateness {
    /// A place was filled after it had been waited for since `since`.
    fn observe(&mut self, since: Instant, now: Instant) {
        let late = now.saturating_duration_since(since).min(MOST_PATIENCE);
        if late >= self.remembered(now) {
            self.worst = Some((late, now));
        }
    }

    fn remembered(&self, now: Instant) -> Duration {
        let Some((late, at)) = self.worst else {
            return Duration::ZERO;
        };
        let age = now.saturating_duration_since(at).as_secs_f64();
        late.saturating_sub(Duration::from_secs_f64(age * FORGOTTEN_PER_SECOND))
    }

    /// How long a hole is waited for.
    fn patience(&self, now: Instant) -> Duration {
        (self.remembered(now) + MARGIN).clamp(LEAST_PATIENCE, MOST_PATIENCE)
    }
}

impl JitterBuffer {
    /// Takes a packet as it came.
    pub(super) fn insert(&mut self, now: Instant, sequence: u16, packet: Packet) -> Inserted {
        let silent = self
            .last_arrival
            .replace(now)
            .is_none_or(|last| now.saturating_duration_since(last) > RESTART_SILENCE);
        let Some(next) = self.next.filter(|_| !silent) else {
            return self.restart(now, sequence, packet);
        };
        let extended = extend(sequence, next);
        if extended.abs_diff(next) > RESTART_DISTANCE {
            return self.restart(now, sequence, packet);
        }
        if extended < next || self.waiting.contains_key(&extended) {
            if let Some(since) = self.given_up.remove(&extended) {
                self.lateness.observe(since, now);
            }
            self.late_in_a_row += 1;
            if self.late_in_a_row >= RESTART_LATE {
                return self.restart(now, sequence, packet);
            }
            return Inserted::Late;
        }
        self.late_in_a_row = 0;
        if let Some(since) = self.waiting_since().filter(|_| extended == next) {
            self.lateness.observe(since, now);
        }
        self.waiting.insert(extended, (now, packet));
        Inserted::Accepted
    }

    /// Takes out what comes next, if that can be told at `now`.
    pub(super) fn pop(&mut self, now: Instant) -> Option<Next> {
        let next = self.next?;
        if let Some((_, packet)) = self.waiting.remove(&next) {
            self.next = Some(next + 1);
            return Some(Next::Packet(packet));
        }
        let since = self.waiting_since()?;
        if self.waiting.len() <= MOST_WAITING && self.deadline().is_some_and(|at| now < at) {
            return None;
        }
        self.next = Some(next + 1);
        self.given_up.insert(next, since);
        if self.given_up.len() > MOST_WAITING {
            self.given_up.pop_first();
        }
        let following = self.waiting.get(&(next + 1));
        Some(Next::Lost(following.map(|(_, packet)| packet.clone())))
    }

    /// When the hole that is being waited for counts as lost.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let since = self.waiting_since()?;
        Some(since + self.lateness.patience(since))
    }

    /// Since when the next packet is being waited for.
    fn waiting_since(&self) -> Option<Instant> {
        self.waiting.values().map(|(arrived, _)| *arrived).min()
    }

    fn restart(&mut self, now: Instant, sequence: u16, packet: Packet) -> Inserted {
        let discarded = self.waiting.len();
        self.waiting.clear();
        self.given_up.clear();
        self.late_in_a_row = 0;
        // One round ahead, so that packets from before it stay above zero.
        let extended = u64::from(sequence) + 65_536;
        self.next = Some(extended);
        self.waiting.insert(extended, (now, packet));
        Inserted::Restarted(discarded)
    }
}

/// The extended sequence number nearest to `near` (RFC 3550 appendix A.1).
fn extend(sequence: u16, near: u64) -> u64 {
    let ahead = sequence.wrapping_sub(near as u16) as i16;
    near.saturating_add_signed(i64::from(ahead))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MS: Duration = Duration::from_millis(1);

    fn packet(tag: u32) -> Packet {
        Packet {
            timestamp: tag,
            payload: Bytes::new(),
        }
    }

    fn tags(buffer: &mut JitterBuffer, now: Instant) -> Vec<Option<u32>> {
        std::iter::from_fn(|| buffer.pop(now))
            .map(|next| match next {
                Next::Packet(packet) => Some(packet.timestamp),
                Next::Lost(_) => None,
            })
            .collect()
    }

    #[test]
    fn packets_in_order_go_on_at_once_over_the_wrap_of_their_numbers() {
        let (mut buffer, now) = (JitterBuffer::default(), Instant::now());
        for n in 0..70_000_u32 {
            buffer.insert(now, (n + 65_000) as u16, packet(n));
            assert_eq!(tags(&mut buffer, now), [Some(n)]);
        }
    }

    #[test]
    fn a_hole_is_waited_for_and_then_lost() {
        let (mut buffer, now) = (JitterBuffer::default(), Instant::now());
        for n in [1, 4, 3] {
            buffer.insert(now, n, packet(n.into()));
        }
        assert_eq!(tags(&mut buffer, now + 59 * MS), [Some(1)]);
        assert_eq!(buffer.deadline(), Some(now + 60 * MS));
        assert_eq!(buffer.pop(now + 60 * MS), Some(Next::Lost(Some(packet(3)))));
        assert_eq!(tags(&mut buffer, now + 60 * MS), [Some(3), Some(4)]);
        assert_eq!(buffer.insert(now, 2, packet(2)), Inserted::Late);
        assert_eq!(buffer.deadline(), None);
    }

    /// For how long the hole in a stream that has got to `at` is waited for, in ms.
    fn patience(buffer: &mut JitterBuffer, at: u16, now: Instant) -> u128 {
        buffer.insert(now, at + 1, packet(0));
        let deadline = buffer.deadline().unwrap();
        buffer.insert(now, at, packet(0));
        while buffer.pop(now).is_some() {}
        (deadline - now).as_millis()
    }

    #[test]
    fn patience_grows_with_what_comes_late_and_shrinks_when_nothing_does() {
        let (mut buffer, now) = (JitterBuffer::default(), Instant::now());
        buffer.insert(now, 1, packet(1));
        assert_eq!(patience(&mut buffer, 2, now), 60);

        // Too late by far: 100 ms after what followed it.
        buffer.insert(now, 5, packet(5));
        assert_eq!(tags(&mut buffer, now + 60 * MS), [None, Some(5)]);
        let now = now + 100 * MS;
        assert_eq!(buffer.insert(now, 4, packet(4)), Inserted::Late);
        assert_eq!(patience(&mut buffer, 6, now), 120);

        // In time by now, but later still.
        buffer.insert(now, 9, packet(9));
        let now = now + 115 * MS;
        assert_eq!(buffer.insert(now, 8, packet(8)), Inserted::Accepted);
        assert_eq!(tags(&mut buffer, now), [Some(8), Some(9)]);
        assert_eq!(patience(&mut buffer, 10, now), 135);

        for n in 12..=512_u16 {
            let now = now + u32::from(n - 11) * 20 * MS;
            buffer.insert(now, n, packet(n.into()));
            assert_eq!(tags(&mut buffer, now), [Some(n.into())]);
        }
        assert_eq!(patience(&mut buffer, 513, now + 10_020 * MS), 60);
    }

    #[test]
    fn nothing_is_waited_for_longer_than_200_ms() {
        let (mut buffer, now) = (JitterBuffer::default(), Instant::now());
        for n in [1, 3] {
            buffer.insert(now, n, packet(n.into()));
        }
        assert_eq!(tags(&mut buffer, now + 60 * MS), [Some(1), None, Some(3)]);
        let now = now + 1_900 * MS;
        assert_eq!(buffer.insert(now, 2, packet(2)), Inserted::Late);
        assert_eq!(patience(&mut buffer, 4, now), 200);
    }

    #[test]
    fn a_sender_that_starts_anew_is_followed() {
        let (mut buffer, now) = (JitterBuffer::default(), Instant::now());
        let mut insert = |ms: u32, sequence| buffer.insert(now + ms * MS, sequence, packet(0));
        assert_eq!(insert(0, 500), Inserted::Restarted(0));
        assert_eq!(insert(0, 502), Inserted::Accepted);
        assert_eq!(insert(20, 30_000), Inserted::Restarted(2));
        assert_eq!(insert(2_021, 29_990), Inserted::Restarted(1));
        for n in 0..24 {
            assert_eq!(insert(2_040, 29_000 + n), Inserted::Late);
        }
        assert!(matches!(insert(2_060, 29_024), Inserted::Restarted(_)));
        assert_eq!(insert(2_060, 29_025), Inserted::Accepted);
    }

    proptest! {
        #[test]
        fn order_is_restored_and_the_buffer_is_bounded(
            arrivals in proptest::collection::vec((any::<u16>(), 0_u32..50), 1..300), start: u16,
        ) {
            let (mut buffer, mut now) = (JitterBuffer::default(), Instant::now());
            for (offset, wait) in arrivals {
                now += wait * MS;
                let sequence = start.wrapping_add(offset % 200);
                buffer.insert(now, sequence, packet(sequence.into()));
                while buffer.pop(now).is_some() {}
                prop_assert!(buffer.waiting.len() <= MOST_WAITING);
            }
        }
    }
}

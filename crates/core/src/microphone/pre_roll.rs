//! The last packets of a microphone that is not being decoded, lest the first syllable be lost.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::MicrophonePacket;

/// Most bytes kept: two seconds, the longest pre-roll, of a voice at 64 kb/s.
const MOST_BYTES: usize = 16 * 1_024;
/// Most packets: two seconds of 10 ms, the shortest that browsers send.
const MOST_PACKETS: usize = 212;
/// The buffer grows by so much at a time, rather than to twice its size.
const GROWTH: usize = 512;

/// Payloads lie one behind the other in a buffer that is moved to the front when it is full, so that a microphone
/// that stays quiet allocates nothing. A new one has no memory at all.
#[derive(Default)]
pub(crate) struct PreRoll {
    bytes: Vec<u8>,
    /// Where the oldest payload begins, and the newest ends.
    head: usize,
    end: usize,
    kept: VecDeque<Kept>,
}

struct Kept {
    received: Instant,
    sequence: u16,
    timestamp: u32,
    length: usize,
}

impl PreRoll {
    /// Forgets what is older than `look_back` and gives the buffer, to which a payload of up to `length` bytes may
    /// be appended. [`Self::keep`] makes it count.
    pub(crate) fn room(
        &mut self,
        now: Instant,
        look_back: Duration,
        length: usize,
    ) -> &mut Vec<u8> {
        self.bytes.truncate(self.end);
        while let Some(oldest) = self.kept.front() {
            let is_old = now.saturating_duration_since(oldest.received) > look_back;
            let is_full =
                self.kept.len() >= MOST_PACKETS || self.end - self.head + length > MOST_BYTES;
            if !is_old && !is_full {
                break;
            }
            self.head += oldest.length;
            self.kept.pop_front();
        }
        if self.bytes.len() + length > self.bytes.capacity() {
            self.bytes.drain(..self.head);
            self.end -= self.head;
            self.head = 0;
            if self.bytes.len() + length > self.bytes.capacity() {
                self.bytes.reserve_exact(length + GROWTH);
            }
        }
        &mut self.bytes
    }

    /// Keeps the first `length` bytes of what was appended since [`Self::room`].
    pub(crate) fn keep(&mut self, received: Instant, sequence: u16, timestamp: u32, length: usize) {
        let length = length.min(self.bytes.len() - self.end);
        self.end += length;
        self.kept.push_back(Kept {
            received,
            sequence,
            timestamp,
            length,
        });
    }

    /// What was appended and not kept.
    pub(crate) fn tail(&self) -> &[u8] {
        self.bytes.get(self.end..).unwrap_or_default()
    }

    /// Takes everything out, oldest first.
    pub(crate) fn take(&mut self) -> Vec<MicrophonePacket> {
        let mut packets = Vec::with_capacity(self.kept.len());
        let mut payloads =
            Bytes::copy_from_slice(self.bytes.get(self.head..self.end).unwrap_or_default());
        packets.extend(self.kept.drain(..).map(|kept| MicrophonePacket {
            received: kept.received,
            sequence: kept.sequence,
            timestamp: kept.timestamp,
            payload: payloads.split_to(kept.length),
        }));
        self.bytes.clear();
        (self.head, self.end) = (0, 0);
        packets
    }

    /// Gives its memory back.
    pub(crate) fn release(&mut self) {
        if self.bytes.capacity() > 0 || self.kept.capacity() > 0 {
            *self = Self::default();
        }
    }

    /// What it takes beside its own size.
    #[cfg(test)]
    pub(crate) fn heap_bytes(&self) -> usize {
        self.bytes.capacity() + self.kept.capacity() * size_of::<Kept>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LOOK_BACK: Duration = Duration::from_millis(400);

    fn keep(pre_roll: &mut PreRoll, now: Instant, sequence: u16, payload: &[u8]) {
        let room = pre_roll.room(now, LOOK_BACK, payload.len() + 16);
        room.extend_from_slice(payload);
        room.extend_from_slice(b"padding");
        pre_roll.keep(now, sequence, u32::from(sequence) * 960, payload.len());
    }

    #[test]
    fn the_last_moments_come_out_in_order() {
        let (mut pre_roll, start) = (PreRoll::default(), Instant::now());
        for n in 0..1_000_u16 {
            let now = start + Duration::from_millis(20) * u32::from(n);
            keep(&mut pre_roll, now, n, format!("packet {n}").as_bytes());
        }
        let taken = pre_roll.take();
        let numbers: Vec<u16> = taken.iter().map(|packet| packet.sequence).collect();
        assert_eq!(numbers, (979..1_000).collect::<Vec<_>>());
        for packet in taken {
            let expected = format!("packet {}", packet.sequence);
            assert_eq!(packet.payload, expected.as_bytes());
            assert_eq!(packet.timestamp, u32::from(packet.sequence) * 960);
        }
        assert!(pre_roll.take().is_empty());
    }

    #[test]
    fn a_quiet_microphone_allocates_nothing_and_takes_little() {
        let (mut pre_roll, start) = (PreRoll::default(), Instant::now());
        let mut run = |from: u32| {
            for n in from..from + 200 {
                let now = start + Duration::from_millis(20) * n;
                keep(&mut pre_roll, now, n as u16, &[7; 40]);
            }
            (pre_roll.bytes.as_ptr(), pre_roll.heap_bytes())
        };
        let settled = run(0);
        assert_eq!(run(200), settled);
        assert!(settled.1 < 3_000, "{} bytes", settled.1);
        pre_roll.release();
        assert_eq!(pre_roll.heap_bytes(), 0);
    }

    #[test]
    fn what_was_not_kept_is_gone() {
        let (mut pre_roll, now) = (PreRoll::default(), Instant::now());
        keep(&mut pre_roll, now, 1, b"one");
        pre_roll.room(now, LOOK_BACK, 5).extend(b"forged");
        keep(&mut pre_roll, now, 2, b"two");
        pre_roll.room(now, LOOK_BACK, 5).extend(b"forged");
        let taken = pre_roll.take();
        let payloads: Vec<&[u8]> = taken.iter().map(|packet| &packet.payload[..]).collect();
        assert_eq!(payloads, [&b"one"[..], b"two"]);
    }

    proptest! {
        #[test]
        fn it_is_bounded_whatever_comes(
            packets in proptest::collection::vec((0_usize..1_400, 0_u64..30), 1..600),
        ) {
            let (mut pre_roll, mut now) = (PreRoll::default(), Instant::now());
            for (n, (length, wait)) in packets.into_iter().enumerate() {
                now += Duration::from_millis(wait);
                keep(&mut pre_roll, now, n as u16, &vec![n as u8; length]);
                prop_assert!(pre_roll.kept.len() <= MOST_PACKETS);
                prop_assert!(pre_roll.bytes.capacity() <= MOST_BYTES + 2_048 + GROWTH);
            }
            for packet in pre_roll.take() {
                prop_assert!(packet.payload.iter().all(|&byte| byte == packet.sequence as u8));
            }
        }
    }
}

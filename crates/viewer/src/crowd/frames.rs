//! Frames from the headers of their packets: complete, given up, and when.

use std::time::Duration;

/// How long a frame waits for a missing packet: some rounds of retransmission.
const PATIENCE: Duration = Duration::from_millis(600);

/// Packets that are remembered: [`PATIENCE`] at 4 a frame, and two keyframes of 100.
const WINDOW: u64 = 512;

/// What became of a frame. Times are of the Unix clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FrameEvent {
    /// All its packets, and all of the frames before it, are there.
    Complete {
        /// RTP timestamp.
        timestamp: u32,
        /// When the packet came that made it complete.
        arrival: Duration,
        /// Whether one of its packets was opened and begins a keyframe.
        keyframe: bool,
    },
    /// This many frames (at least) will not be complete.
    GivenUp(u64),
}

/// One packet, as far as frames are concerned.
#[derive(Debug, Clone, Copy)]
pub(super) struct FramePacket {
    pub(super) number: u64,
    pub(super) timestamp: u32,
    pub(super) marker: bool,
    /// Whether it was opened and begins a keyframe.
    pub(super) keyframe: bool,
}

/// Puts frames together, in order.
pub(super) struct FrameLog {
    packets: Box<[Option<FramePacket>]>,
    /// The first packet of the frame that is due.
    start: u64,
    /// The first packet that did not come.
    next: u64,
    highest: u64,
    /// Since when `next` is missing although a later one came.
    gap_since: Option<Duration>,
    /// When the last packet came that made `next` advance.
    arrival: Duration,
}

impl FrameLog {
    /// Begins with packet `first`.
    pub(super) fn new(first: u64) -> Self {
        Self {
            packets: vec![None; WINDOW as usize].into(),
            start: first,
            next: first,
            highest: first,
            gap_since: None,
            arrival: Duration::ZERO,
        }
    }

    /// Takes a packet that did not come before. [`Self::poll`] is to follow.
    pub(super) fn push(&mut self, packet: FramePacket, arrival: Duration) {
        if packet.number < self.next {
            return;
        }
        self.arrival = arrival;
        self.highest = self.highest.max(packet.number);
        if let Some(slot) = self.packets.get_mut((packet.number % WINDOW) as usize) {
            *slot = Some(packet);
        }
    }

    /// The next thing that is known.
    pub(super) fn poll(&mut self, now: Duration) -> Option<FrameEvent> {
        while let Some(packet) = self.get(self.next) {
            // A new timestamp ends a frame too: the marker is a hint only (RFC 6184, 5.1).
            if self
                .get(self.start)
                .is_some_and(|first| first.timestamp != packet.timestamp)
            {
                return self.complete(self.next);
            }
            self.next += 1;
            self.gap_since = None;
            if packet.marker {
                return self.complete(self.next);
            }
        }
        if self.highest < self.next {
            return None;
        }
        let since = *self.gap_since.get_or_insert(now);
        let is_late = now.saturating_sub(since) >= PATIENCE;
        // Half the window is left for what comes while the gap is open.
        (is_late || self.highest - self.start >= WINDOW / 2).then(|| self.give_up())
    }

    /// Whether a missing packet holds back what came after it.
    pub(super) fn has_gap(&self) -> bool {
        self.gap_since.is_some()
    }

    /// Packets before this one are not waited for.
    pub(super) fn start(&self) -> u64 {
        self.start
    }

    fn get(&self, number: u64) -> Option<FramePacket> {
        let slot = self.packets.get((number % WINDOW) as usize)?;
        slot.filter(|packet| packet.number == number)
    }

    fn complete(&mut self, end: u64) -> Option<FrameEvent> {
        let first = self.get(self.start)?;
        let keyframe = (self.start..end).any(|n| self.get(n).is_some_and(|p| p.keyframe));
        self.start = end;
        Some(FrameEvent::Complete {
            timestamp: first.timestamp,
            arrival: self.arrival,
            keyframe,
        })
    }

    /// Leaves out all up to the first marker after the gap: before it, no frame's beginning is certain.
    fn give_up(&mut self) -> FrameEvent {
        let end = (self.next..=self.highest)
            .find(|&number| self.get(number).is_some_and(|packet| packet.marker))
            .unwrap_or(self.highest)
            + 1;
        let mut frames = 0;
        let mut last = None;
        for packet in (self.start..end).filter_map(|number| self.get(number)) {
            frames += u64::from(last.replace(packet.timestamp) != Some(packet.timestamp));
        }
        self.start = end;
        self.next = end;
        self.gap_since = None;
        FrameEvent::GivenUp(frames.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: Duration = Duration::from_millis(33);

    /// Four packets a frame.
    fn packet(number: u64) -> FramePacket {
        FramePacket {
            number,
            timestamp: (number / 4 * 3_000) as u32,
            marker: number % 4 == 3,
            keyframe: number == 0,
        }
    }

    fn at(number: u64) -> Duration {
        FRAME * (number / 4) as u32 + Duration::from_millis(number % 4)
    }

    fn play(log: &mut FrameLog, numbers: impl IntoIterator<Item = u64>) -> Vec<FrameEvent> {
        let mut events = Vec::new();
        for number in numbers {
            log.push(packet(number), at(number));
            while let Some(event) = log.poll(at(number)) {
                events.push(event);
            }
        }
        events
    }

    fn complete(frame: u64, arrival: Duration) -> FrameEvent {
        FrameEvent::Complete {
            timestamp: (frame * 3_000) as u32,
            arrival,
            keyframe: frame == 0,
        }
    }

    #[test]
    fn a_frame_is_complete_with_its_last_packet() {
        let events = play(&mut FrameLog::new(0), 0..8);
        assert_eq!(events, [complete(0, at(3)), complete(1, at(7))]);
    }

    #[test]
    fn a_repeated_packet_completes_its_frame_and_those_that_waited() {
        let mut log = FrameLog::new(0);
        assert_eq!(play(&mut log, [0, 1, 3, 4, 5, 6, 7]), []);
        assert!(log.has_gap());
        log.push(packet(2), at(10));
        assert_eq!(log.poll(at(10)), Some(complete(0, at(10))));
        assert_eq!(log.poll(at(10)), Some(complete(1, at(10))));
        assert_eq!(log.poll(at(10)), None);
        assert!(!log.has_gap());
    }

    #[test]
    fn a_packet_that_never_comes_costs_its_frame_after_a_while() {
        let mut log = FrameLog::new(0);
        let events = play(&mut log, (0..120).filter(|number| *number != 5));
        assert_eq!(events[0], complete(0, at(3)));
        assert_eq!(events[1], FrameEvent::GivenUp(1));
        assert_eq!(events.len(), 30);
    }

    #[test]
    fn an_outage_of_the_whole_window_is_survived() {
        let mut log = FrameLog::new(0);
        let events = play(&mut log, (0..4).chain(2_000..2_008));
        assert!(events.contains(&FrameEvent::GivenUp(1)), "{events:?}");
        let events = play(&mut log, 2_008..2_016);
        assert_eq!(events.len(), 2);
    }

    #[test]
    fn a_new_timestamp_ends_a_frame_that_has_no_marker() {
        let mut log = FrameLog::new(0);
        for number in 0..8 {
            let marker = false;
            log.push(
                FramePacket {
                    marker,
                    ..packet(number)
                },
                at(number),
            );
        }
        assert_eq!(log.poll(at(8)), Some(complete(0, at(7))));
        assert_eq!(log.poll(at(8)), None);
    }

    #[test]
    fn a_slow_sender_is_not_a_loss() {
        let mut log = FrameLog::new(0);
        assert_eq!(play(&mut log, 0..2), []);
        assert_eq!(log.poll(at(2) + 2 * PATIENCE), None);
    }
}

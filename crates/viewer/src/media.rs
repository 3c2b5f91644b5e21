//! From RTP packets to frames (RFC 6184, 7741, 9628).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rtc::rtp::codec::vp8::Vp8Packet;
use rtc::rtp::codec::vp9::Vp9Packet;
use rtc::rtp::packetizer::Depacketizer;

use crate::VideoCodec;
use crate::report::AccessUnit;

/// How long a frame waits for a missing packet: some rounds of retransmission.
const PATIENCE: Duration = Duration::from_millis(600);
/// The most packets that wait for a missing one: about four keyframes of 1 Mb/s.
const MAX_WAITING: usize = 1024;

/// One step of a video stream.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum FrameEvent {
    /// All packets of a frame are there.
    Complete(AccessUnit),
    /// This many frames (at least) will not be complete.
    GivenUp(u64),
}

/// Puts frames together from packets in any order.
pub(crate) struct FrameAssembler {
    /// Number of the packet that the next frame begins with.
    next: u64,
    /// Since when packets wait for `next`'s frame to be complete.
    waiting_since: Option<Instant>,
    packets: BTreeMap<u64, VideoPacket>,
    /// A keyframe with its parameter sets was seen: what comes now can be decoded.
    decodable: bool,
    /// Whether access units carry their data.
    keep: bool,
}

/// What matters of an RTP packet.
pub(crate) struct VideoPacket {
    pub(crate) codec: VideoCodec,
    pub(crate) timestamp: u32,
    pub(crate) marker: bool,
    pub(crate) payload: Bytes,
}

impl FrameAssembler {
    /// Begins with the packet of this number.
    pub(crate) fn new(first: u64, keep: bool) -> Self {
        Self {
            next: first,
            waiting_since: None,
            packets: BTreeMap::new(),
            decodable: false,
            keep,
        }
    }

    /// Takes a packet by its number, which does not wrap.
    pub(crate) fn push(&mut self, number: u64, packet: VideoPacket, now: Instant) {
        if number >= self.next {
            self.packets.insert(number, packet);
            self.waiting_since.get_or_insert(now);
        }
    }

    /// What became of the next frame, if that is known.
    pub(crate) fn poll(&mut self, now: Instant) -> Option<FrameEvent> {
        if let Some(end) = self.end_of_frame() {
            let after = self.packets.split_off(&end);
            let frame = std::mem::replace(&mut self.packets, after);
            self.advance(end, now);
            return Some(self.finish(&frame));
        }
        let late = self
            .waiting_since
            .is_some_and(|since| now.duration_since(since) >= PATIENCE);
        // Without a packet beyond the gap, nothing is missing yet: the frame is still being sent.
        let gap = self.packets.keys().zip(self.next..).any(|(&a, b)| a != b);
        (gap && (late || self.packets.len() > MAX_WAITING)).then(|| self.give_up(now))
    }

    /// The number after the last packet of the frame that begins at `next`, if all are there.
    fn end_of_frame(&self) -> Option<u64> {
        let mut timestamp = None;
        for ((&number, packet), expected) in self.packets.iter().zip(self.next..) {
            if number != expected {
                return None;
            }
            // A new timestamp ends a frame too: the marker is a hint only (RFC 6184, 5.1).
            if *timestamp.get_or_insert(packet.timestamp) != packet.timestamp {
                return Some(number);
            }
            if packet.marker {
                return Some(number + 1);
            }
        }
        None
    }

    fn finish(&mut self, frame: &BTreeMap<u64, VideoPacket>) -> FrameEvent {
        let Some(first) = frame.values().next() else {
            return FrameEvent::GivenUp(1);
        };
        let unpacked = match first.codec {
            VideoCodec::H264 => self.unpack_h264(frame),
            VideoCodec::Vp8 => unpack_vp8(frame),
            VideoCodec::Vp9 => unpack_vp9(frame),
        };
        match unpacked {
            Some(unpacked) if self.decodable || unpacked.begins => {
                self.decodable = true;
                FrameEvent::Complete(AccessUnit {
                    codec: first.codec,
                    timestamp: first.timestamp,
                    keyframe: unpacked.keyframe,
                    data: if self.keep { unpacked.data } else { Vec::new() },
                })
            }
            _ => FrameEvent::GivenUp(1),
        }
    }

    fn unpack_h264(&self, frame: &BTreeMap<u64, VideoPacket>) -> Option<Unpacked> {
        let mut kinds = 0u32;
        let mut data = Vec::new();
        unpack(
            frame.values().map(|packet| &packet.payload[..]),
            |header, body| {
                kinds |= header.map_or(0, |header| 1 << (header & 0x1f));
                if self.keep {
                    append(&mut data, header, body);
                }
            },
        )?;
        let keyframe = kinds & 1 << NAL_IDR != 0;
        Some(Unpacked {
            keyframe,
            begins: keyframe && kinds & 1 << NAL_SPS != 0,
            data,
        })
    }

    /// Throws away all up to the first marker after the gap: before it, no frame's begin is certain.
    fn give_up(&mut self, now: Instant) -> FrameEvent {
        let begin = self.next;
        let gap = self
            .packets
            .keys()
            .zip(begin..)
            .find(|(present, expected)| *present != expected)
            .map_or(begin, |(_, expected)| expected);
        let end = self
            .packets
            .range(gap..)
            .find(|(_, packet)| packet.marker)
            .or(self.packets.last_key_value())
            .map_or(begin, |(&number, _)| number + 1);
        let after = self.packets.split_off(&end);
        let dropped = std::mem::replace(&mut self.packets, after);
        let mut timestamps: Vec<u32> = dropped.values().map(|packet| packet.timestamp).collect();
        timestamps.dedup();
        self.advance(end, now);
        FrameEvent::GivenUp(timestamps.len().max(1) as u64)
    }

    fn advance(&mut self, next: u64, now: Instant) {
        self.next = next;
        self.waiting_since = (!self.packets.is_empty()).then_some(now);
    }
}

/// The packets of one frame, put together.
struct Unpacked {
    keyframe: bool,
    /// Whether a decoder can begin here.
    begins: bool,
    data: Vec<u8>,
}

/// `None` when the frame's begin is missing, or it has two.
fn unpack_vp8(frame: &BTreeMap<u64, VideoPacket>) -> Option<Unpacked> {
    let mut data = Vec::new();
    for (position, packet) in frame.values().enumerate() {
        let mut descriptor = Vp8Packet::default();
        let piece = descriptor.depacketize(&packet.payload).ok()?;
        let is_begin = descriptor.s == 1 && descriptor.pid == 0;
        if is_begin != (position == 0) || descriptor.i == 0 {
            return None;
        }
        data.extend_from_slice(&piece);
    }
    // RFC 6386, 9.1: the first bit of a frame is 0 in a keyframe.
    let keyframe = data.first()? & 1 == 0;
    Some(Unpacked {
        keyframe,
        begins: keyframe,
        data,
    })
}

/// `None` when the frame's begin or end is missing, or is elsewhere.
fn unpack_vp9(frame: &BTreeMap<u64, VideoPacket>) -> Option<Unpacked> {
    let (mut data, mut keyframe) = (Vec::new(), false);
    for (position, packet) in frame.values().enumerate() {
        let mut descriptor = Vp9Packet::default();
        let piece = descriptor.depacketize(&packet.payload).ok()?;
        let is_end = position + 1 == frame.len();
        if (descriptor.b, descriptor.e) != (position == 0, is_end) || !descriptor.i {
            return None;
        }
        keyframe = !descriptor.p;
        if keyframe && position == 0 && descriptor.width.len() != 1 {
            return None;
        }
        data.extend_from_slice(&piece);
    }
    Some(Unpacked {
        keyframe,
        begins: keyframe,
        data,
    })
}

const NAL_IDR: u8 = 5;
const NAL_SPS: u8 = 7;
const NAL_STAP_A: u8 = 24;
const NAL_FU_A: u8 = 28;

/// One frame's payloads, in order, as an Annex B access unit; `None` when they are malformed.
pub fn depacketise<'a>(payloads: impl IntoIterator<Item = &'a [u8]>) -> Option<Vec<u8>> {
    let mut unit = Vec::new();
    unpack(payloads, |header, body| append(&mut unit, header, body))?;
    Some(unit)
}

fn append(unit: &mut Vec<u8>, header: Option<u8>, body: &[u8]) {
    if let Some(header) = header {
        unit.extend([0, 0, 0, 1, header]);
    }
    unit.extend(body);
}

/// Calls `piece` with each NAL unit's header (`None`: the unit goes on) and body.
fn unpack<'a>(
    payloads: impl IntoIterator<Item = &'a [u8]>,
    mut piece: impl FnMut(Option<u8>, &[u8]),
) -> Option<()> {
    let mut fragmented = false;
    for payload in payloads {
        let (&header, body) = payload.split_first()?;
        let kind = header & 0x1f;
        if fragmented && kind != NAL_FU_A {
            return None;
        }
        match kind {
            1..=23 => piece(Some(header), body),
            NAL_STAP_A => {
                let mut rest = body;
                while !rest.is_empty() {
                    let (length, tail) = rest.split_first_chunk()?;
                    let (nal, tail) = tail.split_at_checked(u16::from_be_bytes(*length).into())?;
                    let (&header, body) = nal.split_first()?;
                    piece(Some(header), body);
                    rest = tail;
                }
            }
            NAL_FU_A => {
                let (&fu, fragment) = body.split_first()?;
                let (start, end) = (fu & 0x80 != 0, fu & 0x40 != 0);
                if start == fragmented {
                    return None;
                }
                piece(start.then_some(header & 0xe0 | fu & 0x1f), fragment);
                fragmented = !end;
            }
            _ => return None,
        }
    }
    (!fragmented).then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Single NAL units: SPS, IDR (marker), then slices of one packet each.
    fn packet(number: u64) -> VideoPacket {
        let (timestamp, marker, kind) = match number {
            0 => (0, false, NAL_SPS),
            1 => (0, true, NAL_IDR),
            _ => (number as u32, true, 1),
        };
        VideoPacket {
            codec: VideoCodec::H264,
            timestamp,
            marker,
            payload: Bytes::from(vec![kind, number as u8]),
        }
    }

    fn assembler() -> (FrameAssembler, u64) {
        let first = 1 << 16;
        (FrameAssembler::new(first, true), first)
    }

    fn timestamps(assembler: &mut FrameAssembler, now: Instant) -> Vec<u32> {
        std::iter::from_fn(|| assembler.poll(now))
            .filter_map(|event| match event {
                FrameEvent::Complete(unit) => Some(unit.timestamp),
                FrameEvent::GivenUp(_) => None,
            })
            .collect()
    }

    #[test]
    fn frames_come_in_order_although_packets_do_not() {
        let (mut assembler, first) = assembler();
        let now = Instant::now();
        for number in [0, 2, 3] {
            assembler.push(first + number, packet(number), now);
        }
        assert_eq!(assembler.poll(now), None);
        assembler.push(first + 1, packet(1), now);
        assert_eq!(timestamps(&mut assembler, now), [0, 2, 3]);
    }

    #[test]
    fn a_frame_whose_packet_never_comes_is_given_up_after_a_while() {
        let (mut assembler, first) = assembler();
        let now = Instant::now();
        for number in [0, 1, 2, 4, 5] {
            assembler.push(first + number, packet(number), now);
        }
        assert_eq!(timestamps(&mut assembler, now), [0, 2]);
        let later = now + PATIENCE;
        assert_eq!(assembler.poll(later), Some(FrameEvent::GivenUp(1)));
        assert_eq!(timestamps(&mut assembler, later), [5]);
    }

    #[test]
    fn frames_before_the_first_keyframe_do_not_count() {
        let (mut assembler, first) = assembler();
        let now = Instant::now();
        assembler.push(first, packet(2), now);
        assert_eq!(assembler.poll(now), Some(FrameEvent::GivenUp(1)));
    }

    #[test]
    fn a_slow_sender_is_not_a_loss() {
        let (mut assembler, first) = assembler();
        let now = Instant::now();
        assembler.push(first, packet(0), now);
        assert_eq!(assembler.poll(now + 2 * PATIENCE), None);
    }

    #[test]
    fn aggregates_and_fragments_become_nal_units() {
        let unit = depacketise([
            &[0x78, 0, 2, 0x67, 1, 0, 1, 0x68][..],
            &[0x7c, 0x85, 9, 8],
            &[0x7c, 0x05, 7],
            &[0x7c, 0x45, 6],
        ]);
        let expected = [
            &[0, 0, 0, 1, 0x67, 1, 0, 0, 0, 1, 0x68, 0, 0, 0, 1, 0x65][..],
            &[9, 8, 7, 6],
        ];
        assert_eq!(unit, Some(expected.concat()));
    }

    #[test]
    fn malformed_payloads_are_refused() {
        for payloads in [
            &[&[][..]][..],
            &[&[0x78, 0]],
            &[&[0x78, 0, 9, 1]],
            &[&[0x7c]],
            &[&[0x7c, 0x05, 1]],
            &[&[0x7c, 0x85, 1]],
            &[&[0x7c, 0x85, 1], &[0x41, 1]],
            &[&[0x1f, 1]],
        ] {
            assert_eq!(depacketise(payloads.iter().copied()), None, "{payloads:?}");
        }
    }
}

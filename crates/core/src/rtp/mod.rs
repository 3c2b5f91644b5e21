//! Cutting encoded media into RTP packets once, and remembering them for NACK.
//!
//! An [`AccessUnit`] is what all viewers share: one encoded frame, or 20 ms of sound, as RTP payloads with
//! the sequence numbers and the timestamp of the track. A viewer adds its own header and seal.

mod clock;
mod h264;
mod history;

use std::sync::Arc;

use bytes::Bytes;

pub use clock::MediaClock;
pub use history::History;

/// Longest RTP payload. With the header (12), the RTX sequence number (2), the longest SRTP tag (16) and
/// UDP over IPv6 (48) a packet stays below 1,280 bytes, which every IPv6 path carries (RFC 8200).
pub const MAX_PAYLOAD: usize = 1_180;

/// The RTP clock of video (RFC 6184).
pub const VIDEO_CLOCK_HZ: u32 = 90_000;

/// The RTP clock of Opus (RFC 7587).
pub const OPUS_CLOCK_HZ: u32 = 48_000;

/// All packets of one track that share a timestamp.
#[derive(Debug)]
pub struct AccessUnit {
    /// The track's number of the first packet; never wraps. A viewer's own sequence numbers follow it.
    pub first_index: u64,
    /// In the track's clock, before wrapping to 32 bits.
    pub timestamp: u64,
    /// When it is to be seen or heard, in ms of the Unix clock: the other half of a sender report.
    pub wall_ms: f64,
    /// Whether a decoder may begin here.
    pub keyframe: bool,
    /// Whether the last packet carries the RTP marker: the end of a frame, or the start of a talk spurt, whose
    /// unit is one packet.
    pub marker: bool,
    payloads: Bytes,
    ends: Vec<u32>,
}

impl AccessUnit {
    /// How many packets it has; at least one.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether it has no packet.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The payload of packet `position`.
    pub fn payload(&self, position: usize) -> Option<&[u8]> {
        let end = *self.ends.get(position)? as usize;
        let start = match position.checked_sub(1) {
            Some(previous) => *self.ends.get(previous)? as usize,
            None => 0,
        };
        self.payloads.get(start..end)
    }

    /// The payloads in order.
    pub fn payloads(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.len()).filter_map(|position| self.payload(position))
    }

    /// All payload bytes together.
    pub fn size(&self) -> usize {
        self.payloads.len()
    }

    /// The number after the last packet's.
    pub fn next_index(&self) -> u64 {
        self.first_index + self.len() as u64
    }

    /// Whether packet `position` carries the marker.
    pub fn marker_at(&self, position: usize) -> bool {
        self.marker && position + 1 == self.len()
    }
}

/// Numbers and cuts the access units of one track.
#[derive(Debug, Default)]
pub struct Packetizer {
    next_index: u64,
}

impl Packetizer {
    /// Cuts one H.264 frame (Annex B). `None` if it holds no NAL unit.
    pub fn h264(
        &mut self,
        annex_b: &[u8],
        timestamp: u64,
        wall_ms: f64,
        keyframe: bool,
    ) -> Option<Arc<AccessUnit>> {
        let mut payloads = Vec::with_capacity(annex_b.len() + annex_b.len() / 256 + 16);
        let mut ends = Vec::with_capacity(annex_b.len() / MAX_PAYLOAD + 2);
        h264::packetize(annex_b, &mut payloads, &mut ends);
        self.number(AccessUnit {
            first_index: 0,
            timestamp,
            wall_ms,
            keyframe,
            marker: true,
            payloads: payloads.into(),
            ends,
        })
    }

    /// Wraps one Opus packet, which is one RTP payload (RFC 7587).
    pub fn opus(
        &mut self,
        packet: Bytes,
        timestamp: u64,
        wall_ms: f64,
        spurt_start: bool,
    ) -> Option<Arc<AccessUnit>> {
        let ends = if packet.is_empty() {
            Vec::new()
        } else {
            vec![packet.len() as u32]
        };
        self.number(AccessUnit {
            first_index: 0,
            timestamp,
            wall_ms,
            keyframe: true,
            marker: spurt_start,
            payloads: packet,
            ends,
        })
    }

    fn number(&mut self, mut unit: AccessUnit) -> Option<Arc<AccessUnit>> {
        if unit.is_empty() {
            return None;
        }
        unit.first_index = self.next_index;
        self.next_index = unit.next_index();
        Some(Arc::new(unit))
    }
}

//! Cutting encoded media into RTP packets once, and remembering them for NACK.
//!
//! An [`AccessUnit`] is what all viewers share: one encoded frame, or 20 ms of sound, as RTP payloads with
//! the sequence numbers and the timestamp of its layer. A viewer adds its own header and seal.

mod h264;
mod history;
mod vp8;
mod vp9;

use std::sync::Arc;

use bytes::Bytes;

use crate::codec::VideoCodec;

pub use history::History;

/// Longest RTP payload. With the header (12), its extension (8), the RTX sequence number (2), the longest SRTP tag (16) and
/// UDP over IPv6 (48) a packet stays below 1,280 bytes, which every IPv6 path carries (RFC 8200).
pub const MAX_PAYLOAD: usize = 1_180;

/// The number of a picture in VP8 and VP9: 15 bits.
type PictureId = u16;

const PICTURE_ID_MASK: u16 = 0x7fff;

/// M (RFC 7741, 4.2; RFC 9628, 4.2): the picture ID has 15 bits, not 7.
const PICTURE_ID_EXTENDED: u8 = 0x80;

/// All packets of one layer that share a timestamp.
#[derive(Debug)]
pub struct AccessUnit {
    /// The layer's number of the first packet; never wraps. A viewer's own sequence numbers follow it.
    pub first_index: u64,
    /// When it is to be seen or heard: ticks of the layer's clock since 1970, before wrapping to 32 bits.
    pub timestamp: u64,
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

/// Numbers and cuts the access units of one layer.
#[derive(Debug, Default)]
pub struct Packetizer {
    next_index: u64,
    next_picture: PictureId,
}

impl Packetizer {
    /// Cuts one frame of `codec` (H.264 as Annex B). `None` if there is nothing in it.
    pub fn picture(
        &mut self,
        codec: VideoCodec,
        frame: &[u8],
        timestamp: u64,
        keyframe: bool,
    ) -> Option<Arc<AccessUnit>> {
        let mut payloads = Vec::with_capacity(frame.len() + frame.len() / 256 + 16);
        let mut ends = Vec::with_capacity(frame.len() / MAX_PAYLOAD + 2);
        let picture_id = self.next_picture;
        match codec {
            VideoCodec::H264 => h264::packetize(frame, &mut payloads, &mut ends),
            VideoCodec::Vp8 => vp8::packetize(frame, picture_id, &mut payloads, &mut ends),
            VideoCodec::Vp9 => {
                vp9::packetize(frame, picture_id, keyframe, &mut payloads, &mut ends);
            }
        }
        let unit = self.number(AccessUnit {
            first_index: 0,
            timestamp,
            keyframe,
            marker: true,
            payloads: payloads.into(),
            ends,
        })?;
        self.next_picture = (picture_id + 1) & PICTURE_ID_MASK;
        Some(unit)
    }

    /// Wraps 20 ms of sound, which are one RTP payload (RFC 7587, 4.2; RFC 3551, 4.5). `None` if it is empty.
    pub fn sound(
        &mut self,
        payload: Bytes,
        timestamp: u64,
        spurt_start: bool,
    ) -> Option<Arc<AccessUnit>> {
        let ends = if payload.is_empty() {
            Vec::new()
        } else {
            vec![payload.len() as u32]
        };
        self.number(AccessUnit {
            first_index: 0,
            timestamp,
            keyframe: true,
            marker: spurt_start,
            payloads: payload,
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

#[cfg(test)]
mod testing {
    /// The packets that a packetizer makes.
    pub(super) fn cut(packetize: impl FnOnce(&mut Vec<u8>, &mut Vec<u32>)) -> Vec<Vec<u8>> {
        let (mut payloads, mut ends) = (Vec::new(), Vec::new());
        packetize(&mut payloads, &mut ends);
        let mut start = 0;
        ends.iter()
            .map(|&end| {
                let piece = payloads[start..end as usize].to_vec();
                start = end as usize;
                piece
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_numbered_in_15_bits_and_packets_without_end() {
        let mut packetizer = Packetizer::default();
        for n in 0..0x1_0010_u64 {
            let unit = packetizer.picture(VideoCodec::Vp8, &[1; 20], 0, n == 0);
            let unit = unit.unwrap();
            let id = u16::from_be_bytes([unit.payload(0).unwrap()[2], unit.payload(0).unwrap()[3]]);
            assert_eq!(u64::from(id), 0x8000 | n & 0x7fff);
            assert_eq!(unit.first_index, n);
        }
    }

    #[test]
    fn a_frame_without_anything_takes_no_number() {
        let mut packetizer = Packetizer::default();
        for codec in VideoCodec::ALL {
            assert!(packetizer.picture(codec, &[], 0, true).is_none());
        }
        let unit = packetizer.picture(VideoCodec::Vp9, &[1], 0, false).unwrap();
        assert_eq!((unit.first_index, unit.payload(0).unwrap()[2]), (0, 0));
    }
}

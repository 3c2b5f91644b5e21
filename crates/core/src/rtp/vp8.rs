//! VP8 over RTP (RFC 7741): a payload descriptor with a picture ID of 15 bits, then a piece of the frame. One
//! partition, one temporal layer, pieces of equal length, since UDP GSO wants segments of one size.

use super::{MAX_PAYLOAD, PICTURE_ID_EXTENDED, PictureId};

/// What RFC 7741, 4.2 calls X: the descriptor is an extended one.
const EXTENDED: u8 = 0x80;
/// S: a partition begins here.
const START: u8 = 0x10;
/// I: a picture ID follows.
const HAS_PICTURE_ID: u8 = 0x80;

const DESCRIPTOR: usize = 4;

/// Appends the payloads of one frame to `payloads`, and where each ends to `ends`.
pub(super) fn packetize(
    frame: &[u8],
    picture_id: PictureId,
    payloads: &mut Vec<u8>,
    ends: &mut Vec<u32>,
) {
    let count = frame.len().div_ceil(MAX_PAYLOAD - DESCRIPTOR).max(1);
    let size = frame.len().div_ceil(count).max(1);
    for (position, piece) in frame.chunks(size).enumerate() {
        let start = if position == 0 { START } else { 0 };
        let [high, low] = picture_id.to_be_bytes();
        payloads.extend([
            EXTENDED | start,
            HAS_PICTURE_ID,
            PICTURE_ID_EXTENDED | high,
            low,
        ]);
        payloads.extend_from_slice(piece);
        ends.push(payloads.len() as u32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::testing::cut;
    use proptest::prelude::*;
    use rtc_rtp::codec::vp8::Vp8Packet;
    use rtc_rtp::packetizer::Depacketizer;

    #[test]
    fn the_descriptor_is_that_of_the_rfc() {
        let packets = cut(|payloads, ends| packetize(&[7; 3_000], 0x1234, payloads, ends));
        assert_eq!(packets.len(), 3);
        assert!(packets.iter().all(|packet| packet.len() == 1_004));
        assert_eq!(packets[0][..4], [0x90, 0x80, 0x92, 0x34]);
        assert_eq!(packets[1][..4], [0x80, 0x80, 0x92, 0x34]);
    }

    #[test]
    fn nothing_comes_of_nothing() {
        assert!(cut(|payloads, ends| packetize(&[], 1, payloads, ends)).is_empty());
    }

    proptest! {
        #[test]
        fn what_is_cut_joins_to_the_same_frame(
            frame in prop::collection::vec(any::<u8>(), 1..10_000), picture_id in 0u16..0x8000,
        ) {
            let packets = cut(|payloads, ends| packetize(&frame, picture_id, payloads, ends));
            prop_assert!(packets.iter().all(|packet| packet.len() <= MAX_PAYLOAD));
            let mut joined = Vec::new();
            for (position, packet) in packets.into_iter().enumerate() {
                let mut descriptor = Vp8Packet::default();
                joined.extend(descriptor.depacketize(&packet.into()).unwrap());
                prop_assert_eq!((descriptor.s == 1, descriptor.pid), (position == 0, 0));
                prop_assert_eq!((descriptor.i, descriptor.picture_id), (1, picture_id));
            }
            prop_assert_eq!(joined, frame);
        }
    }
}

//! VP9 over RTP (RFC 9628), non-flexible mode with one spatial and one temporal layer: a payload descriptor with a
//! picture ID of 15 bits, then a piece of the frame. A keyframe's first packet tells the size of the picture. Packets
//! are of equal length, since UDP GSO wants segments of one size.

use super::{MAX_PAYLOAD, PICTURE_ID_EXTENDED, PictureId};

/// I (RFC 9628, 4.2): a picture ID follows.
const HAS_PICTURE_ID: u8 = 0x80;
/// P: the frame needs those before.
const INTER_PREDICTED: u8 = 0x40;
/// B: a frame begins here.
const BEGIN: u8 = 0x08;
/// E: a frame ends here.
const END: u8 = 0x04;
/// V: a scalability structure follows.
const HAS_STRUCTURE: u8 = 0x02;
/// In the scalability structure: one spatial layer, whose size follows (Y), and no picture group.
const SIZE_FOLLOWS: u8 = 0x10;

const DESCRIPTOR: usize = 3;

/// Appends the payloads of one frame to `payloads`, and where each ends to `ends`.
pub(super) fn packetize(
    frame: &[u8],
    picture_id: PictureId,
    keyframe: bool,
    payloads: &mut Vec<u8>,
    ends: &mut Vec<u32>,
) {
    let structure = size(frame)
        .filter(|_| keyframe)
        .map(|[w0, w1, h0, h1]| [SIZE_FOLLOWS, w0, w1, h0, h1]);
    let structure: &[u8] = structure.as_ref().map_or(&[], |bytes| bytes);
    let predicted = if keyframe { 0 } else { INTER_PREDICTED };
    let length = frame.len() + structure.len();
    let count = length.div_ceil(MAX_PAYLOAD - DESCRIPTOR).max(1);
    let room = length.div_ceil(count);
    let (mut rest, mut prefix, mut begin) = (frame, structure, BEGIN);
    while !rest.is_empty() {
        let (piece, later) = rest.split_at(rest.len().min(room - prefix.len()));
        let end = if later.is_empty() { END } else { 0 };
        let has_structure = if prefix.is_empty() { 0 } else { HAS_STRUCTURE };
        let [high, low] = picture_id.to_be_bytes();
        payloads.extend([
            HAS_PICTURE_ID | predicted | begin | end | has_structure,
            PICTURE_ID_EXTENDED | high,
            low,
        ]);
        payloads.extend_from_slice(prefix);
        payloads.extend_from_slice(piece);
        ends.push(payloads.len() as u32);
        (rest, prefix, begin) = (later, &[], 0);
    }
}

/// Width and height, as the scalability structure has them, in the header of a keyframe of profile 0 (VP9 bitstream
/// specification, 6.2).
fn size(frame: &[u8]) -> Option<[u8; 4]> {
    /// `frame_sync_code`.
    const SYNC: [u8; 3] = [0x49, 0x83, 0x42];
    let header: [u8; 9] = frame.get(..9)?.try_into().ok()?;
    let [_, s0, s1, s2, rest @ ..] = header;
    if [s0, s1, s2] != SYNC {
        return None;
    }
    // Behind the sync code: color_space (3 bits), color_range (1), the width less one (16) and the height (16).
    let bits = rest
        .iter()
        .fold(0u64, |bits, byte| bits << 8 | u64::from(*byte));
    let (width, height) = ((bits >> 20) as u16, (bits >> 4) as u16);
    let [w0, w1] = width.checked_add(1)?.to_be_bytes();
    let [h0, h1] = height.checked_add(1)?.to_be_bytes();
    Some([w0, w1, h0, h1])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::testing::cut;
    use proptest::prelude::*;
    use rtc_rtp::codec::vp9::Vp9Packet;
    use rtc_rtp::packetizer::Depacketizer;

    /// What begins a keyframe of 512x260.
    const HEADER: [u8; 9] = [0x82, 0x49, 0x83, 0x42, 0x20, 0x1f, 0xf0, 0x10, 0x30];

    #[test]
    fn a_keyframe_tells_its_size_and_an_inter_frame_what_it_needs() {
        let frame = [&HEADER[..], &[7; 2_986]].concat();
        let packets = cut(|payloads, ends| packetize(&frame, 0x1234, true, payloads, ends));
        assert_eq!(packets.len(), 3);
        assert!(packets.iter().all(|packet| packet.len() == 1_003));
        assert_eq!(packets[0][..8], [0x8a, 0x92, 0x34, 0x10, 2, 0, 1, 4]);
        assert_eq!(packets[1][..3], [0x80, 0x92, 0x34]);
        assert_eq!(packets[2][..3], [0x84, 0x92, 0x34]);

        let packets = cut(|payloads, ends| packetize(&[7; 50], 0x1235, false, payloads, ends));
        assert_eq!(packets.len(), 1);
        assert_eq!(packets[0][..4], [0xcc, 0x92, 0x35, 7]);
    }

    #[test]
    fn nothing_comes_of_nothing() {
        assert!(cut(|payloads, ends| packetize(&[], 1, true, payloads, ends)).is_empty());
    }

    proptest! {
        #[test]
        fn what_is_cut_joins_to_the_same_frame(
            body in prop::collection::vec(any::<u8>(), 1..10_000), keyframe: bool, with_header: bool,
        ) {
            let frame = if with_header { [&HEADER[..], &body].concat() } else { body };
            let packets = cut(|payloads, ends| packetize(&frame, 5, keyframe, payloads, ends));
            prop_assert!(packets.iter().all(|packet| packet.len() <= MAX_PAYLOAD));
            let mut joined = Vec::new();
            let last = packets.len() - 1;
            for (position, packet) in packets.into_iter().enumerate() {
                let mut descriptor = Vp9Packet::default();
                joined.extend(descriptor.depacketize(&packet.into()).unwrap());
                prop_assert_eq!((descriptor.b, descriptor.e), (position == 0, position == last));
                prop_assert_eq!((descriptor.p, descriptor.picture_id), (!keyframe, 5));
                if with_header && keyframe && position == 0 {
                    prop_assert_eq!((&*descriptor.width, &*descriptor.height), (&[512][..], &[260][..]));
                }
            }
            prop_assert_eq!(joined, frame);
        }
    }
}

//! H.264 over RTP (RFC 6184), packetization-mode 1: parameter sets together in a STAP-A, a small NAL unit
//! alone, a large one as FU-As of equal length, since UDP GSO wants segments of one size.

use super::MAX_PAYLOAD;

const NAL_TYPE: u8 = 0x1f;
const NAL_REF_IDC: u8 = 0x60;
const SPS: u8 = 7;
const PPS: u8 = 8;
const ACCESS_UNIT_DELIMITER: u8 = 9;
const STAP_A: u8 = 24;
const FU_A: u8 = 28;
const FU_START: u8 = 0x80;
const FU_END: u8 = 0x40;

/// Appends the payloads of one access unit to `payloads`, and where each ends to `ends`.
pub(super) fn packetize(annex_b: &[u8], payloads: &mut Vec<u8>, ends: &mut Vec<u32>) {
    let mut parameter_sets: Vec<&[u8]> = Vec::new();
    for nal in nal_units(annex_b) {
        let Some((&header, body)) = nal.split_first() else {
            continue;
        };
        match header & NAL_TYPE {
            ACCESS_UNIT_DELIMITER => {}
            SPS | PPS => parameter_sets.push(nal),
            _ => {
                aggregate(&std::mem::take(&mut parameter_sets), payloads, ends);
                if nal.len() <= MAX_PAYLOAD {
                    payloads.extend_from_slice(nal);
                    ends.push(payloads.len() as u32);
                } else {
                    fragment(header, body, payloads, ends);
                }
            }
        }
    }
    aggregate(&parameter_sets, payloads, ends);
}

fn aggregate(nals: &[&[u8]], payloads: &mut Vec<u8>, ends: &mut Vec<u32>) {
    let size = 1 + nals.iter().map(|nal| 2 + nal.len()).sum::<usize>();
    if nals.len() < 2 || size > MAX_PAYLOAD {
        for nal in nals {
            payloads.extend_from_slice(nal);
            ends.push(payloads.len() as u32);
        }
        return;
    }
    // The STAP-A header carries the highest NRI of the units inside (RFC 6184, 5.7.1).
    let importance = nals
        .iter()
        .map(|nal| nal[0] & NAL_REF_IDC)
        .max()
        .unwrap_or(0);
    payloads.push(importance | STAP_A);
    for nal in nals {
        payloads.extend_from_slice(&(nal.len() as u16).to_be_bytes());
        payloads.extend_from_slice(nal);
    }
    ends.push(payloads.len() as u32);
}

fn fragment(header: u8, body: &[u8], payloads: &mut Vec<u8>, ends: &mut Vec<u32>) {
    let count = body.len().div_ceil(MAX_PAYLOAD - 2);
    let size = body.len().div_ceil(count);
    for (position, piece) in body.chunks(size).enumerate() {
        let start = if position == 0 { FU_START } else { 0 };
        let end = if (position + 1) * size >= body.len() {
            FU_END
        } else {
            0
        };
        payloads.push((header & !NAL_TYPE) | FU_A);
        payloads.push(start | end | (header & NAL_TYPE));
        payloads.extend_from_slice(piece);
        ends.push(payloads.len() as u32);
    }
}

/// The NAL units between the start codes of Annex B (ITU-T H.264, B.1), trailing zeros removed.
fn nal_units(annex_b: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = skip_start_code(annex_b);
    std::iter::from_fn(move || {
        let data = rest?;
        let end = find_start_code(data);
        let (nal, next) = match end {
            Some(at) => (&data[..at], skip_start_code(&data[at..])),
            None => (data, None),
        };
        rest = next;
        let trailing = nal.iter().rev().take_while(|&&byte| byte == 0).count();
        Some(&nal[..nal.len() - trailing])
    })
    .filter(|nal| !nal.is_empty())
}

fn find_start_code(data: &[u8]) -> Option<usize> {
    let mut at = 0;
    // A start code is 0, 0, 1: looking at every third byte first skips most of the data.
    while let Some(window) = data.get(at..at + 3) {
        match window[2] {
            0 => at += 1,
            1 if window[0] == 0 && window[1] == 0 => return Some(at),
            _ => at += 3,
        }
    }
    None
}

fn skip_start_code(data: &[u8]) -> Option<&[u8]> {
    find_start_code(data).and_then(|at| data.get(at + 3..))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cut(annex_b: &[u8]) -> Vec<Vec<u8>> {
        crate::rtp::testing::cut(|payloads, ends| packetize(annex_b, payloads, ends))
    }

    /// The reverse, as a receiver does it.
    fn join(packets: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let mut nals: Vec<Vec<u8>> = Vec::new();
        for packet in packets {
            match packet[0] & NAL_TYPE {
                STAP_A => {
                    let mut rest = &packet[1..];
                    while rest.len() > 2 {
                        let length = usize::from(u16::from_be_bytes([rest[0], rest[1]]));
                        nals.push(rest[2..2 + length].to_vec());
                        rest = &rest[2 + length..];
                    }
                }
                FU_A => {
                    if packet[1] & FU_START != 0 {
                        nals.push(vec![(packet[0] & !NAL_TYPE) | (packet[1] & NAL_TYPE)]);
                    }
                    nals.last_mut().unwrap().extend_from_slice(&packet[2..]);
                }
                _ => nals.push(packet.clone()),
            }
        }
        nals
    }

    fn annex_b(nals: &[Vec<u8>]) -> Vec<u8> {
        nals.iter()
            .flat_map(|nal| [&[0, 0, 0, 1], &nal[..]].concat())
            .collect()
    }

    #[test]
    fn a_keyframe_becomes_a_stap_a_and_equal_fu_as() {
        let nals = vec![
            vec![0x67, 1, 2],
            vec![0x68, 3],
            [vec![0x65], vec![7; 5_000]].concat(),
        ];
        let packets = cut(&annex_b(&nals));
        assert_eq!(packets[0][0], 0x60 | STAP_A);
        assert_eq!(packets.len(), 1 + 5);
        assert!(
            packets[1..5]
                .iter()
                .all(|packet| packet.len() == packets[1].len())
        );
        assert!(packets.iter().all(|packet| packet.len() <= MAX_PAYLOAD));
        assert_eq!(join(&packets), nals);
    }

    #[test]
    fn nothing_comes_of_nothing() {
        assert!(cut(&[]).is_empty());
        assert!(cut(&[0, 0, 1]).is_empty());
        assert!(cut(&[1, 2, 3, 4]).is_empty());
        assert!(cut(&[0, 0, 0, 1, 9, 0xf0]).is_empty());
    }

    proptest! {
        #[test]
        fn what_is_cut_joins_to_the_same_nal_units(
            bodies in prop::collection::vec(prop::collection::vec(1u8..=255, 1..6_000), 1..5)
        ) {
            let nals: Vec<Vec<u8>> = bodies.into_iter().map(|body| [vec![0x41], body].concat()).collect();
            let packets = cut(&annex_b(&nals));
            prop_assert!(packets.iter().all(|packet| packet.len() <= MAX_PAYLOAD));
            prop_assert_eq!(join(&packets), nals);
        }

        #[test]
        fn random_bytes_never_panic(data in prop::collection::vec(0u8..3, 0..300)) {
            cut(&data);
        }
    }
}

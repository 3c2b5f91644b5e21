//! The little RTCP that a sender needs (RFC 3550, RFC 4585, RFC 5104): feedback in, reports out.
//! Hostile input reaches this code, so it is narrow and cannot fail.

use super::reception::ReportBlock;

const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;
const SOURCE_DESCRIPTION: u8 = 202;
const TRANSPORT_FEEDBACK: u8 = 205;
const PAYLOAD_FEEDBACK: u8 = 206;
const GENERIC_NACK: u8 = 1;
const PICTURE_LOSS: u8 = 1;
const FULL_INTRA_REQUEST: u8 = 4;

/// Seconds from the NTP epoch (1900) to the Unix one.
const NTP_UNIX_OFFSET: f64 = 2_208_988_800.0;

/// What a receiver asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Feedback {
    /// A lost packet.
    Nack { ssrc: u32, sequence: u16 },
    /// A picture to begin at (PLI or FIR).
    Keyframe { ssrc: u32 },
    /// Nothing, but it reports which share of the packets it lost lately, in 256ths; never 0.
    Loss { ssrc: u32, share: u8 },
}

/// Most requests of one compound packet that are read: as many packets as a viewer may have again in a second.
const MAX_REQUESTS: usize = 600;

/// Calls `take` with each request in a compound packet; stops at the first malformed part.
pub(super) fn read_feedback(mut compound: &[u8], mut take: impl FnMut(Feedback)) {
    let mut left = MAX_REQUESTS;
    let mut take = |feedback| {
        if let Some(fewer) = left.checked_sub(1) {
            left = fewer;
            take(feedback);
        }
    };
    while let [first, kind, high, low, ..] = *compound {
        let length = (usize::from(u16::from_be_bytes([high, low])) + 1) * 4;
        let Some((packet, rest)) = compound.split_at_checked(length) else {
            return;
        };
        compound = rest;
        match (kind, first & 0x1f) {
            (TRANSPORT_FEEDBACK, GENERIC_NACK) => {
                let Some(ssrc) = word(packet, 8) else { return };
                for at in (12..packet.len()).step_by(4) {
                    let Some(entry) = word(packet, at) else {
                        return;
                    };
                    let (sequence, mask) = ((entry >> 16) as u16, entry as u16);
                    take(Feedback::Nack { ssrc, sequence });
                    for bit in (0..16).filter(|bit| mask >> bit & 1 == 1) {
                        take(Feedback::Nack {
                            ssrc,
                            sequence: sequence.wrapping_add(bit + 1),
                        });
                    }
                }
            }
            (PAYLOAD_FEEDBACK, PICTURE_LOSS) => {
                let Some(ssrc) = word(packet, 8) else { return };
                take(Feedback::Keyframe { ssrc });
            }
            (PAYLOAD_FEEDBACK, FULL_INTRA_REQUEST) => {
                for at in (12..packet.len()).step_by(8) {
                    let Some(ssrc) = word(packet, at) else { return };
                    take(Feedback::Keyframe { ssrc });
                }
            }
            // Report blocks follow what a sender says of itself (RFC 3550, 6.4.1 and 6.4.2).
            (SENDER_REPORT, blocks) => read_losses(packet, 28, blocks, &mut take),
            (RECEIVER_REPORT, blocks) => read_losses(packet, 8, blocks, &mut take),
            _ => {}
        }
    }
}

fn read_losses(packet: &[u8], from: usize, blocks: u8, take: &mut impl FnMut(Feedback)) {
    for block in (packet.get(from..).unwrap_or_default())
        .chunks_exact(24)
        .take(blocks.into())
    {
        if let (Some(ssrc), Some(&share @ 1..)) = (word(block, 0), block.get(4)) {
            take(Feedback::Loss { ssrc, share });
        }
    }
}

fn word(packet: &[u8], at: usize) -> Option<u32> {
    let bytes: [u8; 4] = packet.get(at..at + 4)?.try_into().ok()?;
    Some(u32::from_be_bytes(bytes))
}

/// One track's line in a report.
#[derive(Debug, Clone, Copy)]
pub(super) struct SenderInfo {
    pub(super) ssrc: u32,
    /// A moment in ms of the Unix clock, and the same moment in the track's clock.
    pub(super) wall_ms: f64,
    pub(super) rtp_time: u32,
    pub(super) packets: u32,
    pub(super) octets: u32,
}

/// A compound of a sender report (RFC 3550, 6.4.1) and the CNAME that ties the tracks together.
pub(super) fn sender_report(info: &SenderInfo) -> Vec<u8> {
    let mut packet = Vec::with_capacity(52);
    packet.extend([0x80, SENDER_REPORT, 0, 6]);
    packet.extend(info.ssrc.to_be_bytes());
    let seconds = info.wall_ms / 1_000.0 + NTP_UNIX_OFFSET;
    packet.extend((seconds as u32).to_be_bytes());
    packet.extend(((seconds.fract() * 4_294_967_296.0) as u32).to_be_bytes());
    packet.extend(info.rtp_time.to_be_bytes());
    packet.extend(info.packets.to_be_bytes());
    packet.extend(info.octets.to_be_bytes());
    extend_with_name(&mut packet, info.ssrc);
    packet
}

/// A compound of a receiver report (RFC 3550, 6.4.2) and the CNAME of `ssrc`, which reports.
pub(super) fn receiver_report(ssrc: u32, block: &ReportBlock) -> Vec<u8> {
    let mut packet = Vec::with_capacity(52);
    packet.extend([0x81, RECEIVER_REPORT, 0, 7]);
    packet.extend(ssrc.to_be_bytes());
    packet.extend(block.ssrc.to_be_bytes());
    packet.extend((u32::from(block.fraction_lost) << 24 | block.lost).to_be_bytes());
    packet.extend(block.highest_sequence.to_be_bytes());
    packet.extend(block.jitter.to_be_bytes());
    packet.extend(block.last_report.to_be_bytes());
    packet.extend(block.since_last_report.to_be_bytes());
    extend_with_name(&mut packet, ssrc);
    packet
}

/// SDES: one chunk, CNAME "avatar", an end, padded to a word.
fn extend_with_name(packet: &mut Vec<u8>, ssrc: u32) {
    packet.extend([0x81, SOURCE_DESCRIPTION, 0, 4]);
    packet.extend(ssrc.to_be_bytes());
    packet.extend([1, 6]);
    packet.extend(b"avatar");
    packet.extend([0; 4]);
}

/// The middle 32 bits of the NTP time in a compound packet that begins with a sender report.
pub(super) fn sender_report_time(compound: &[u8]) -> Option<u32> {
    match compound {
        [_, SENDER_REPORT, ..] => word(compound, 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(compound: &[u8]) -> Vec<Feedback> {
        let mut all = Vec::new();
        read_feedback(compound, |feedback| all.push(feedback));
        all
    }

    #[test]
    fn nack_pli_and_fir_are_read_from_one_compound() {
        let mut compound = vec![0x80, 201, 0, 1, 0, 0, 0, 9]; // an empty receiver report
        compound.extend([
            0x81, 205, 0, 3, 0, 0, 0, 9, 0, 0, 0, 5, 0xff, 0xff, 0x00, 0x03,
        ]);
        compound.extend([0x81, 206, 0, 2, 0, 0, 0, 9, 0, 0, 0, 6]);
        compound.extend([
            0x84, 206, 0, 4, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 7, 1, 0, 0, 0,
        ]);
        assert_eq!(
            read(&compound),
            [
                Feedback::Nack {
                    ssrc: 5,
                    sequence: 65_535
                },
                Feedback::Nack {
                    ssrc: 5,
                    sequence: 0
                },
                Feedback::Nack {
                    ssrc: 5,
                    sequence: 1
                },
                Feedback::Keyframe { ssrc: 6 },
                Feedback::Keyframe { ssrc: 7 },
            ]
        );
    }

    #[test]
    fn losses_are_read_from_both_kinds_of_report() {
        let block = |ssrc: u8, share: u8| {
            let mut block = [0; 24];
            (block[3], block[4]) = (ssrc, share);
            block
        };
        let mut compound = vec![0x82, 201, 0, 13, 0, 0, 0, 9];
        compound.extend([block(5, 0), block(6, 3)].as_flattened());
        compound.extend([0x81, 200, 0, 12]);
        compound.extend([0; 24]);
        compound.extend(block(7, 255));
        // More blocks are announced than there are.
        compound.extend([0x9f, 201, 0, 7, 0, 0, 0, 9]);
        compound.extend(block(8, 1));
        assert_eq!(
            read(&compound),
            [(6, 3), (7, 255), (8, 1)].map(|(ssrc, share)| Feedback::Loss { ssrc, share })
        );
    }

    #[test]
    fn no_more_is_read_than_a_viewer_may_have() {
        let mut compound = vec![0x81, 205, 0, 102, 0, 0, 0, 9, 0, 0, 0, 5];
        compound.extend([0, 1, 0xff, 0xff].repeat(100));
        assert_eq!(read(&compound).len(), MAX_REQUESTS);
    }

    #[test]
    fn a_report_has_whole_words_and_the_time_of_1900() {
        let report = sender_report(&SenderInfo {
            ssrc: 1,
            wall_ms: 500.0,
            rtp_time: 2,
            packets: 3,
            octets: 4,
        });
        assert_eq!(report.len(), 28 + 20);
        assert_eq!(word(&report, 8), Some(2_208_988_800));
        assert_eq!(word(&report, 12), Some(1 << 31));
    }

    proptest! {
        #[test]
        fn random_compounds_never_panic(data in prop::collection::vec(any::<u8>(), 0..300)) {
            read(&data);
        }
    }

    #[test]
    fn a_receiver_report_says_what_was_lost() {
        let block = ReportBlock {
            ssrc: 5,
            fraction_lost: 26,
            lost: 10,
            highest_sequence: 70_000,
            jitter: 40,
            last_report: 0x0102_0304,
            since_last_report: 65_536,
        };
        let packet = receiver_report(9, &block);
        let mut told = Vec::new();
        read_feedback(&packet, |feedback| told.push(feedback));
        assert_eq!(told, [Feedback::Loss { ssrc: 5, share: 26 }]);
        assert_eq!((packet.len() % 4, word(&packet, 16)), (0, Some(70_000)));
        assert_eq!(word(&packet, 24), Some(0x0102_0304));
        assert_eq!(sender_report_time(&packet), None);
    }
}

//! Opus packets that are passed on as they are: whether they are any, and how long they play.

use crate::error::DropReason;

/// The rate that Opus counts in, whatever it was made from (RFC 7587, 4.1), in Hz.
const RATE: u32 = 48_000;

/// The longest packet that is passed on: Opus packets are not split on the way (RFC 7587, 4.2). 470 kb/s of 20 ms each.
pub const MAX_BYTES: usize = 1_180;

/// Samples a channel at 48 kHz that `packet` plays: 120 (2.5 ms) to 5,760 (120 ms).
pub fn frames(packet: &[u8]) -> Result<usize, DropReason> {
    if packet.len() > MAX_BYTES {
        return Err(DropReason::LongPacket(packet.len()));
    }
    // Its frames' lengths are looked at as well.
    opus::packet::parse(packet)
        .and_then(|_| opus::packet::get_nb_samples(packet, RATE))
        .map_err(|_| DropReason::Undecodable("OPUS"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_tells_how_long_it_plays() {
        // Configuration and count of frames in the first byte: RFC 6716, 3.1 and 3.2.
        for (packet, expected) in [
            (&[16 << 3, 1, 2][..], 120),
            (&[1 << 3, 1, 2], 960),
            (&[3 << 3, 1, 2], 2_880),
            (&[3 << 3 | 1, 1, 2], 5_760),
            (&[1 << 3 | 4], 960),
            (&[31 << 3 | 3, 2, 1, 2], 1_920),
        ] {
            assert_eq!(frames(packet), Ok(expected), "{packet:?}");
        }
    }

    #[test]
    fn what_is_no_packet_is_refused_with_a_reason() {
        let ogg = b"OggS\0\x02\0\0\0\0\0\0\0\0";
        let wav = b"RIFF$\0\0\0WAVEfmt ";
        for data in [
            &[][..],
            ogg,
            wav,
            // More than 120 ms.
            &[3 << 3 | 3, 3, 1, 1, 1],
            // Two frames of one length in an odd number of bytes.
            &[1, 1, 2, 3],
            // A frame that is longer than the packet.
            &[2, 200],
        ] {
            assert_eq!(
                frames(data),
                Err(DropReason::Undecodable("OPUS")),
                "{data:?}"
            );
        }
        let long = frames(&[8; MAX_BYTES + 1]).unwrap_err();
        assert_eq!(long.code(), "bad-length");
        assert!(long.to_string().contains("1180"), "{long}");
    }
}

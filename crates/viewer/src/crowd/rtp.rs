//! What can be read of an RTP packet without its key (RFC 3550, 5.1), and what is needed of its payload.

/// The RTP header: SRTP leaves it readable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) marker: bool,
    pub(super) payload_type: u8,
    pub(super) sequence: u16,
    pub(super) timestamp: u32,
    pub(super) ssrc: u32,
    /// Bytes before the payload, extension included.
    pub(super) length: usize,
}

impl Header {
    pub(super) fn parse(packet: &[u8]) -> Option<Self> {
        let (fixed, rest) = packet.split_first_chunk::<12>()?;
        let [first, second, s0, s1, t0, t1, t2, t3, ssrc @ ..] = *fixed;
        if first >> 6 != 2 {
            return None;
        }
        let sources = 4 * usize::from(first & 0x0f);
        let mut length = 12 + sources;
        if first & 0x10 != 0 {
            let words = rest.get(sources + 2..sources + 4)?;
            length += 4 + 4 * usize::from(u16::from_be_bytes(words.try_into().ok()?));
        }
        (length <= packet.len()).then_some(Self {
            marker: second & 0x80 != 0,
            payload_type: second & 0x7f,
            sequence: u16::from_be_bytes([s0, s1]),
            timestamp: u32::from_be_bytes([t0, t1, t2, t3]),
            ssrc: u32::from_be_bytes(ssrc),
            length,
        })
    }
}

/// Whether an SRTP or SRTCP packet is RTCP (RFC 5761, 4).
pub(super) fn is_rtcp(packet: &[u8]) -> bool {
    matches!(packet.get(1), Some(192..=223))
}

/// Whether an H.264 payload (RFC 6184) begins an IDR picture, or the parameter sets before it.
pub(super) fn begins_h264_keyframe(payload: &[u8]) -> bool {
    const IDR: u8 = 5;
    const SPS: u8 = 7;
    const STAP_A: u8 = 24;
    const FU_A: u8 = 28;
    let kind = |header: &u8| header & 0x1f;
    let begins = |kind: u8| matches!(kind, IDR | SPS);
    match payload.first().map(kind) {
        Some(STAP_A) => payload.get(3).map(kind).is_some_and(begins),
        Some(FU_A) => payload
            .get(1)
            .is_some_and(|fu| fu & 0x80 != 0 && begins(kind(fu))),
        Some(single) => begins(single),
        None => false,
    }
}

/// Whether a VP8 payload (RFC 7741, 4.2 and 4.3) begins a keyframe.
pub(super) fn begins_vp8_keyframe(payload: &[u8]) -> bool {
    let Some(&first) = payload.first() else {
        return false;
    };
    let (extended, start, partition) = (first & 0x80 != 0, first & 0x10 != 0, first & 0x07);
    let mut descriptor = 1;
    if extended {
        let Some(&fields) = payload.get(1) else {
            return false;
        };
        descriptor += 1;
        if fields & 0x80 != 0 {
            // The picture number has 7 or, with its first bit set, 15 bits.
            let long = payload.get(descriptor).is_some_and(|id| id & 0x80 != 0);
            descriptor += 1 + usize::from(long);
        }
        descriptor += usize::from(fields & 0x40 != 0) + usize::from(fields & 0x30 != 0);
    }
    let inter = payload.get(descriptor).is_none_or(|frame| frame & 1 != 0);
    start && partition == 0 && !inter
}

/// Whether a VP9 payload (RFC 9628, 4.2) begins a keyframe: B without P.
pub(super) fn begins_vp9_keyframe(payload: &[u8]) -> bool {
    payload.first().is_some_and(|first| first & 0x48 == 0x08)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_ends_behind_sources_and_extension() {
        let mut packet = vec![0xb1, 0xed, 0, 7, 0, 0, 0, 9, 0, 0, 0, 1];
        packet.extend([0, 0, 0, 2, 0xbe, 0xde, 0, 1, 1, 2, 3, 4, 99]);
        let header = Header::parse(&packet).unwrap();
        assert_eq!(
            header,
            Header {
                marker: true,
                payload_type: 109,
                sequence: 7,
                timestamp: 9,
                ssrc: 1,
                length: 24
            }
        );
        for cut in 0..24 {
            assert_eq!(Header::parse(&packet[..cut]), None, "{cut}");
        }
        packet[0] = 0x40;
        assert_eq!(Header::parse(&packet), None);
    }

    #[test]
    fn an_h264_keyframe_is_known_in_every_packetization() {
        for payload in [&[0x67, 1][..], &[0x65], &[0x78, 0, 9, 0x67], &[0x7c, 0x85]] {
            assert!(begins_h264_keyframe(payload), "{payload:?}");
        }
        for payload in [
            &[0x41, 1][..],
            &[0x7c, 0x05],
            &[0x7c, 0x81],
            &[0x78, 0, 9, 0x41],
            &[],
        ] {
            assert!(!begins_h264_keyframe(payload), "{payload:?}");
        }
    }

    #[test]
    fn a_vp8_keyframe_is_known_behind_any_descriptor() {
        for payload in [
            &[0x10, 0][..],
            &[0x90, 0xe0, 0x81, 2, 3, 4, 0],
            &[0x90, 0x80, 1, 0],
        ] {
            assert!(begins_vp8_keyframe(payload), "{payload:?}");
        }
        for payload in [
            &[0x10, 1][..],
            &[0x00, 0],
            &[0x11, 0],
            &[0x90, 0x80, 1, 1],
            &[0x10],
            &[],
        ] {
            assert!(!begins_vp8_keyframe(payload), "{payload:?}");
        }
    }
}

//! The header of an incoming RTP packet (RFC 3550, 5.1; RFC 8285), which SRTP leaves in the clear.
//! Hostile input reaches this code: it looks at nothing outside the packet, and cannot fail.

/// What stands before the payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RtpHeader {
    pub(super) sequence: u16,
    pub(super) timestamp: u32,
    pub(super) ssrc: u32,
    /// Where the payload begins: behind contributing sources and extensions.
    pub(super) length: usize,
    /// Whether the payload ends in padding, whose last byte counts it.
    has_padding: bool,
    /// What form the extensions have, and where they begin; they end where the payload begins.
    extensions: Option<(u16, usize)>,
}

/// RFC 8285, 4.2 and 4.3: how an element's name and length are written.
const ONE_BYTE_FORM: u16 = 0xbede;
const TWO_BYTE_FORM: u16 = 0x1000;

/// The payload type, of what may be no RTP packet at all.
pub(super) fn payload_type(packet: &[u8]) -> Option<u8> {
    packet.get(1).map(|second| second & 0x7f)
}

impl RtpHeader {
    /// Reads the header of a packet whose first byte says that it is RTP (RFC 7983).
    pub(super) fn parse(packet: &[u8]) -> Option<Self> {
        let first = *packet.first()?;
        let sources = 12 + 4 * usize::from(first & 0x0f);
        let mut length = sources;
        let mut extensions = None;
        if first & 0x10 != 0 {
            let begin = sources + 4;
            length = begin + 4 * usize::from(half_word(packet, sources + 2)?);
            extensions = Some((half_word(packet, sources)?, begin));
        }
        (length <= packet.len()).then_some(Self {
            sequence: half_word(packet, 2)?,
            timestamp: word(packet, 4)?,
            ssrc: word(packet, 8)?,
            length,
            has_padding: first & 0x20 != 0,
            extensions,
        })
    }

    /// The level that extension `id` carries (RFC 6464, 3), in -dBov: 0 is the loudest, 127 silence. The bit
    /// beside it, "this is a voice", is not asked: senders set it for every packet that is not comfort noise.
    pub(super) fn audio_level(&self, packet: &[u8], id: u8) -> Option<u8> {
        let (form, begin) = self.extensions?;
        let elements = packet.get(begin..self.length)?;
        let value = match form {
            ONE_BYTE_FORM => one_byte_element(elements, id),
            // The last four bits are the application's.
            form if form & 0xfff0 == TWO_BYTE_FORM => two_byte_element(elements, id),
            _ => None,
        };
        value?.first().map(|byte| byte & 0x7f)
    }

    /// `payload` without its padding; `None` if it claims to have more than there is.
    pub(super) fn strip<'a>(&self, payload: &'a [u8]) -> Option<&'a [u8]> {
        let padding = match (self.has_padding, payload.last()) {
            (false, _) => 0,
            (true, count) => usize::from(*count?),
        };
        payload.get(..payload.len().checked_sub(padding)?)
    }
}

fn one_byte_element(mut elements: &[u8], wanted: u8) -> Option<&[u8]> {
    loop {
        let (&head, rest) = elements.split_first()?;
        elements = match (head >> 4, head & 0x0f) {
            (0, 0) => rest, // padding
            // RFC 8285, 4.2: nothing counts from here on.
            (0 | 15, _) => return None,
            (id, length) => {
                let (value, rest) = rest.split_at_checked(usize::from(length) + 1)?;
                if id == wanted {
                    return Some(value);
                }
                rest
            }
        };
    }
}

fn two_byte_element(mut elements: &[u8], wanted: u8) -> Option<&[u8]> {
    loop {
        let (&id, rest) = elements.split_first()?;
        if id == 0 {
            elements = rest; // padding, which has no length
            continue;
        }
        let (&length, rest) = rest.split_first()?;
        let (value, rest) = rest.split_at_checked(usize::from(length))?;
        if id == wanted {
            return Some(value);
        }
        elements = rest;
    }
}

fn half_word(packet: &[u8], at: usize) -> Option<u16> {
    let bytes: [u8; 2] = packet.get(at..at + 2)?.try_into().ok()?;
    Some(u16::from_be_bytes(bytes))
}

fn word(packet: &[u8], at: usize) -> Option<u32> {
    let bytes: [u8; 4] = packet.get(at..at + 4)?.try_into().ok()?;
    Some(u32::from_be_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A packet with one contributing source, and `elements` in an extension of this form.
    fn packet(form: u16, elements: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x91, 111, 0, 7, 0, 0, 0, 9, 0, 0, 0, 1, 0, 0, 0, 2];
        packet.extend(form.to_be_bytes());
        packet.extend((elements.len() as u16 / 4).to_be_bytes());
        packet.extend(elements);
        packet.extend(b"opus");
        packet
    }

    fn level(form: u16, elements: &[u8], id: u8) -> Option<u8> {
        let packet = packet(form, elements);
        let header = RtpHeader::parse(&packet).unwrap();
        assert_eq!(&packet[header.length..], b"opus");
        header.audio_level(&packet, id)
    }

    #[test]
    fn the_payload_lies_behind_sources_and_extensions_and_before_padding() {
        let mut packet = packet(ONE_BYTE_FORM, &[0x10, 0xff, 0, 0]);
        packet[0] |= 0x20;
        packet.extend([0, 0, 3]);
        let header = RtpHeader::parse(&packet).unwrap();
        assert_eq!((header.sequence, header.timestamp, header.ssrc), (7, 9, 1));
        assert_eq!(header.strip(&packet[header.length..]), Some(&b"opus"[..]));
        assert_eq!(header.strip(&[8]), None);
        assert_eq!(header.strip(&[]), None);
    }

    #[test]
    fn the_level_is_found_among_other_extensions_in_both_forms() {
        let one = [0x32, 1, 2, 3, 0, 0, 0x10, 0x80 | 42];
        assert_eq!(level(ONE_BYTE_FORM, &one, 1), Some(42));
        assert_eq!(level(ONE_BYTE_FORM, &one, 2), None);
        let two = [3, 2, 9, 9, 0, 200, 1, 127];
        assert_eq!(level(TWO_BYTE_FORM, &two, 200), Some(127));
        assert_eq!(level(TWO_BYTE_FORM | 5, &two, 200), Some(127));
        assert_eq!(level(0x1234, &two, 200), None);
    }

    #[test]
    fn hostile_extensions_say_nothing() {
        for elements in [
            [0xf0, 0, 0x10, 42],    // 15 ends everything
            [0x01, 0, 0x10, 42],    // and so does 0 with a length
            [0x2f, 0, 0, 0x10],     // longer than the extension
            [0, 0, 0, 0x10],        // a name, and then the end
            [0x20, 0x10, 42, 0x10], // a value that looks like a name
        ] {
            assert_eq!(level(ONE_BYTE_FORM, &elements, 1), None, "{elements:?}");
        }
        assert_eq!(level(TWO_BYTE_FORM, &[1, 0, 0, 0], 1), None, "no value");
        assert_eq!(level(TWO_BYTE_FORM, &[2, 255, 1, 1], 1), None);
        assert_eq!(level(TWO_BYTE_FORM, &[0, 0, 0, 1], 1), None);
        assert_eq!(level(ONE_BYTE_FORM, &[], 1), None);
    }

    #[test]
    fn what_is_cut_short_is_no_packet() {
        let packet = packet(ONE_BYTE_FORM, &[0x10, 1, 0, 0]);
        for length in 0..packet.len() - b"opus".len() {
            assert_eq!(RtpHeader::parse(&packet[..length]), None, "{length}");
        }
        let mut huge = packet;
        huge[18..20].fill(0xff);
        assert_eq!(RtpHeader::parse(&huge), None);
    }

    proptest! {
        #[test]
        fn random_packets_never_panic(mut data in prop::collection::vec(any::<u8>(), 0..80), form in 0..3, id: u8) {
            if let (Some(at), 0..=1) = (data.get_mut(12..14), form) {
                at.copy_from_slice(&[ONE_BYTE_FORM, TWO_BYTE_FORM][form as usize].to_be_bytes());
            }
            if let Some(header) = RtpHeader::parse(&data) {
                header.audio_level(&data, id);
                prop_assert!(header.strip(&data[header.length..]).is_none_or(|payload| payload.len() <= data.len()));
            }
        }
    }
}

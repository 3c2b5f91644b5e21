//! STUN (RFC 8489) as far as a path in use needs it, and the few things to know of a message that webrtc-rs's agent does
//! not tell.

use std::net::{IpAddr, SocketAddr};

use bytes::{BufMut as _, BytesMut};
use crc::{CRC_32_ISO_HDLC, Crc};
use ring::hmac;

const HEADER: usize = 20;
const MAGIC_COOKIE: u32 = 0x2112_a442;
const BINDING_REQUEST: u16 = 0x0001;
const BINDING_SUCCESS: u16 = 0x0101;

const USERNAME: u16 = 0x0006;
const MESSAGE_INTEGRITY: u16 = 0x0008;
const XOR_MAPPED_ADDRESS: u16 = 0x0020;
const PRIORITY: u16 = 0x0024;
const USE_CANDIDATE: u16 = 0x0025;
const FINGERPRINT: u16 = 0x8028;
const ICE_CONTROLLED: u16 = 0x8029;

/// Attributes below this must be understood (RFC 8489, 14).
const COMPREHENSION_OPTIONAL: u16 = 0x8000;

/// SHA-1's output.
const INTEGRITY_LENGTH: usize = 20;

/// RFC 8489, 14.7.
const FINGERPRINT_XOR: u32 = 0x5354_554e;

static CRC: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);

/// What ties an answer to its request.
pub(super) type Transaction = [u8; 12];

/// An ICE password as the key of MESSAGE-INTEGRITY.
pub(super) fn key(password: &str) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, password.as_bytes())
}

/// A message whose header is right.
#[derive(Debug, Clone, Copy)]
pub(super) struct Message<'a> {
    bytes: &'a [u8],
}

impl<'a> Message<'a> {
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (header, attributes) = bytes.split_first_chunk::<HEADER>()?;
        let [_, _, l0, l1, cookie @ ..] = header;
        let is_whole = usize::from(u16::from_be_bytes([*l0, *l1])) == attributes.len();
        let is_stun = cookie.starts_with(&MAGIC_COOKIE.to_be_bytes());
        (is_whole && is_stun).then_some(Self { bytes })
    }

    pub(super) fn is_request(&self) -> bool {
        self.bytes.starts_with(&BINDING_REQUEST.to_be_bytes())
    }

    pub(super) fn is_success(&self) -> bool {
        self.bytes.starts_with(&BINDING_SUCCESS.to_be_bytes())
    }

    pub(super) fn transaction(&self) -> Transaction {
        let mut transaction = Transaction::default();
        transaction.copy_from_slice(&self.bytes[8..HEADER]);
        transaction
    }

    /// See [`username`].
    pub(super) fn username(&self) -> Option<&'a str> {
        username(self.bytes)
    }

    /// Whether it asks for nothing that an ICE agent need not know.
    pub(super) fn is_understood(&self) -> bool {
        Attributes::of(self.bytes).all(|(_, kind, _)| {
            let known = [USERNAME, MESSAGE_INTEGRITY, PRIORITY, USE_CANDIDATE];
            kind >= COMPREHENSION_OPTIONAL || known.contains(&kind)
        })
    }

    fn is_fingerprint(&self, (at, kind, value): (usize, u16, &[u8])) -> bool {
        let covered = self.bytes.get(..at).unwrap_or_default();
        kind == FINGERPRINT && value == (CRC.checksum(covered) ^ FINGERPRINT_XOR).to_be_bytes()
    }

    /// Whether its sender knows the password. A FINGERPRINT, and nothing else, follows what that proves (RFC 8445, 7.1).
    pub(super) fn is_authentic(&self, key: &hmac::Key) -> bool {
        let mut attributes = Attributes::of(self.bytes);
        let integrity = attributes.find(|(_, kind, _)| *kind == MESSAGE_INTEGRITY);
        let Some((at, _, value)) = integrity else {
            return false;
        };
        let last = attributes.next();
        if !last.is_some_and(|last| self.is_fingerprint(last)) || attributes.at != self.bytes.len()
        {
            return false;
        }
        let covered = self
            .bytes
            .get(..at)
            .and_then(|covered| covered.split_at_checked(4));
        let Some(([t0, t1, ..], rest)) = covered else {
            return false;
        };
        // The length that was signed ends with this attribute (RFC 8489, 14.5).
        let length = ((at - HEADER + 4 + INTEGRITY_LENGTH) as u16).to_be_bytes();
        let mut signed = [0; MAX_SIGNED];
        let Some(signed) = signed.get_mut(..at) else {
            return false;
        };
        signed[..4].copy_from_slice(&[*t0, *t1, length[0], length[1]]);
        signed[4..].copy_from_slice(rest);
        hmac::verify(key, signed, value).is_ok()
    }
}

/// Longest message whose integrity is looked at. Browsers' have about a hundred bytes; two ufrags may be of 256.
const MAX_SIGNED: usize = 640;

/// A binding request of the controlled side (RFC 8445, 7.1), under the receiver's password.
pub(super) fn check(
    transaction: &Transaction,
    username: &str,
    priority: u32,
    tie_breaker: u64,
    key: &hmac::Key,
) -> BytesMut {
    let mut message = begin(BINDING_REQUEST, transaction);
    attribute(&mut message, USERNAME, username.as_bytes());
    attribute(&mut message, PRIORITY, &priority.to_be_bytes());
    attribute(&mut message, ICE_CONTROLLED, &tie_breaker.to_be_bytes());
    finish(message, key)
}

/// The answer to a request that came from `source`, under our password.
pub(super) fn success(transaction: &Transaction, source: SocketAddr, key: &hmac::Key) -> BytesMut {
    let mut message = begin(BINDING_SUCCESS, transaction);
    let mut mask = [0; 16];
    mask[..4].copy_from_slice(&MAGIC_COOKIE.to_be_bytes());
    mask[4..].copy_from_slice(transaction);
    let mut value = [0; 20];
    value[2..4].copy_from_slice(&(source.port() ^ (MAGIC_COOKIE >> 16) as u16).to_be_bytes());
    let mut masked = |family: u8, address: &[u8]| {
        value[1] = family;
        let bytes = address.iter().zip(mask).map(|(byte, mask)| byte ^ mask);
        for (place, byte) in value[4..].iter_mut().zip(bytes) {
            *place = byte;
        }
        4 + address.len()
    };
    let length = match source.ip() {
        IpAddr::V4(ip) => masked(1, &ip.octets()),
        IpAddr::V6(ip) => masked(2, &ip.octets()),
    };
    attribute(&mut message, XOR_MAPPED_ADDRESS, &value[..length]);
    finish(message, key)
}

fn begin(kind: u16, transaction: &Transaction) -> BytesMut {
    /// Of what browsers' ufrags make of a check.
    const TYPICAL: usize = 128;
    let mut message = BytesMut::with_capacity(TYPICAL);
    message.put_u16(kind);
    message.put_u16(0);
    message.put_u32(MAGIC_COOKIE);
    message.put_slice(transaction);
    message
}

fn attribute(message: &mut BytesMut, kind: u16, value: &[u8]) {
    message.put_u16(kind);
    message.put_u16(value.len() as u16);
    message.put_slice(value);
    message.resize(message.len().next_multiple_of(4), 0);
}

fn finish(mut message: BytesMut, key: &hmac::Key) -> BytesMut {
    set_length(&mut message, 4 + INTEGRITY_LENGTH);
    let tag = hmac::sign(key, &message);
    attribute(&mut message, MESSAGE_INTEGRITY, tag.as_ref());
    set_length(&mut message, 8);
    let fingerprint = CRC.checksum(&message) ^ FINGERPRINT_XOR;
    attribute(&mut message, FINGERPRINT, &fingerprint.to_be_bytes());
    message
}

/// Writes the length that the message will have with `more` bytes.
fn set_length(message: &mut BytesMut, more: usize) {
    let length = (message.len() - HEADER + more) as u16;
    message[2..4].copy_from_slice(&length.to_be_bytes());
}

/// The USERNAME attribute: the receiver's ufrag, a colon, the sender's (RFC 8445, 7.2.2).
pub(super) fn username(message: &[u8]) -> Option<&str> {
    attribute_value(message, USERNAME).and_then(|value| std::str::from_utf8(value).ok())
}

/// Whether it is an indication (RFC 8489, 5: class bits 0b01).
pub(super) fn is_indication(message: &[u8]) -> bool {
    matches!(message, [high, low, ..] if high & 1 == 0 && low & 0x10 != 0)
}

/// Whether it is a request that nominates its pair (RFC 8445, 7.3.1.5).
pub(super) fn nominates(message: &[u8]) -> bool {
    matches!(message, [0, 1, ..]) && attribute_value(message, USE_CANDIDATE).is_some()
}

/// Whether its sender says that it is the controlled side (RFC 8445, 7.1.2).
pub(super) fn claims_controlled(message: &[u8]) -> bool {
    attribute_value(message, ICE_CONTROLLED).is_some()
}

/// The value of the first attribute of a kind.
pub(super) fn attribute_value(message: &[u8], wanted: u16) -> Option<&[u8]> {
    let mut attributes = Attributes::of(message);
    attributes.find_map(|(_, kind, value)| (kind == wanted).then_some(value))
}

/// The attributes of a message, up to the first that is cut off: where it begins, its kind, its value.
struct Attributes<'a> {
    message: &'a [u8],
    at: usize,
}

impl<'a> Attributes<'a> {
    fn of(message: &'a [u8]) -> Self {
        Self {
            message,
            at: HEADER,
        }
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (usize, u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (&[t0, t1, l0, l1], rest) = self.message.get(self.at..)?.split_first_chunk()?;
        let length = usize::from(u16::from_be_bytes([l0, l1]));
        let begin = self.at;
        self.at += 4 + length.next_multiple_of(4);
        Some((begin, u16::from_be_bytes([t0, t1]), rest.get(..length)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_user_name_is_found_behind_other_attributes() {
        let mut message = vec![0; HEADER];
        message.extend([0x00, 0x24, 0, 3, 1, 2, 3, 0]);
        message.extend([0x00, 0x06, 0, 5]);
        message.extend(b"ab:cd\0\0\0");
        assert_eq!(username(&message), Some("ab:cd"));
        assert_eq!(username(&message[..30]), None);
    }

    #[test]
    fn a_nomination_is_a_request_with_use_candidate() {
        let mut message = vec![0; HEADER];
        message[1] = 1;
        assert!(!nominates(&message));
        message.extend([0x00, 0x25, 0, 0]);
        assert!(nominates(&message));
        message[0] = 1; // a success response
        assert!(!nominates(&message));
    }

    #[test]
    fn who_claims_to_be_controlled_is_known_by_the_attribute() {
        let mut message = vec![0; HEADER];
        message.extend([0x80, 0x2a, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert!(!claims_controlled(&message));
        message.extend([0x80, 0x29, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert!(claims_controlled(&message));
    }

    /// RFC 5769, 2.1: a check with its integrity and fingerprint.
    const SAMPLE: &[u8] = b"\x00\x01\x00\x58\x21\x12\xa4\x42\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae\
        \x80\x22\x00\x10STUN test client\x00\x24\x00\x04\x6e\x00\x01\xff\
        \x80\x29\x00\x08\x93\x2f\xf9\xb1\x51\x26\x3b\x36\x00\x06\x00\x09evtj:h6vY   \
        \x00\x08\x00\x14\x9a\xea\xa7\x0c\xbf\xd8\xcb\x56\x78\x1e\xf2\xb5\xb2\xd3\xf2\x49\xc1\xb5\x71\xa2\
        \x80\x28\x00\x04\xe5\x7a\x3b\xcf";
    const SAMPLE_PASSWORD: &str = "VOkJxbRl1RmTxUk/WvJxBt";

    #[test]
    fn the_rfcs_sample_is_read_and_what_others_write_is_told_apart() {
        let message = Message::parse(SAMPLE).unwrap();
        assert!(message.is_request() && !message.is_success() && message.is_understood());
        assert_eq!(message.username(), Some("evtj:h6vY"));
        assert!(message.is_authentic(&key(SAMPLE_PASSWORD)));
        assert!(!message.is_authentic(&key("another")));
        let without_fingerprint = SAMPLE.len() - 8;
        assert_eq!(
            (CRC.checksum(&SAMPLE[..without_fingerprint]) ^ FINGERPRINT_XOR).to_be_bytes(),
            SAMPLE[SAMPLE.len() - 4..]
        );
        // Something that must be understood (0x0014), in the place of SOFTWARE.
        let mut other = SAMPLE.to_vec();
        other[HEADER..][..2].copy_from_slice(&[0, 0x14]);
        assert!(!Message::parse(&other).unwrap().is_understood());
    }

    #[test]
    fn what_is_written_is_what_webrtcs_stun_reads() {
        use rtc_stun::attributes::{ATTR_USERNAME, ATTR_XORMAPPED_ADDRESS};
        use rtc_stun::fingerprint::FINGERPRINT;
        use rtc_stun::integrity::MessageIntegrity;
        use rtc_stun::message::Message as Theirs;
        use rtc_stun::textattrs::TextAttribute;
        use rtc_stun::xoraddr::XorMappedAddress;

        let provider = rtc_crypto::default_provider().unwrap();
        let read = |bytes: &[u8]| {
            let mut message = Theirs::new();
            message.unmarshal_binary(bytes).unwrap();
            let password = SAMPLE_PASSWORD.as_bytes();
            MessageIntegrity::check(&mut message, password, provider.crypto()).unwrap();
            FINGERPRINT.check(&message).unwrap();
            message
        };
        let our_key = key(SAMPLE_PASSWORD);
        let message = read(&check(&[7; 12], "them:us", 1, 2, &our_key));
        let username = TextAttribute::get_from_as(&message, ATTR_USERNAME).unwrap();
        assert_eq!(username.text, "them:us");
        for source in ["192.0.2.7:1234", "[2001:db8::7]:1234"] {
            let source: SocketAddr = source.parse().unwrap();
            let message = read(&success(&[9; 12], source, &our_key));
            assert_eq!(message.transaction_id.0, [9; 12]);
            let mut mapped = XorMappedAddress::default();
            mapped
                .get_from_as(&message, ATTR_XORMAPPED_ADDRESS)
                .unwrap();
            assert_eq!((mapped.ip, mapped.port), (source.ip(), source.port()));
        }
    }

    proptest! {
        #[test]
        fn random_attributes_never_panic(attributes in prop::collection::vec(any::<u8>(), 0..900)) {
            let mut bytes = SAMPLE[..HEADER].to_vec();
            bytes[2..4].copy_from_slice(&(attributes.len() as u16).to_be_bytes());
            bytes.extend(attributes);
            let message = Message::parse(&bytes).unwrap();
            let _ = (message.is_understood(), message.is_authentic(&key("x")));
        }

        #[test]
        fn random_messages_never_panic(data in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = (username(&data), nominates(&data), is_indication(&data));
        }
    }
}

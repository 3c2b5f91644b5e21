//! STUN (RFC 8489) as far as ICE needs it: binding requests and their answers, with short-term credentials.

use std::net::{IpAddr, SocketAddr};

use ring::hmac;

const MAGIC_COOKIE: u32 = 0x2112_a442;
const HEADER: usize = 20;
const BINDING_REQUEST: u16 = 0x0001;
const BINDING_SUCCESS: u16 = 0x0101;

const USERNAME: u16 = 0x0006;
const MESSAGE_INTEGRITY: u16 = 0x0008;
const XOR_MAPPED_ADDRESS: u16 = 0x0020;
const PRIORITY: u16 = 0x0024;
const USE_CANDIDATE: u16 = 0x0025;
const FINGERPRINT: u16 = 0x8028;
const ICE_CONTROLLED: u16 = 0x8029;
const ICE_CONTROLLING: u16 = 0x802a;

/// SHA-1's output.
const INTEGRITY_LENGTH: usize = 20;
/// RFC 8489, 14.7.
const FINGERPRINT_XOR: u32 = 0x5354_554e;

/// What ties an answer to its request.
pub(super) type Transaction = [u8; 12];

/// An ICE password as the key of MESSAGE-INTEGRITY.
pub(super) fn key(password: &str) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, password.as_bytes())
}

/// Whether a datagram is STUN by its first byte (RFC 7983).
pub(super) fn is_stun(datagram: &[u8]) -> bool {
    matches!(datagram.first(), Some(0..=3))
}

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Request,
    Success,
    /// An error, an indication, or another method.
    Other,
}

/// A received message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Message<'a> {
    bytes: &'a [u8],
    pub(super) kind: Kind,
    pub(super) transaction: Transaction,
}

impl<'a> Message<'a> {
    /// Reads a message; `None` if it is none, or has no valid FINGERPRINT, which ICE demands (RFC 8445, 7.1).
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (header, attributes) = bytes.split_first_chunk::<HEADER>()?;
        let [t0, t1, l0, l1, c0, c1, c2, c3, transaction @ ..] = *header;
        let message = Self {
            bytes,
            kind: match u16::from_be_bytes([t0, t1]) {
                BINDING_REQUEST => Kind::Request,
                BINDING_SUCCESS => Kind::Success,
                _ => Kind::Other,
            },
            transaction,
        };
        let whole = usize::from(u16::from_be_bytes([l0, l1])) == attributes.len();
        let is_stun = u32::from_be_bytes([c0, c1, c2, c3]) == MAGIC_COOKIE;
        (whole && is_stun && message.has_fingerprint()).then_some(message)
    }

    fn has_fingerprint(&self) -> bool {
        let Some((at, value)) = self.find(FINGERPRINT) else {
            return false;
        };
        let covered = self.bytes.get(..at).unwrap_or_default();
        value == (crc32(covered) ^ FINGERPRINT_XOR).to_be_bytes()
    }

    /// Whether its sender knows the password.
    pub(super) fn is_authentic(&self, key: &hmac::Key) -> bool {
        let Some((at, value)) = self.find(MESSAGE_INTEGRITY) else {
            return false;
        };
        let Some(covered) = self.bytes.get(..at) else {
            return false;
        };
        // The length that was hashed ends with this attribute (RFC 8489, 14.5).
        let length = (at - HEADER + 4 + INTEGRITY_LENGTH) as u16;
        let mut message = covered.to_vec();
        if let Some(field) = message.get_mut(2..4) {
            field.copy_from_slice(&length.to_be_bytes());
        }
        hmac::verify(key, &message, value).is_ok()
    }

    /// The receiver's ufrag, a colon, the sender's (RFC 8445, 7.2.2).
    pub(super) fn username(&self) -> Option<&'a str> {
        let (_, value) = self.find(USERNAME)?;
        std::str::from_utf8(value).ok()
    }

    /// Whether it nominates its pair (RFC 8445, 7.3.1.5).
    pub(super) fn nominates(&self) -> bool {
        self.find(USE_CANDIDATE).is_some()
    }

    /// Position and value of the first attribute of a kind.
    fn find(&self, wanted: u16) -> Option<(usize, &'a [u8])> {
        let mut at = HEADER;
        while let [t0, t1, l0, l1, rest @ ..] = self.bytes.get(at..)? {
            let length = usize::from(u16::from_be_bytes([*l0, *l1]));
            if u16::from_be_bytes([*t0, *t1]) == wanted {
                return Some((at, rest.get(..length)?));
            }
            at += 4 + length.next_multiple_of(4);
        }
        None
    }
}

/// What a check says besides who sends it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Check<'a> {
    pub(super) transaction: Transaction,
    pub(super) username: &'a str,
    pub(super) priority: u32,
    pub(super) controlling: bool,
    pub(super) tie_breaker: u64,
    pub(super) nominate: bool,
}

/// A binding request (RFC 8445, 7.1), under the receiver's password.
pub(super) fn request(check: &Check<'_>, key: &hmac::Key) -> Vec<u8> {
    let mut message = begin(BINDING_REQUEST, &check.transaction);
    attribute(&mut message, USERNAME, check.username.as_bytes());
    attribute(&mut message, PRIORITY, &check.priority.to_be_bytes());
    let role = if check.controlling {
        ICE_CONTROLLING
    } else {
        ICE_CONTROLLED
    };
    attribute(&mut message, role, &check.tie_breaker.to_be_bytes());
    if check.nominate {
        attribute(&mut message, USE_CANDIDATE, &[]);
    }
    finish(message, key)
}

/// The answer to a request that came from `source`, under our password.
pub(super) fn success(transaction: &Transaction, source: SocketAddr, key: &hmac::Key) -> Vec<u8> {
    let mut message = begin(BINDING_SUCCESS, transaction);
    let cookie = MAGIC_COOKIE.to_be_bytes();
    let port = source.port() ^ (MAGIC_COOKIE >> 16) as u16;
    let (family, address) = match source.ip() {
        IpAddr::V4(ip) => (1, ip.octets().to_vec()),
        IpAddr::V6(ip) => (2, ip.octets().to_vec()),
    };
    let mut value = vec![0, family];
    value.extend(port.to_be_bytes());
    let mask = cookie.iter().chain(transaction);
    value.extend(address.iter().zip(mask).map(|(byte, mask)| byte ^ mask));
    attribute(&mut message, XOR_MAPPED_ADDRESS, &value);
    finish(message, key)
}

fn begin(kind: u16, transaction: &Transaction) -> Vec<u8> {
    /// Our longest: two user names of 16 and 256 bytes would not fit, but those that servers make do.
    const TYPICAL: usize = 160;
    let mut message = Vec::with_capacity(TYPICAL);
    message.extend(kind.to_be_bytes());
    message.extend([0, 0]);
    message.extend(MAGIC_COOKIE.to_be_bytes());
    message.extend(transaction);
    message
}

fn attribute(message: &mut Vec<u8>, kind: u16, value: &[u8]) {
    message.extend(kind.to_be_bytes());
    message.extend((value.len() as u16).to_be_bytes());
    message.extend(value);
    message.resize(message.len().next_multiple_of(4), 0);
}

fn finish(mut message: Vec<u8>, key: &hmac::Key) -> Vec<u8> {
    set_length(&mut message, 4 + INTEGRITY_LENGTH);
    let tag = hmac::sign(key, &message);
    attribute(&mut message, MESSAGE_INTEGRITY, tag.as_ref());
    set_length(&mut message, 8);
    let fingerprint = crc32(&message) ^ FINGERPRINT_XOR;
    attribute(&mut message, FINGERPRINT, &fingerprint.to_be_bytes());
    message
}

/// Writes the length that the message will have with `more` bytes.
fn set_length(message: &mut [u8], more: usize) {
    let length = (message.len() - HEADER + more) as u16;
    if let Some(field) = message.get_mut(2..4) {
        field.copy_from_slice(&length.to_be_bytes());
    }
}

/// CRC-32 of ITU-T V.42, bit by bit: a check has some hundred bytes and comes every few seconds.
fn crc32(data: &[u8]) -> u32 {
    const REVERSED_POLYNOMIAL: u32 = 0xedb8_8320;
    !data.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (REVERSED_POLYNOMIAL & (crc & 1).wrapping_neg())
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 5769, 2.1: a request with the user name `evtj:h6vY`.
    const SAMPLE_REQUEST: &[u8] = b"\x00\x01\x00\x58\x21\x12\xa4\x42\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae\
        \x80\x22\x00\x10STUN test client\x00\x24\x00\x04\x6e\x00\x01\xff\
        \x80\x29\x00\x08\x93\x2f\xf9\xb1\x51\x26\x3b\x36\x00\x06\x00\x09evtj:h6vY\x20\x20\x20\
        \x00\x08\x00\x14\x9a\xea\xa7\x0c\xbf\xd8\xcb\x56\x78\x1e\xf2\xb5\xb2\xd3\xf2\x49\xc1\xb5\x71\xa2\
        \x80\x28\x00\x04\xe5\x7a\x3b\xcf";
    const SAMPLE_PASSWORD: &str = "VOkJxbRl1RmTxUk/WvJxBt";

    #[test]
    fn the_sample_of_rfc_5769_is_read() {
        let message = Message::parse(SAMPLE_REQUEST).unwrap();
        assert_eq!(message.kind, Kind::Request);
        assert_eq!(message.username(), Some("evtj:h6vY"));
        assert!(message.is_authentic(&key(SAMPLE_PASSWORD)));
        assert!(!message.is_authentic(&key("another")));
    }

    #[test]
    fn a_changed_byte_is_noticed() {
        for at in 0..SAMPLE_REQUEST.len() {
            let mut changed = SAMPLE_REQUEST.to_vec();
            changed[at] ^= 1;
            assert!(Message::parse(&changed).is_none(), "{at}");
        }
    }

    #[test]
    fn a_request_of_ours_is_read_and_answered() {
        let check = Check {
            transaction: [7; 12],
            username: "theirs:ours",
            priority: 1,
            controlling: true,
            tie_breaker: 2,
            nominate: true,
        };
        let theirs = key("their password, long enough");
        let bytes = request(&check, &theirs);
        let message = Message::parse(&bytes).unwrap();
        assert!(message.is_authentic(&theirs) && message.nominates());
        assert_eq!(
            (message.username(), message.transaction),
            (Some("theirs:ours"), [7; 12])
        );
        let answer = success(
            &message.transaction,
            "127.0.0.1:5".parse().unwrap(),
            &theirs,
        );
        let answer = Message::parse(&answer).unwrap();
        assert!(answer.is_authentic(&theirs));
        assert_eq!((answer.kind, answer.transaction), (Kind::Success, [7; 12]));
    }

    #[test]
    fn the_mapped_address_is_that_of_rfc_5769() {
        // 2.2: the answer to 192.0.2.1:32853.
        let transaction = *b"\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae";
        let bytes = success(
            &transaction,
            "192.0.2.1:32853".parse().unwrap(),
            &key(SAMPLE_PASSWORD),
        );
        let message = Message::parse(&bytes).unwrap();
        let (_, value) = message.find(XOR_MAPPED_ADDRESS).unwrap();
        assert_eq!(value, b"\x00\x01\xa1\x47\xe1\x12\xa6\x43");
    }

    #[test]
    fn cut_messages_are_refused() {
        for length in 0..SAMPLE_REQUEST.len() {
            assert!(Message::parse(&SAMPLE_REQUEST[..length]).is_none());
        }
    }
}

//! The few things to know of a STUN message (RFC 8489) that webrtc-rs's agent does not tell.

const HEADER: usize = 20;
const USERNAME: u16 = 0x0006;
const USE_CANDIDATE: u16 = 0x0025;

/// The USERNAME attribute: the receiver's ufrag, a colon, the sender's (RFC 8445, 7.2.2).
pub(super) fn username(message: &[u8]) -> Option<&str> {
    attribute(message, USERNAME).and_then(|value| std::str::from_utf8(value).ok())
}

/// Whether it is an indication (RFC 8489, 5: class bits 0b01).
pub(super) fn is_indication(message: &[u8]) -> bool {
    matches!(message, [high, low, ..] if high & 1 == 0 && low & 0x10 != 0)
}

/// Whether it is a request that nominates its pair (RFC 8445, 7.3.1.5).
pub(super) fn nominates(message: &[u8]) -> bool {
    matches!(message, [0, 1, ..]) && attribute(message, USE_CANDIDATE).is_some()
}

/// The value of the first attribute of a kind.
pub(super) fn attribute(message: &[u8], wanted: u16) -> Option<&[u8]> {
    let mut attributes = message.get(HEADER..)?;
    while let [t0, t1, l0, l1, rest @ ..] = attributes {
        let length = usize::from(u16::from_be_bytes([*l0, *l1]));
        if u16::from_be_bytes([*t0, *t1]) == wanted {
            return rest.get(..length);
        }
        attributes = rest.get(length.next_multiple_of(4)..)?;
    }
    None
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

    proptest! {
        #[test]
        fn random_messages_never_panic(data in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = (username(&data), nominates(&data), is_indication(&data));
        }
    }
}

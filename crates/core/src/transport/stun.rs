//! The one thing to know of a STUN message before its peer is known: the session it names (RFC 8489).

const HEADER: usize = 20;
const USERNAME: u16 = 0x0006;

/// The USERNAME attribute: the receiver's ufrag, a colon, the sender's (RFC 8445, 7.2.2).
pub(super) fn username(message: &[u8]) -> Option<&str> {
    let mut attributes = message.get(HEADER..)?;
    while let [t0, t1, l0, l1, rest @ ..] = attributes {
        let length = usize::from(u16::from_be_bytes([*l0, *l1]));
        if u16::from_be_bytes([*t0, *t1]) == USERNAME {
            return std::str::from_utf8(rest.get(..length)?).ok();
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

    proptest! {
        #[test]
        fn random_messages_never_panic(data in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = username(&data);
        }
    }
}

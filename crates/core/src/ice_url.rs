//! `stun:`, `stuns:`, `turn:` and `turns:` URLs (RFC 7064, RFC 7065).

/// One of them, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct IceUrl {
    pub(crate) is_turn: bool,
    /// Over TCP, with or without TLS.
    pub(crate) is_tcp: bool,
    /// A name or an address, and the port, as resolvers take it.
    pub(crate) host: String,
}

impl IceUrl {
    /// Reads one; `None` for anything else.
    pub(crate) fn parse(url: &str) -> Option<Self> {
        let (scheme, rest) = url.split_once(':')?;
        let (is_turn, is_secure) = match scheme {
            "stun" => (false, false),
            "stuns" => (false, true),
            "turn" => (true, false),
            "turns" => (true, true),
            _ => return None,
        };
        let (host, query) = rest.split_once('?').unwrap_or((rest, ""));
        let has_port = host
            .rsplit_once(':')
            // The colons of an IPv6 address stand in brackets.
            .is_some_and(|(name, port)| !name.ends_with(':') && port.parse::<u16>().is_ok())
            && !host.ends_with(']');
        let port = if is_secure { 5349 } else { 3478 };
        Some(Self {
            is_turn,
            is_tcp: is_secure || query == "transport=tcp",
            host: match has_port {
                true => host.to_owned(),
                false => format!("{host}:{port}"),
            },
        })
        .filter(|_| !host.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_and_the_transport_may_be_left_out() {
        let read = |url| IceUrl::parse(url).map(|read| (read.host, read.is_turn, read.is_tcp));
        let host = |host: &str, is_turn, is_tcp| Some((host.to_owned(), is_turn, is_tcp));
        assert_eq!(read("stun:a.example"), host("a.example:3478", false, false));
        assert_eq!(
            read("stun:192.0.2.1:99"),
            host("192.0.2.1:99", false, false)
        );
        assert_eq!(
            read("turn:[2001:db8::1]"),
            host("[2001:db8::1]:3478", true, false)
        );
        assert_eq!(
            read("turn:[::1]:5?transport=tcp"),
            host("[::1]:5", true, true)
        );
        assert_eq!(read("turns:a"), host("a:5349", true, true));
        for wrong in ["", "stun", "stun:", "http://a", "turn:?transport=udp"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}

//! Our address as STUN servers see it (RFC 8489): behind a NAT, the one that browsers must send to. Asked
//! through the viewers' own socket, once for the process and never on a viewer's time.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use super::stun;

const BINDING_REQUEST: [u8; 4] = [0x00, 0x01, 0x00, 0x00];
const BINDING_SUCCESS: [u8; 2] = [0x01, 0x01];
const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
const XOR_MAPPED_ADDRESS: u16 = 0x0020;

/// The first wait for an answer; it doubles with each further request (RFC 8489, 6.2.1).
const FIRST_TIMEOUT: Duration = Duration::from_millis(500);

/// Where the doubling ends: a server that does not answer is asked this often.
const LAST_TIMEOUT: Duration = Duration::from_secs(60);

/// An answered request is repeated so that the NAT keeps its binding (RFC 8445, 11: 15 s).
const REFRESH: Duration = Duration::from_secs(15);

/// Most servers that are asked; one is enough, and options name few.
const MAX_SERVERS: usize = 8;

struct Server {
    address: SocketAddr,
    transaction: [u8; 12],
    due: Instant,
    timeout: Duration,
}

/// The servers and what they said.
#[derive(Default)]
pub(super) struct Reflexive {
    servers: Vec<Server>,
}

impl Reflexive {
    /// Asks these servers too.
    pub(super) fn add(&mut self, now: Instant, addresses: impl IntoIterator<Item = SocketAddr>) {
        for address in addresses {
            let known = self.servers.iter().any(|server| server.address == address);
            if !known && self.servers.len() < MAX_SERVERS {
                self.servers.push(Server {
                    address,
                    transaction: rand::random(),
                    due: now,
                    timeout: FIRST_TIMEOUT,
                });
            }
        }
    }

    /// A request that is due, and whom to ask.
    pub(super) fn poll_transmit(&mut self, now: Instant) -> Option<(SocketAddr, Vec<u8>)> {
        let server = self.servers.iter_mut().find(|server| server.due <= now)?;
        server.due = now + server.timeout;
        server.timeout = (server.timeout * 2).min(LAST_TIMEOUT);
        let request = [&BINDING_REQUEST[..], &MAGIC_COOKIE, &server.transaction].concat();
        Some((server.address, request))
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.servers.iter().map(|server| server.due).min()
    }

    /// Our address, if `data` is a server's answer.
    pub(super) fn handle(
        &mut self,
        now: Instant,
        from: SocketAddr,
        data: &[u8],
    ) -> Option<SocketAddr> {
        let server = self
            .servers
            .iter_mut()
            .find(|server| server.address == from)?;
        if data.get(..2)? != BINDING_SUCCESS || data.get(8..20)? != server.transaction {
            return None;
        }
        let mapped = xor_mapped(
            stun::attribute_value(data, XOR_MAPPED_ADDRESS)?,
            &server.transaction,
        )?;
        server.transaction = rand::random();
        server.due = now + REFRESH;
        server.timeout = FIRST_TIMEOUT;
        Some(mapped)
    }
}

/// RFC 8489, 14.2: port and address XOR the cookie, an IPv6 address XOR the transaction too.
fn xor_mapped(value: &[u8], transaction: &[u8; 12]) -> Option<SocketAddr> {
    let mask = [&MAGIC_COOKIE[..], transaction].concat();
    let port = u16::from_be_bytes([value.get(2)? ^ mask.first()?, value.get(3)? ^ mask.get(1)?]);
    let bytes: Vec<u8> = value
        .get(4..)?
        .iter()
        .zip(&mask)
        .map(|(byte, mask)| byte ^ mask)
        .collect();
    let ip: IpAddr = match value.get(1)? {
        1 => Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?).into(),
        2 => Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).into(),
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn answer(request: &[u8], attribute: &[u8]) -> Vec<u8> {
        let mut message = vec![1, 1, 0, attribute.len() as u8];
        message.extend(&request[4..20]);
        message.extend(attribute);
        message
    }

    #[test]
    fn the_mapped_address_is_learned_and_refreshed() {
        let start = Instant::now();
        let server: SocketAddr = "192.0.2.1:3478".parse().unwrap();
        let mut reflexive = Reflexive::default();
        reflexive.add(start, [server, server]);
        let (to, request) = reflexive.poll_transmit(start).unwrap();
        assert_eq!((to, request.len()), (server, 20));
        assert!(reflexive.poll_transmit(start).is_none());
        // 203.0.113.9:40000
        let attribute = [
            0,
            0x20,
            0,
            8,
            0,
            1,
            0x9c ^ 0x21,
            0x40 ^ 0x12,
            203 ^ 0x21,
            0x12,
            113 ^ 0xa4,
            9 ^ 0x42,
        ];
        let message = answer(&request, &attribute);
        assert_eq!(
            reflexive.handle(start, "192.0.2.2:3478".parse().unwrap(), &message),
            None
        );
        assert_eq!(
            reflexive.handle(start, server, &message),
            Some("203.0.113.9:40000".parse().unwrap())
        );
        assert_eq!(
            reflexive.handle(start, server, &message),
            None,
            "an answer counts once"
        );
        assert_eq!(reflexive.poll_timeout(), Some(start + REFRESH));
    }

    #[test]
    fn a_silent_server_is_asked_ever_more_rarely() {
        let mut now = Instant::now();
        let end = now + Duration::from_secs(600);
        let mut reflexive = Reflexive::default();
        reflexive.add(now, ["192.0.2.1:3478".parse().unwrap()]);
        let mut requests = 0;
        while now < end {
            requests += u32::from(reflexive.poll_transmit(now).is_some());
            now = reflexive.poll_timeout().unwrap();
        }
        assert!((10..20).contains(&requests), "{requests}");
    }

    proptest! {
        #[test]
        fn random_answers_never_panic(data in prop::collection::vec(any::<u8>(), 0..60)) {
            let mut reflexive = Reflexive::default();
            let server = "192.0.2.1:3478".parse().unwrap();
            reflexive.add(Instant::now(), [server]);
            let (_, request) = reflexive.poll_transmit(Instant::now()).unwrap();
            reflexive.handle(Instant::now(), server, &data);
            reflexive.handle(Instant::now(), server, &answer(&request, &data));
        }
    }
}

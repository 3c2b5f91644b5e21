//! The handle to a network thread. Networks belong to the process: systems that ask for the same port and
//! addresses share one, and the last to leave ends it.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;

use crossbeam_channel::{Sender, unbounded};
use mio::{Poll, Token, Waker};
use parking_lot::Mutex;

use super::dtls::Identity;
use super::ice::{Credentials, RemoteCandidate};
use super::outlet::Track;
use super::peer::PeerSetup;
use super::sdp::{AnswerParameters, Offer, Ssrcs, candidate_lines};
use super::shard::{Command, Shard};
use super::socket::Sockets;
use super::{StreamDelegate, StreamId};
use crate::error::StartError;
use crate::event::PeerId;
use crate::rtp::AccessUnit;

/// Access units that may wait for the network thread: two seconds of forty streams. More means that the
/// machine cannot keep up, and the newest are dropped and counted.
const MAX_WAITING: usize = 6_400;

/// Where a network is bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkConfig {
    /// UDP port; 0 for any.
    pub port: u16,
    /// Addresses to bind; empty for all.
    pub listen_ips: Vec<IpAddr>,
}

/// A network thread with its sockets.
pub struct Network {
    commands: Sender<Command>,
    waker: Waker,
    thread: Mutex<Option<JoinHandle<()>>>,
    identity: Identity,
    addresses: Vec<SocketAddr>,
    /// Our addresses as STUN servers see them; the network thread writes here.
    reflexive: Arc<Mutex<Vec<SocketAddr>>>,
    dropped: AtomicU64,
}

static NETWORKS: Mutex<Vec<(NetworkConfig, Weak<Network>)>> = Mutex::new(Vec::new());
static NEXT_STREAM: AtomicU64 = AtomicU64::new(1);

impl Network {
    /// The network of this configuration, started if there is none yet.
    pub fn open(config: &NetworkConfig) -> Result<Arc<Self>, StartError> {
        let mut networks = NETWORKS.lock();
        networks.retain(|(_, network)| network.strong_count() > 0);
        let running = networks.iter().find(|(known, _)| known == config);
        if let Some(network) = running.and_then(|(_, network)| network.upgrade()) {
            return Ok(network);
        }
        let network = Arc::new(Self::start(config)?);
        networks.push((config.clone(), Arc::downgrade(&network)));
        Ok(network)
    }

    fn start(config: &NetworkConfig) -> Result<Self, StartError> {
        let listen = |source| StartError::Listen {
            what: "UDP port",
            address: format!("{} of {:?}", config.port, config.listen_ips),
            source,
        };
        let thread = |source| StartError::Thread {
            what: "the network thread",
            source,
        };
        let mut sockets = Sockets::bind(&config.listen_ips, config.port).map_err(listen)?;
        let addresses = local_addresses(&config.listen_ips, &sockets);
        if addresses.is_empty() {
            return Err(StartError::NoAddress);
        }
        let identity = Identity::generate().map_err(StartError::Certificate)?;
        let poll = Poll::new().map_err(thread)?;
        sockets.register(poll.registry()).map_err(thread)?;
        let waker = Waker::new(poll.registry(), Token(usize::MAX)).map_err(thread)?;
        let (commands, inbox) = unbounded();
        let reflexive = Arc::default();
        let shard = Shard::new(
            poll,
            sockets,
            inbox,
            identity.clone(),
            addresses.clone(),
            Arc::clone(&reflexive),
        );
        let running = std::thread::Builder::new()
            .name("avatar-network".to_owned())
            .spawn(move || shard.run())
            .map_err(thread)?;
        Ok(Self {
            commands,
            waker,
            thread: Mutex::new(Some(running)),
            identity,
            addresses,
            reflexive,
            dropped: AtomicU64::new(0),
        })
    }

    /// The UDP port of all viewers.
    pub fn port(&self) -> u16 {
        self.addresses.first().map_or(0, SocketAddr::port)
    }

    /// Makes room for one avatar's viewers.
    pub fn add_stream(self: &Arc<Self>, delegate: Arc<dyn StreamDelegate>) -> StreamHandle {
        let id = NEXT_STREAM.fetch_add(1, Ordering::Relaxed);
        self.command(Command::AddStream { id, delegate });
        let ssrc = || rand::random::<u32>().max(1);
        StreamHandle {
            network: self.clone(),
            id,
            ssrcs: Ssrcs {
                video: ssrc(),
                video_rtx: ssrc(),
                audio: ssrc(),
            },
            sessions: Mutex::default(),
        }
    }

    fn command(&self, command: Command) {
        // The receiver lives until the thread is joined, in drop.
        let _ = self.commands.send(command);
        if let Err(error) = self.waker.wake() {
            tracing::error!(%error, "the network thread cannot be woken");
        }
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.command(Command::Stop);
        let thread = self.thread.lock().take();
        if let Some(thread) =
            thread.filter(|thread| thread.thread().id() != std::thread::current().id())
            && thread.join().is_err()
        {
            tracing::error!("the network thread panicked");
        }
    }
}

/// One avatar's place in a network; its viewers leave when it is dropped.
pub struct StreamHandle {
    network: Arc<Network>,
    id: StreamId,
    ssrcs: Ssrcs,
    sessions: Mutex<HashMap<PeerId, Session>>,
}

/// What a peer's last offer came with, and our half of it.
struct Session {
    fingerprint: String,
    remote: Credentials,
    local: Credentials,
}

impl StreamHandle {
    /// Answers an offer: the answer's SDP, and the candidates in it. `announced` stand in for our own
    /// addresses; a client that reached us over loopback may use it for media too.
    pub fn answer(
        &self,
        peer: PeerId,
        offer: Offer,
        announced: &[IpAddr],
        loopback: bool,
    ) -> (String, Vec<String>) {
        let local = self.credentials(peer, &offer);
        let hosts = candidates(&self.network.addresses, announced, loopback);
        let reflexive = match announced {
            [] => self.network.reflexive.lock().clone(),
            _ => Vec::new(),
        };
        let candidates = candidate_lines(&hosts, &reflexive);
        let sdp = offer.answer(&AnswerParameters {
            local: &local,
            fingerprint: &self.network.identity.fingerprint,
            ssrcs: self.ssrcs,
            candidates: &candidates,
        });
        let early = offer.candidates.clone();
        let setup = PeerSetup {
            id: peer,
            offer,
            local,
            ssrcs: self.ssrcs,
        };
        self.network.command(Command::Offer {
            stream: self.id,
            setup: Box::new(setup),
        });
        for line in early {
            if let Ok(candidate) = super::ice::parse_remote_line(&line) {
                self.add_candidate(peer, candidate);
            }
        }
        (sdp, candidates)
    }

    /// Our credentials for an offer: the same ones as before, unless it restarts ICE or is of another connection
    /// (RFC 8829, 5.3.1).
    fn credentials(&self, peer: PeerId, offer: &Offer) -> Credentials {
        let mut sessions = self.sessions.lock();
        let known = sessions.get(&peer).filter(|session| {
            session.remote == offer.remote && session.fingerprint == offer.fingerprint
        });
        let local = known.map_or_else(Credentials::generate, |session| session.local.clone());
        let session = Session {
            fingerprint: offer.fingerprint.clone(),
            remote: offer.remote.clone(),
            local: local.clone(),
        };
        sessions.insert(peer, session);
        local
    }

    /// Hands on a browser's candidate.
    pub fn add_candidate(&self, peer: PeerId, candidate: RemoteCandidate) {
        if let RemoteCandidate::Usable(candidate) = candidate {
            self.network.command(Command::Candidate { peer, candidate });
        }
    }

    /// Ends a peer's media.
    pub fn remove_peer(&self, peer: PeerId) {
        self.sessions.lock().remove(&peer);
        self.network.command(Command::RemovePeer { peer });
    }

    /// Has these STUN servers say how we look from outside; later answers tell it.
    pub fn ask_stun_servers(&self, servers: Vec<SocketAddr>) {
        self.network.command(Command::AskStunServers { servers });
    }

    /// Sends one access unit to every viewer.
    pub fn publish(&self, track: Track, unit: Arc<AccessUnit>) {
        if self.network.commands.len() >= MAX_WAITING {
            self.network.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        self.network.command(Command::Publish {
            stream: self.id,
            track,
            unit,
        });
    }

    /// Sends text on the data channel called `label`, to one peer or to all. False if too much waits already.
    pub fn send_text(&self, peer: Option<PeerId>, label: &'static str, text: &str) -> bool {
        if self.network.commands.len() >= MAX_WAITING {
            return false;
        }
        self.network.command(Command::Text {
            stream: self.id,
            peer,
            label,
            text: text.into(),
        });
        true
    }

    /// The UDP port of all viewers.
    pub fn port(&self) -> u16 {
        self.network.port()
    }

    /// Access units that the network thread had no time for.
    pub fn dropped(&self) -> u64 {
        self.network.dropped.load(Ordering::Relaxed)
    }
}

impl Drop for StreamHandle {
    fn drop(&mut self) {
        self.network.command(Command::RemoveStream { id: self.id });
    }
}

/// The addresses that browsers may reach: those bound, or every address of the machine's interfaces.
fn local_addresses(listen: &[IpAddr], sockets: &Sockets) -> Vec<SocketAddr> {
    let port = sockets.port();
    let wildcard = listen.is_empty() || listen.iter().all(IpAddr::is_unspecified);
    let mut ips: Vec<IpAddr> = if wildcard {
        let (v4, v6) = sockets.families();
        if_addrs::get_if_addrs()
            .unwrap_or_default()
            .iter()
            .map(if_addrs::Interface::ip)
            .filter(|ip| if ip.is_ipv4() { v4 } else { v6 })
            // A link-local address means nothing without its interface's name.
            .filter(|ip| !matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local()))
            .collect()
    } else {
        listen.to_vec()
    };
    ips.sort_by_key(|ip| (ip.is_loopback(), ip.is_ipv6()));
    ips.dedup();
    ips.into_iter()
        .map(|ip| SocketAddr::new(ip, port))
        .collect()
}

/// What a browser is told. Loopback addresses help only a browser on this machine, and there they come first.
fn candidates(local: &[SocketAddr], announced: &[IpAddr], loopback: bool) -> Vec<SocketAddr> {
    let port = local.first().map_or(0, SocketAddr::port);
    let mut told: Vec<SocketAddr> = announced
        .iter()
        .map(|ip| SocketAddr::new(*ip, port))
        .collect();
    let only_loopback = local.iter().all(|address| address.ip().is_loopback());
    let (near, far): (Vec<_>, Vec<_>) = local
        .iter()
        .copied()
        .partition(|address| address.ip().is_loopback());
    if loopback || only_loopback {
        told.splice(0..0, near);
    }
    if announced.is_empty() {
        told.extend(far);
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(list: &[&str]) -> Vec<SocketAddr> {
        list.iter()
            .map(|address| address.parse().unwrap())
            .collect()
    }

    #[test]
    fn a_far_browser_is_not_told_of_loopback() {
        let local = addresses(&["192.0.2.2:5", "127.0.0.1:5"]);
        assert_eq!(candidates(&local, &[], false), addresses(&["192.0.2.2:5"]));
        assert_eq!(
            candidates(&local, &[], true),
            addresses(&["127.0.0.1:5", "192.0.2.2:5"])
        );
        assert_eq!(
            candidates(&local[1..], &[], false),
            addresses(&["127.0.0.1:5"])
        );
    }

    #[test]
    fn announced_addresses_stand_in_for_our_own() {
        let local = addresses(&["10.0.0.2:5", "127.0.0.1:5"]);
        let announced = ["203.0.113.1".parse().unwrap()];
        assert_eq!(
            candidates(&local, &announced, false),
            addresses(&["203.0.113.1:5"])
        );
    }

    struct Nobody;

    impl StreamDelegate for Nobody {
        fn state(&self, _: PeerId, _: crate::event::PeerState) {}
        fn gone(&self, _: PeerId) {}
        fn keyframe_wanted(&self) {}
        fn audience(&self, _: usize, _: usize) {}
        fn microphone(&self, _: PeerId, _: u16, _: u32, _: bytes::Bytes) {}
        fn text(&self, _: PeerId, _: &str, _: &str) {}
    }

    #[test]
    fn what_a_stun_server_sees_stands_in_later_answers() {
        let server = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        server
            .set_read_timeout(Some(std::time::Duration::from_secs(10)))
            .unwrap();
        let network = Network::start(&NetworkConfig {
            port: 0,
            listen_ips: vec!["127.0.0.1".parse().unwrap()],
        });
        let stream = Arc::new(network.unwrap()).add_stream(Arc::new(Nobody));
        stream.ask_stun_servers(vec![server.local_addr().unwrap()]);
        let mut request = [0; 100];
        let (length, from) = server.recv_from(&mut request).unwrap();
        assert_eq!(length, 20);
        let mut answer = vec![1, 1, 0, 12];
        answer.extend(&request[4..20]);
        // 203.0.113.9:40000
        answer.extend([0, 0x20, 0, 8, 0, 1, 0xbd, 0x52, 0xea, 0x12, 0xd5, 0x4b]);
        server.send_to(&answer, from).unwrap();
        let until = std::time::Instant::now() + std::time::Duration::from_secs(10);
        loop {
            let offer = Offer::parse(include_str!("chromium-offer.sdp")).unwrap();
            let (sdp, candidates) = stream.answer(PeerId::from_u128(1), offer, &[], true);
            let told = |line: &String| line.contains("203.0.113.9 40000 typ srflx");
            if candidates.iter().any(told) {
                assert!(sdp.contains("203.0.113.9 40000 typ srflx"));
                return;
            }
            assert!(std::time::Instant::now() < until, "{candidates:?}");
            std::thread::yield_now();
        }
    }

    #[test]
    fn systems_of_one_configuration_share_a_network_and_the_last_ends_it() {
        let config = NetworkConfig {
            port: 0,
            listen_ips: vec!["127.0.0.1".parse().unwrap()],
        };
        let first = Network::open(&config).unwrap();
        let second = Network::open(&config).unwrap();
        assert!(Arc::ptr_eq(&first, &second));
        let port = first.port();
        drop((first, second));
        std::net::UdpSocket::bind(("127.0.0.1", port)).unwrap();
    }
}

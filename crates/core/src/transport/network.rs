//! The handle to the network threads of a port. Networks belong to the process: systems that ask for the same port,
//! addresses and threads share one, and the last to leave ends it.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::runtime::Handle;

use super::counters::NetworkStats;
use super::dtls::Identity;
use super::ice::{Credentials, RemoteCandidate};
use super::peer::PeerSetup;
use super::sdp::{AnswerParameters, Offer, Ssrcs, candidate_lines};
use super::shard::{
    Command, Common, MAX_SHARDS, Pace, Post, Publication, Shard, StreamHub, shard_letter, wire,
};
use super::socket::Sockets;
use super::tcp::IceTcp;
use super::{StreamDelegate, StreamId};
use crate::codec::Layer;
use crate::error::StartError;
use crate::event::PeerId;
use crate::microphone::Hearing;
use crate::rtp::AccessUnit;

/// Commands that may wait for a shard before messages for data channels are refused.
const MAX_WAITING: usize = 6_400;

/// Most network threads of one port.
pub const MAX_THREADS: usize = MAX_SHARDS;

/// Where a network is bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkConfig {
    /// UDP port; 0 for any.
    pub port: u16,
    /// Addresses to bind; empty for all.
    pub listen_ips: Vec<IpAddr>,
    /// Threads that share the viewers, 1 to [`MAX_THREADS`].
    pub threads: usize,
}

/// Network threads with their sockets.
pub struct Network {
    posts: Arc<[Post]>,
    /// How many peers each thread has.
    loads: Vec<AtomicUsize>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    common: Arc<Common>,
}

static NETWORKS: Mutex<Vec<(NetworkConfig, Weak<Network>)>> = Mutex::new(Vec::new());

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
            what: "a network thread",
            source,
        };
        let count = config.threads.clamp(1, MAX_THREADS);
        let sockets = Sockets::bind(&config.listen_ips, config.port, count).map_err(listen)?;
        let local = sockets
            .first()
            .map(|first| local_addresses(&config.listen_ips, first))
            .unwrap_or_default();
        if local.is_empty() {
            return Err(StartError::NoAddress);
        }
        let common = Arc::new(Common {
            identity: Identity::generate().map_err(StartError::Certificate)?,
            local,
            reflexive: Mutex::default(),
            book: Arc::default(),
            pace: Pace::new(),
        });
        let (wirings, posts): (Vec<_>, Vec<_>) = sockets
            .into_iter()
            .map(wire)
            .collect::<Result<Vec<_>, _>>()
            .map_err(thread)?
            .into_iter()
            .unzip();
        // Made before its threads, so that those which started end if one cannot.
        let network = Self {
            loads: posts.iter().map(|_| AtomicUsize::new(0)).collect(),
            posts: posts.into(),
            threads: Mutex::default(),
            common,
        };
        for (index, wiring) in wirings.into_iter().enumerate() {
            let (posts, common) = (network.posts.clone(), network.common.clone());
            let running = std::thread::Builder::new()
                .name("avatar-network".to_owned())
                .spawn(move || Shard::new(index, wiring, posts, common).run())
                .map_err(thread)?;
            network.threads.lock().push(running);
        }
        Ok(network)
    }

    /// The UDP port of all viewers.
    pub fn port(&self) -> u16 {
        self.common.local.first().map_or(0, SocketAddr::port)
    }

    /// Makes room for one avatar's viewers.
    pub fn add_stream(self: &Arc<Self>, delegate: Arc<dyn StreamDelegate>) -> StreamHandle {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let id = NEXT.fetch_add(1, Relaxed);
        let hearing = delegate.hearing();
        let hub = StreamHub::new(delegate, self.posts.len());
        for post in &*self.posts {
            let hub = hub.clone();
            post.command(Command::AddStream { id, hub });
        }
        let ssrc = || rand::random::<u32>().max(1);
        StreamHandle {
            id,
            hub,
            peers: self.posts.iter().map(|_| AtomicUsize::new(0)).collect(),
            network: self.clone(),
            ssrcs: Ssrcs {
                video: ssrc(),
                video_rtx: ssrc(),
                audio: ssrc(),
            },
            hearing,
            sessions: Mutex::default(),
        }
    }

    /// The thread with the fewest peers.
    fn least_loaded(&self) -> usize {
        let loads = self.loads.iter().map(|load| load.load(Relaxed)).enumerate();
        loads
            .min_by_key(|(_, load)| *load)
            .map_or(0, |(index, _)| index)
    }

    fn command(&self, shard: usize, command: Command) {
        if let Some(post) = self.posts.get(shard) {
            post.command(command);
        }
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for post in &*self.posts {
            post.command(Command::Stop);
        }
        for thread in self.threads.lock().drain(..) {
            if thread.thread().id() != std::thread::current().id() && thread.join().is_err() {
                tracing::error!("a network thread panicked");
            }
        }
    }
}

/// One avatar's place in a network; its viewers leave when it is dropped.
pub struct StreamHandle {
    network: Arc<Network>,
    id: StreamId,
    hub: Arc<StreamHub>,
    /// How many of its peers each thread has: who has none need not be told of anything.
    peers: Vec<AtomicUsize>,
    ssrcs: Ssrcs,
    hearing: Arc<Hearing>,
    sessions: Mutex<HashMap<PeerId, Session>>,
}

/// What a peer's last offer came with, and our half of it.
struct Session {
    /// The thread that serves it.
    shard: usize,
    fingerprint: String,
    remote: Credentials,
    local: Credentials,
}

/// Where a client may reach us.
#[derive(Debug, Clone, Copy, Default)]
pub struct Reach<'a> {
    /// These stand in for our own addresses.
    pub announced: &'a [IpAddr],
    /// It reached us over loopback already, and may use it for media too.
    pub loopback: bool,
    /// Where media over TCP is taken.
    pub tcp_port: Option<u16>,
}

impl StreamHandle {
    /// Takes media over TCP too, on `port` (0: any) of the addresses of the UDP port: at most so many connections.
    pub fn listen_tcp(
        &self,
        listen_ips: &[IpAddr],
        port: u16,
        most: usize,
        runtime: &Handle,
    ) -> Result<IceTcp, StartError> {
        let local = &self.network.common.local;
        let is_near = |address: &&SocketAddr| address.ip().is_loopback();
        let media = local.iter().find(is_near).or(local.first());
        let media = media.copied().ok_or(StartError::NoAddress)?;
        IceTcp::bind(listen_ips, port, media, most, runtime)
    }

    /// Answers an offer: the answer's SDP, and the candidates in it.
    pub fn answer(&self, peer: PeerId, offer: Offer, reach: Reach<'_>) -> (String, Vec<String>) {
        let Reach {
            announced,
            loopback,
            tcp_port,
        } = reach;
        let (shard, local) = self.session(peer, &offer);
        let common = &self.network.common;
        let hosts = candidates(&common.local, announced, loopback);
        let reflexive = match announced {
            [] => common.reflexive.lock().clone(),
            _ => Vec::new(),
        };
        let tcp: Vec<SocketAddr> = tcp_port
            .into_iter()
            .flat_map(|port| {
                hosts
                    .iter()
                    .map(move |host| SocketAddr::new(host.ip(), port))
            })
            .collect();
        let candidates = candidate_lines(&hosts, &reflexive, &tcp);
        let sdp = offer.answer(&AnswerParameters {
            local: &local,
            fingerprint: &common.identity.fingerprint,
            ssrcs: self.ssrcs,
            silence_may_be_left_out: self.hearing.gates_voice(),
            candidates: &candidates,
        });
        let early = offer.candidates.clone();
        let setup = PeerSetup {
            id: peer,
            offer,
            local,
            ssrcs: self.ssrcs,
            hearing: Arc::clone(&self.hearing),
        };
        let stream = self.id;
        let setup = Box::new(setup);
        self.network
            .command(shard, Command::Offer { stream, setup });
        for line in early {
            if let Ok(candidate) = super::ice::parse_remote_line(&line) {
                self.add_candidate(peer, candidate);
            }
        }
        (sdp, candidates)
    }

    /// Whether the peer's last offer was of the same connection as this one.
    pub fn is_of_last_connection(&self, peer: PeerId, offer: &Offer) -> bool {
        let sessions = self.sessions.lock();
        (sessions.get(&peer)).is_some_and(|session| session.fingerprint == offer.fingerprint)
    }

    /// The thread of a peer and our credentials for its offer: the same ones as before, unless it restarts ICE or is
    /// of another connection (RFC 8829, 5.3.1).
    fn session(&self, peer: PeerId, offer: &Offer) -> (usize, Credentials) {
        let mut sessions = self.sessions.lock();
        let known = sessions.get(&peer);
        let shard = known.map_or_else(|| self.network.least_loaded(), |session| session.shard);
        if known.is_none() {
            self.count(shard, 1);
        }
        let continued = known.filter(|session| {
            session.remote == offer.remote && session.fingerprint == offer.fingerprint
        });
        let local = continued.map_or_else(
            || Credentials::generate(shard_letter(shard)),
            |session| session.local.clone(),
        );
        let session = Session {
            shard,
            fingerprint: offer.fingerprint.clone(),
            remote: offer.remote.clone(),
            local: local.clone(),
        };
        sessions.insert(peer, session);
        (shard, local)
    }

    /// Follows a peer that comes to a thread (1) or leaves it (-1).
    fn count(&self, shard: usize, change: isize) {
        for counts in [&self.peers, &self.network.loads] {
            if let Some(count) = counts.get(shard) {
                count.fetch_add(change as usize, Relaxed);
            }
        }
    }

    fn shard_of(&self, peer: PeerId) -> Option<usize> {
        self.sessions.lock().get(&peer).map(|session| session.shard)
    }

    /// Hands on a browser's candidate.
    pub fn add_candidate(&self, peer: PeerId, candidate: RemoteCandidate) {
        if let RemoteCandidate::Usable(candidate) = candidate
            && let Some(shard) = self.shard_of(peer)
        {
            let command = Command::Candidate { peer, candidate };
            self.network.command(shard, command);
        }
    }

    /// Ends a peer's media.
    pub fn remove_peer(&self, peer: PeerId) {
        if let Some(session) = self.sessions.lock().remove(&peer) {
            let command = Command::RemovePeer { peer };
            self.network.command(session.shard, command);
            self.count(session.shard, -1);
        }
    }

    /// Has these STUN servers say how we look from outside; later answers tell it.
    pub fn ask_stun_servers(&self, servers: Vec<SocketAddr>) {
        self.network.command(0, Command::AskStunServers { servers });
    }

    /// Sends one access unit to everybody who receives its layer.
    pub fn publish(&self, layer: Layer, unit: Arc<AccessUnit>) {
        // The marker is on the first packet of a talk-spurt.
        if matches!(layer, Layer::Audio(_)) && unit.marker {
            self.hub.has_sound.store(true, Relaxed);
        }
        let published = Instant::now();
        for post in self.posts_with_peers() {
            let is_taken = post.publish(Publication {
                stream: self.id,
                layer,
                unit: unit.clone(),
                published,
            });
            self.hub.counters.late_units.add((!is_taken).into());
        }
    }

    fn posts_with_peers(&self) -> impl Iterator<Item = &Post> {
        let posts = self.network.posts.iter().zip(&self.peers);
        posts.filter_map(|(post, peers)| (peers.load(Relaxed) > 0).then_some(post))
    }

    /// Sends text on the data channel called `label`, to one peer or to all. False if too much waits already.
    pub fn send_text(&self, peer: Option<PeerId>, label: &'static str, text: &str) -> bool {
        let text: Arc<str> = text.into();
        let shard = peer.and_then(|peer| self.shard_of(peer));
        let posts: Vec<&Post> = match (peer, shard) {
            (None, _) => self.posts_with_peers().collect(),
            (Some(_), shard) => shard
                .and_then(|shard| self.network.posts.get(shard))
                .into_iter()
                .collect(),
        };
        if posts.iter().any(|post| post.backlog() >= MAX_WAITING) {
            return false;
        }
        for post in posts {
            post.command(Command::Text {
                stream: self.id,
                peer,
                label,
                text: text.clone(),
            });
        }
        true
    }

    /// How long what was published may wait to be sent; then it is left out. 200 ms until told otherwise.
    pub fn set_max_latency(&self, max_latency: Duration) {
        self.hub.set_max_latency(max_latency);
    }

    /// The UDP port of all viewers.
    pub fn port(&self) -> u16 {
        self.network.port()
    }

    /// What was sent and refused so far.
    pub fn stats(&self) -> NetworkStats {
        self.hub.counters.snapshot()
    }
}

impl Drop for StreamHandle {
    fn drop(&mut self) {
        for session in self.sessions.lock().values() {
            self.count(session.shard, -1);
        }
        for post in &*self.network.posts {
            post.command(Command::RemoveStream { id: self.id });
        }
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
    use crate::codec::Preferences;
    use crate::transport::testing::Told;

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

    #[test]
    fn what_a_stun_server_sees_stands_in_later_answers() {
        let server = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        server
            .set_read_timeout(Some(std::time::Duration::from_secs(10)))
            .unwrap();
        let network = Network::start(&NetworkConfig {
            port: 0,
            listen_ips: vec!["127.0.0.1".parse().unwrap()],
            threads: 2,
        });
        let stream = Arc::new(network.unwrap()).add_stream(Arc::<Told>::default());
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
            let sdp = include_str!("chromium-offer.sdp");
            let offer = Offer::parse(sdp, &Preferences::default()).unwrap();
            let reach = Reach {
                loopback: true,
                ..Reach::default()
            };
            let (sdp, candidates) = stream.answer(PeerId::from_u128(1), offer, reach);
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
            threads: 2,
        };
        let first = Network::open(&config).unwrap();
        let second = Network::open(&config).unwrap();
        assert!(Arc::ptr_eq(&first, &second));
        let port = first.port();
        drop((first, second));
        std::net::UdpSocket::bind(("127.0.0.1", port)).unwrap();
    }
}

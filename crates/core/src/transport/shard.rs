//! The network thread: all peers behind one UDP port. No task, thread, socket or timer a viewer.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, TryRecvError};
use mio::{Events, Poll};
use parking_lot::Mutex;
use rtc_ice::candidate::Candidate;
use slab::Slab;

use super::dtls::Identity;
use super::outlet::{Outlet, Scratch, Track};
use super::peer::{Output, Peer, PeerSetup};
use super::reflexive::Reflexive;
use super::rtcp::Feedback;
use super::socket::Sockets;
use super::stun::username;
use super::{StreamDelegate, StreamId};
use crate::event::{PeerId, PeerState};
use crate::rtp::{AccessUnit, History};
use crate::wall_clock::unix_ms;

/// Commands taken between two looks at the sockets, so that neither side starves the other.
const COMMANDS_PER_TURN: usize = 64;

/// A peer's timers come no faster.
const SHORTEST_TIMER: Duration = Duration::from_millis(1);

/// Receive batches taken from one socket in a turn.
const BATCHES_PER_TURN: usize = 16;

/// Addresses kept of what STUN servers said: one a family and interface is usual.
const MAX_REFLEXIVE: usize = 4;

/// What the rest of the engine asks of a shard.
pub(super) enum Command {
    AddStream {
        id: StreamId,
        delegate: Arc<dyn StreamDelegate>,
    },
    RemoveStream {
        id: StreamId,
    },
    /// A new peer, or a new offer of a known one.
    Offer {
        stream: StreamId,
        setup: Box<PeerSetup>,
    },
    Candidate {
        peer: PeerId,
        candidate: Box<Candidate>,
    },
    RemovePeer {
        peer: PeerId,
    },
    Publish {
        stream: StreamId,
        track: Track,
        unit: Arc<AccessUnit>,
    },
    /// Text on a data channel, to one peer or to all of a stream.
    Text {
        stream: StreamId,
        peer: Option<PeerId>,
        label: &'static str,
        text: Arc<str>,
    },
    /// Servers that tell how we look from outside.
    AskStunServers {
        servers: Vec<SocketAddr>,
    },
    Stop,
}

/// One avatar: its viewers, and what they may ask for again.
struct Stream {
    delegate: Arc<dyn StreamDelegate>,
    peers: Vec<usize>,
    /// Who is served first moves on with each access unit.
    first_served: usize,
    video: History,
    audio: History,
    audience: (usize, usize),
}

struct Member {
    peer: Peer,
    stream: StreamId,
}

pub(super) struct Shard {
    poll: Poll,
    sockets: Sockets,
    commands: Receiver<Command>,
    identity: Identity,
    /// Where browsers may send to: our side of every candidate pair.
    local: Vec<SocketAddr>,
    stun_servers: Reflexive,
    /// What those said, for answers.
    reflexive: Arc<Mutex<Vec<SocketAddr>>>,
    streams: HashMap<StreamId, Stream>,
    members: Slab<Member>,
    by_id: HashMap<PeerId, usize>,
    by_ufrag: HashMap<String, usize>,
    by_address: HashMap<SocketAddr, usize>,
    timers: BinaryHeap<Reverse<(Instant, usize)>>,
    scratch: Scratch,
}

impl Shard {
    pub(super) fn new(
        poll: Poll,
        sockets: Sockets,
        commands: Receiver<Command>,
        identity: Identity,
        local: Vec<SocketAddr>,
        reflexive: Arc<Mutex<Vec<SocketAddr>>>,
    ) -> Self {
        Self {
            poll,
            sockets,
            commands,
            identity,
            local,
            stun_servers: Reflexive::default(),
            reflexive,
            streams: HashMap::new(),
            members: Slab::new(),
            by_id: HashMap::new(),
            by_ufrag: HashMap::new(),
            by_address: HashMap::new(),
            timers: BinaryHeap::new(),
            scratch: Scratch::default(),
        }
    }

    /// Runs until told to stop.
    pub(super) fn run(mut self) {
        let mut events = Events::with_capacity(64);
        let mut readable = vec![true; self.sockets.len()];
        loop {
            let more_commands = match self.take_commands() {
                Some(more) => more,
                None => return self.close_all(),
            };
            let more_datagrams = self.receive(&mut readable);
            self.expire_timers();
            let timeout = if more_commands || more_datagrams {
                Some(Duration::ZERO)
            } else {
                self.until_timer()
            };
            if let Err(error) = self.poll.poll(&mut events, timeout)
                && error.kind() != std::io::ErrorKind::Interrupted
            {
                tracing::error!(%error, "the network thread cannot wait for its sockets");
                return;
            }
            for event in &events {
                if let Some(socket) = readable.get_mut(event.token().0) {
                    *socket = true;
                }
            }
        }
    }

    /// Whether more commands may wait; `None` to stop.
    fn take_commands(&mut self) -> Option<bool> {
        for _ in 0..COMMANDS_PER_TURN {
            match self.commands.try_recv() {
                Ok(Command::Stop) | Err(TryRecvError::Disconnected) => return None,
                Ok(command) => self.obey(command),
                Err(TryRecvError::Empty) => return Some(false),
            }
        }
        Some(true)
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Publish {
                stream,
                track,
                unit,
            } => self.publish(stream, track, unit),
            Command::Offer { stream, setup } => self.offer(stream, *setup),
            Command::Candidate { peer, candidate } => {
                self.with_peer(self.by_id.get(&peer).copied(), |peer, _, _| {
                    peer.add_candidate(*candidate)
                });
            }
            Command::RemovePeer { peer } => self.remove_peer(peer),
            Command::Text {
                stream,
                peer,
                label,
                text,
            } => self.send_text(stream, peer, label, &text),
            Command::AddStream { id, delegate } => {
                self.streams.insert(
                    id,
                    Stream {
                        delegate,
                        peers: Vec::new(),
                        first_served: 0,
                        video: History::default(),
                        audio: History::default(),
                        audience: (0, 0),
                    },
                );
            }
            Command::RemoveStream { id } => {
                if let Some(stream) = self.streams.get(&id) {
                    for key in stream.peers.clone() {
                        self.remove(key);
                    }
                }
                self.streams.remove(&id);
            }
            Command::AskStunServers { servers } => self.stun_servers.add(Instant::now(), servers),
            Command::Stop => {}
        }
    }

    /// The fan-out: one access unit to every viewer of its stream.
    fn publish(&mut self, id: StreamId, track: Track, unit: Arc<AccessUnit>) {
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        let (before, after) = stream
            .peers
            .split_at(stream.first_served.min(stream.peers.len()));
        for &key in after.iter().chain(before) {
            if let Some(outlet) = self
                .members
                .get_mut(key)
                .and_then(|member| member.peer.outlet.as_mut())
            {
                let waited = outlet.waits_for_keyframe();
                outlet.send(track, &unit, &mut self.scratch, &self.sockets);
                if track == Track::Video && outlet.waits_for_keyframe() && !waited {
                    stream.delegate.keyframe_wanted();
                }
            }
        }
        stream.first_served = (stream.first_served + 1) % stream.peers.len().max(1);
        match track {
            Track::Video => stream.video.push(unit),
            Track::Audio => stream.audio.push(unit),
        }
    }

    fn offer(&mut self, stream: StreamId, setup: PeerSetup) {
        let now = Instant::now();
        if let Some(&key) = self.by_id.get(&setup.id) {
            let member = self.members.get_mut(key);
            if let Some(member) = member.filter(|member| member.peer.continues(&setup.offer)) {
                let old = member.peer.local.ufrag.clone();
                if let Err(error) = member.peer.renegotiate(now, setup.offer, setup.local) {
                    tracing::warn!(%error, "ICE restart");
                }
                let new = member.peer.local.ufrag.clone();
                if old != new {
                    self.by_ufrag.remove(&old);
                    self.by_ufrag.insert(new, key);
                }
                if let Some(stream) = self.streams.get(&stream) {
                    ask_for_keyframe(&member.peer, stream);
                }
                self.with_peer(Some(key), |_, _, _| ());
                self.count_audience(stream);
                return;
            }
            self.remove(key);
        }
        let (id, ufrag) = (setup.id, setup.local.ufrag.clone());
        let Some(joined) = self.streams.get_mut(&stream) else {
            return;
        };
        match Peer::new(now, setup, self.identity.clone(), &self.local) {
            Ok(peer) => {
                let key = self.members.insert(Member { peer, stream });
                joined.peers.push(key);
                self.by_id.insert(id, key);
                self.by_ufrag.insert(ufrag, key);
                self.with_peer(Some(key), |_, _, _| ());
            }
            Err(error) => {
                tracing::warn!(peer = %id, %error, "the peer cannot be made");
                joined.delegate.state(id, PeerState::Failed);
            }
        }
    }

    fn send_text(
        &mut self,
        stream: StreamId,
        peer: Option<PeerId>,
        label: &'static str,
        text: &str,
    ) {
        let keys: Vec<usize> = match peer {
            Some(peer) => {
                let key = self.by_id.get(&peer).copied();
                let is_ours = |&key: &usize| {
                    let member = self.members.get(key);
                    member.is_some_and(|member| member.stream == stream)
                };
                key.filter(is_ours).into_iter().collect()
            }
            None => self
                .streams
                .get(&stream)
                .map(|stream| stream.peers.clone())
                .unwrap_or_default(),
        };
        for key in keys {
            self.with_peer(Some(key), |peer, now, _| {
                peer.write(now, label, text);
            });
        }
    }

    /// Whether more datagrams wait.
    fn receive(&mut self, readable: &mut [bool]) -> bool {
        let mut inbox: Vec<(SocketAddr, SocketAddr, Vec<u8>)> = Vec::new();
        for (position, readable) in readable.iter_mut().enumerate() {
            for _ in 0..BATCHES_PER_TURN {
                if !*readable {
                    break;
                }
                inbox.clear();
                *readable = self.sockets.receive(position, |local, remote, data| {
                    inbox.push((local, remote, data.to_vec()));
                });
                for (local, remote, data) in &inbox {
                    self.route(*local, *remote, data);
                }
            }
        }
        readable.iter().any(|readable| *readable)
    }

    /// Finds whose datagram it is. A STUN check names its session; anything else must come from an address
    /// that such a check has proved.
    fn route(&mut self, local: SocketAddr, remote: SocketAddr, data: &[u8]) {
        let stun = matches!(data.first(), Some(0..=3));
        let named = || {
            let name = username(data)?;
            self.by_ufrag.get(name.split(':').next()?).copied()
        };
        let key = match (stun, self.by_address.get(&remote)) {
            (true, known) => named().or(known.copied()),
            (false, known) => known.copied(),
        };
        let Some(key) = key else {
            if let Some(mapped) = self.stun_servers.handle(Instant::now(), remote, data) {
                let mut known = self.reflexive.lock();
                if !known.contains(&mapped) && !self.local.contains(&mapped) {
                    known.insert(0, mapped);
                    known.truncate(MAX_REFLEXIVE);
                }
            }
            return;
        };
        let learned = self.with_peer(Some(key), |peer, now, out| {
            peer.handle(now, local, remote, data, out);
            (out.authenticated, out.proved)
        });
        if let Some((true, proved)) = learned {
            self.learn_address(key, remote, proved);
        }
    }

    /// An address belongs to the first peer whose check came from there, until another one proves it by
    /// answering a check of ours: nobody takes another one's path with a forged source address.
    fn learn_address(&mut self, key: usize, remote: SocketAddr, proved: bool) {
        let Some(member) = self.members.get_mut(key) else {
            return;
        };
        let owner = self.by_address.entry(remote).or_insert(key);
        if proved {
            *owner = key;
        }
        if *owner == key && !member.peer.addresses.contains(&remote) {
            member.peer.addresses.push(remote);
        }
    }

    fn expire_timers(&mut self) {
        let now = Instant::now();
        while let Some((server, request)) = self.stun_servers.poll_transmit(now) {
            let _ = self
                .sockets
                .send(any_address(server), server, &request, request.len());
        }
        while let Some(&Reverse((at, key))) = self.timers.peek() {
            if at > now {
                break;
            }
            self.timers.pop();
            let due = |member: &&mut Member| member.peer.armed == Some(at);
            let Some(member) = self.members.get_mut(key).filter(due) else {
                continue;
            };
            member.peer.armed = None;
            if member.peer.report_due(now) {
                self.report(key);
            }
            self.with_peer(Some(key), |peer, now, out| peer.handle_timeout(now, out));
        }
    }

    fn report(&mut self, key: usize) {
        let Some(member) = self.members.get_mut(key) else {
            return;
        };
        let Some(stream) = self.streams.get(&member.stream) else {
            return;
        };
        if let Some(outlet) = &mut member.peer.outlet {
            let newest =
                [stream.video.newest(), stream.audio.newest()].map(|unit| unit.map(Arc::as_ref));
            outlet.report(unix_ms(), newest, &self.sockets);
        }
    }

    fn until_timer(&self) -> Option<Duration> {
        let peers = self.timers.peek().map(|Reverse((at, _))| *at);
        let at = [peers, self.stun_servers.poll_timeout()]
            .into_iter()
            .flatten()
            .min()?;
        Some(at.saturating_duration_since(Instant::now()))
    }

    /// Does something with a peer, then all that follows from it. The protocols beneath read what strangers
    /// send: should one of them panic, it costs that peer alone.
    fn with_peer<R>(
        &mut self,
        key: Option<usize>,
        act: impl FnOnce(&mut Peer, Instant, &mut Output) -> R,
    ) -> Option<R> {
        let key = key?;
        let member = self.members.get_mut(key)?;
        let now = Instant::now();
        let mut out = Output::default();
        let result = catch_unwind(AssertUnwindSafe(|| {
            let result = act(&mut member.peer, now, &mut out);
            member.peer.settle(now, &mut out);
            (result, member.peer.next_timeout())
        }));
        match result {
            Ok((result, next)) => {
                // No protocol holds the thread with a timer that is always due.
                let next = next.map(|next| next.max(now + SHORTEST_TIMER));
                if let Some(next) = next
                    && member.peer.armed.is_none_or(|armed| next < armed)
                {
                    member.peer.armed = Some(next);
                    self.timers.push(Reverse((next, key)));
                }
                self.deliver(key, out);
                Some(result)
            }
            Err(_) => {
                tracing::error!(peer = %member.peer.id, "a protocol failed on this peer's data; the peer is dropped");
                let (id, stream) = (member.peer.id, member.stream);
                self.remove(key);
                if let Some(stream) = self.streams.get(&stream) {
                    stream.delegate.state(id, PeerState::Failed);
                }
                None
            }
        }
    }

    /// Sends a peer's datagrams and tells its stream what came of it.
    fn deliver(&mut self, key: usize, out: Output) {
        for datagram in &out.datagrams {
            let _ = self.sockets.send(
                datagram.local,
                datagram.remote,
                &datagram.data,
                datagram.data.len(),
            );
        }
        let Some(member) = self.members.get_mut(key) else {
            return;
        };
        let Some(stream) = self.streams.get_mut(&member.stream) else {
            return;
        };
        let peer = &mut member.peer;
        for (sequence, timestamp, payload) in out.microphone {
            stream
                .delegate
                .microphone(peer.id, sequence, timestamp, payload);
        }
        for text in out.texts {
            stream.delegate.text(peer.id, &text.label, &text.text);
        }
        if let Some(outlet) = &mut peer.outlet {
            for feedback in out.feedback {
                match feedback {
                    Feedback::Nack { ssrc, sequence } => {
                        outlet.retransmit(
                            ssrc,
                            sequence,
                            &stream.video,
                            &mut self.scratch,
                            &self.sockets,
                        );
                    }
                    Feedback::Keyframe { ssrc } if outlet.is_video(ssrc) => {
                        stream.delegate.keyframe_wanted()
                    }
                    Feedback::Keyframe { .. } => {}
                }
            }
        }
        if let Some(state) = out.state {
            stream.delegate.state(peer.id, state);
            if state == PeerState::Failed {
                forget_addresses(&mut self.by_address, &peer.addresses, key);
                peer.addresses.clear();
            }
            // Asked for before the audience is told, whose first viewer starts the encoder: one keyframe, not two.
            if state == PeerState::Connected {
                ask_for_keyframe(peer, stream);
            }
            let stream = member.stream;
            self.count_audience(stream);
        }
    }

    /// Tells a stream how many watch and listen, if that changed.
    fn count_audience(&mut self, id: StreamId) {
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        let count = |track| {
            let outlets = stream
                .peers
                .iter()
                .filter_map(|&key| self.members.get(key)?.peer.outlet.as_ref());
            outlets.filter(|outlet| outlet.receives(track)).count()
        };
        let audience = (count(Track::Video), count(Track::Audio));
        if audience != stream.audience {
            stream.audience = audience;
            stream.delegate.audience(audience.0, audience.1);
        }
    }

    fn remove_peer(&mut self, peer: PeerId) {
        if let Some(&key) = self.by_id.get(&peer) {
            self.remove(key);
        }
    }

    fn remove(&mut self, key: usize) {
        let Some(mut member) = self.members.try_remove(key) else {
            return;
        };
        let mut out = Output::default();
        let _ = catch_unwind(AssertUnwindSafe(|| {
            member.peer.close(Instant::now(), &mut out)
        }));
        for datagram in &out.datagrams {
            let _ = self.sockets.send(
                datagram.local,
                datagram.remote,
                &datagram.data,
                datagram.data.len(),
            );
        }
        self.by_id.remove(&member.peer.id);
        self.by_ufrag.remove(&member.peer.local.ufrag);
        forget_addresses(&mut self.by_address, &member.peer.addresses, key);
        if let Some(stream) = self.streams.get_mut(&member.stream) {
            stream.peers.retain(|&peer| peer != key);
            stream.delegate.gone(member.peer.id);
        }
        self.count_audience(member.stream);
    }

    fn close_all(&mut self) {
        let keys: Vec<usize> = self.members.iter().map(|(key, _)| key).collect();
        for key in keys {
            self.remove(key);
        }
    }
}

/// Another peer may have proved one of them since.
fn forget_addresses(
    by_address: &mut HashMap<SocketAddr, usize>,
    addresses: &[SocketAddr],
    key: usize,
) {
    for address in addresses {
        if by_address.get(address) == Some(&key) {
            by_address.remove(address);
        }
    }
}

fn ask_for_keyframe(peer: &Peer, stream: &Stream) {
    if peer.outlet.as_ref().is_some_and(Outlet::waits_for_keyframe) {
        stream.delegate.keyframe_wanted();
    }
}

/// The kernel is to choose our address for `remote`.
fn any_address(remote: SocketAddr) -> SocketAddr {
    match remote {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    }
}

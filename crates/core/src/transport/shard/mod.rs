//! The network thread: the peers that one thread drives. No task, thread, socket or timer a viewer.
//!
//! What is pushed goes before what comes in: a frame waits for at most one millisecond of datagrams, however many
//! strangers send, and datagrams are read after each frame, however many viewers there are.

mod bell;
mod members;
mod router;
mod stream;

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded, unbounded};
use mio::{Events, Poll};
use parking_lot::Mutex;
use rtc_ice::candidate::Candidate;

use super::dtls::Identity;
use super::outlet::Scratch;
use super::peer::PeerSetup;
use super::reflexive::Reflexive;
use super::socket::{Batch, Sockets, any_address};
use super::{Datagram, StreamId};
use crate::codec::Layer;
use crate::event::PeerId;
use crate::rtp::AccessUnit;

use self::bell::Bell;
use self::members::Members;
use self::router::{Owner, Router};
use self::stream::Stream;

pub(super) use self::router::{AddressBook, MAX_SHARDS, shard_letter};
pub(super) use self::stream::StreamHub;

/// Commands taken between two looks at the sockets, so that neither side starves the other.
const COMMANDS_PER_TURN: usize = 64;

/// Receive batches taken from one socket in a turn.
const BATCHES_PER_TURN: usize = 16;

/// With many peers the sockets are looked at no more often than this: a thousand send some 1,600 reports and checks a
/// second, and each would be a wake-up of its own.
const LOOK_INTERVAL: Duration = Duration::from_millis(2);

/// While nothing is published, nobody speaks and nobody joins there is no hurry at all.
const IDLE_LOOK_INTERVAL: Duration = Duration::from_millis(40);

/// How long a frame, or sound either way, keeps the port from being idle: three frames at 10 fps.
const MEDIA_FOR: Duration = Duration::from_millis(300);

/// How long an offer or a candidate does: ICE and DTLS are done by then, or too slow for it to matter.
const JOINING_FOR: Duration = Duration::from_secs(3);

/// So many are many. With fewer, a datagram is read when it comes.
const MANY: usize = 100;

/// While frames wait, datagrams and timers get this long.
const PATIENCE: Duration = Duration::from_millis(1);

/// Access units that may wait for one shard: two seconds of forty streams. Those too old are not sent anyway.
const MAX_UNITS: usize = 6_400;

/// Datagrams that may wait for the shard whose they are: a tenth of a second of a thousand talking microphones.
const MAX_STRAYS: usize = 4_096;

/// Addresses kept of what STUN servers said: one a family and interface is usual.
const MAX_REFLEXIVE: usize = 4;

/// What the rest of the engine asks of a shard.
pub(super) enum Command {
    AddStream {
        id: StreamId,
        hub: Arc<StreamHub>,
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

/// One access unit for those who receive a layer of a stream.
pub(super) struct Publication {
    pub(super) stream: StreamId,
    pub(super) layer: Layer,
    pub(super) unit: Arc<AccessUnit>,
    pub(super) published: Instant,
}

/// Where a shard is reached, from any thread; nothing here blocks.
pub(super) struct Post {
    commands: Sender<Command>,
    units: Sender<Publication>,
    strays: Sender<Datagram>,
    bell: Bell,
}

/// What was posted to a shard.
struct Inbox {
    commands: Receiver<Command>,
    units: Receiver<Publication>,
    strays: Receiver<Datagram>,
}

impl Post {
    /// Commands always arrive: what they are made of is bounded by the clients and systems that there are.
    pub(super) fn command(&self, command: Command) {
        // The receiver lives until the thread is joined.
        let _ = self.commands.send(command);
        self.bell.ring();
    }

    /// Commands that wait.
    pub(super) fn backlog(&self) -> usize {
        self.commands.len()
    }

    /// False: too many wait already.
    pub(super) fn publish(&self, unit: Publication) -> bool {
        let is_taken = self.units.try_send(unit).is_ok();
        self.bell.ring();
        is_taken
    }
}

/// What all shards of a port have in common.
pub(super) struct Common {
    pub(super) identity: Identity,
    /// Where browsers may send to: our side of every candidate pair.
    pub(super) local: Vec<SocketAddr>,
    /// What STUN servers said, for answers.
    pub(super) reflexive: Mutex<Vec<SocketAddr>>,
    pub(super) book: AddressBook,
    pub(super) pace: Pace,
}

/// Until when the port is busy. A thread's sockets also get what is for the peers of others, so this is one for all.
pub(super) struct Pace {
    began: Instant,
    /// In ms since it began.
    busy_until: AtomicU64,
}

impl Pace {
    pub(super) fn new() -> Self {
        Self {
            began: Instant::now(),
            busy_until: AtomicU64::new(0),
        }
    }

    fn ms(&self, moment: Instant) -> u64 {
        moment.saturating_duration_since(self.began).as_millis() as u64
    }

    fn stay_busy(&self, until: Instant) {
        let until = self.ms(until);
        // Most threads find that another one has said so already.
        if self.busy_until.load(Relaxed) < until {
            self.busy_until.fetch_max(until, Relaxed);
        }
    }

    fn is_busy(&self) -> bool {
        self.ms(Instant::now()) < self.busy_until.load(Relaxed)
    }
}

pub(super) struct Shard {
    poll: Poll,
    inbox: Inbox,
    common: Arc<Common>,
    /// Every shard of the port, this one included.
    posts: Arc<[Post]>,
    index: usize,
    stun_servers: Reflexive,
    streams: HashMap<StreamId, Stream>,
    members: Members,
    router: Router,
    io: Io,
    batch: Batch,
    /// Shards that were handed datagrams in this turn and not woken yet.
    to_wake: Vec<usize>,
}

/// What sending takes.
struct Io {
    sockets: Sockets,
    scratch: Scratch,
}

/// The two ends of a shard that is to be.
pub(super) struct Wiring {
    poll: Poll,
    inbox: Inbox,
    sockets: Sockets,
}

/// Makes a shard's inbox and what it polls.
pub(super) fn wire(mut sockets: Sockets) -> io::Result<(Wiring, Post)> {
    let poll = Poll::new()?;
    sockets.register(poll.registry())?;
    let bell = Bell::new(&poll)?;
    let (commands, command_inbox) = unbounded();
    let (units, unit_inbox) = bounded(MAX_UNITS);
    let (strays, stray_inbox) = bounded(MAX_STRAYS);
    let inbox = Inbox {
        commands: command_inbox,
        units: unit_inbox,
        strays: stray_inbox,
    };
    let post = Post {
        commands,
        units,
        strays,
        bell,
    };
    let wiring = Wiring {
        poll,
        inbox,
        sockets,
    };
    Ok((wiring, post))
}

impl Shard {
    pub(super) fn new(
        index: usize,
        wiring: Wiring,
        posts: Arc<[Post]>,
        common: Arc<Common>,
    ) -> Self {
        Self {
            poll: wiring.poll,
            inbox: wiring.inbox,
            router: Router::new(index, common.book.clone()),
            common,
            posts,
            index,
            stun_servers: Reflexive::default(),
            streams: HashMap::new(),
            members: Members::default(),
            io: Io {
                sockets: wiring.sockets,
                scratch: Scratch::default(),
            },
            batch: Batch::new(),
            to_wake: Vec::new(),
        }
    }

    /// Runs until told to stop.
    pub(super) fn run(mut self) {
        let posts = self.posts.clone();
        let Some(Post { bell, .. }) = posts.get(self.index) else {
            return;
        };
        bell.belongs_to_this_thread();
        let mut events = Events::with_capacity(64);
        let mut readable = vec![true; self.io.sockets.len()];
        let mut looked = Instant::now();
        loop {
            let Some(more_commands) = self.take_commands() else {
                return self.close_all();
            };
            let more_datagrams = self.receive(&mut readable);
            let more_timers = self.expire_timers();
            self.wake_others();
            let is_busy = more_commands || more_datagrams || more_timers;
            let rest = |shard: &Self| match is_busy {
                true => Some(Duration::ZERO),
                false => shard.until_timer(),
            };
            // Timers can wait for the end of a nap.
            let nap = self.nap(looked);
            if !is_busy && !nap.is_zero() && bell.nap(nap) {
                continue;
            }
            let timeout = rest(&self);
            if let Err(error) = bell.poll(&mut self.poll, &mut events, timeout)
                && error.kind() != io::ErrorKind::Interrupted
            {
                tracing::error!(%error, "the network thread cannot wait for its sockets");
                return;
            }
            looked = Instant::now();
            for event in &events {
                if let Some(socket) = readable.get_mut(event.token().0) {
                    *socket = true;
                }
            }
        }
    }

    /// How long the sockets need not be looked at, if they were at `looked`.
    fn nap(&self, looked: Instant) -> Duration {
        if self.members.len() < MANY {
            return Duration::ZERO;
        }
        let interval = match self.common.pace.is_busy() {
            true => LOOK_INTERVAL,
            false => IDLE_LOOK_INTERVAL,
        };
        interval.saturating_sub(looked.elapsed())
    }

    /// Whether more commands may wait; `None` to stop.
    fn take_commands(&mut self) -> Option<bool> {
        self.publish_waiting();
        for _ in 0..COMMANDS_PER_TURN {
            match self.inbox.commands.try_recv() {
                Ok(Command::Stop) | Err(TryRecvError::Disconnected) => return None,
                Ok(command) => self.obey(command),
                Err(TryRecvError::Empty) => return Some(false),
            }
            self.publish_waiting();
        }
        Some(true)
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Offer { stream, setup } => {
                self.common.pace.stay_busy(Instant::now() + JOINING_FOR);
                self.offer(stream, *setup);
            }
            Command::Candidate { peer, candidate } => {
                self.common.pace.stay_busy(Instant::now() + JOINING_FOR);
                self.with_peer(self.members.key(peer), |peer, _, _| {
                    peer.add_candidate(*candidate)
                });
            }
            Command::RemovePeer { peer } => {
                if let Some(key) = self.members.key(peer) {
                    self.remove(key);
                }
            }
            Command::Text {
                stream,
                peer,
                label,
                text,
            } => self.send_text(stream, peer, label, &text),
            Command::AddStream { id, hub } => {
                self.streams.insert(id, Stream::new(hub));
            }
            Command::RemoveStream { id } => {
                let peers = self.streams.get(&id).map(|stream| stream.peers.clone());
                for key in peers.unwrap_or_default() {
                    self.remove(key);
                }
                self.streams.remove(&id);
            }
            Command::AskStunServers { servers } => {
                for server in &servers {
                    self.router.expect_from(*server);
                }
                self.stun_servers.add(Instant::now(), servers);
            }
            Command::Stop => {}
        }
    }

    /// Sends the units that waited when it began; those that come meanwhile have their turn after the datagrams.
    fn publish_waiting(&mut self) {
        for _ in 0..self.inbox.units.len() {
            if let Ok(publication) = self.inbox.units.try_recv() {
                self.publish(publication);
            }
        }
    }

    /// The fan-out: one access unit to everybody who receives its layer.
    fn publish(&mut self, publication: Publication) {
        let Publication {
            stream,
            layer,
            unit,
            published,
        } = publication;
        let now = Instant::now();
        self.common.pace.stay_busy(now + MEDIA_FOR);
        let Some(stream) = self.streams.get_mut(&stream) else {
            return;
        };
        if stream.accepts(now, published, layer, &unit) {
            stream.fan_out(now, layer, unit, &mut self.members, &mut self.io);
        }
    }

    /// Whether frames wait that are not to wait any longer.
    fn is_called(&self, since: Instant) -> bool {
        !self.inbox.units.is_empty() && since.elapsed() >= PATIENCE
    }

    /// Whether more datagrams wait.
    fn receive(&mut self, readable: &mut [bool]) -> bool {
        let mut since = Instant::now();
        for _ in 0..MAX_STRAYS {
            let Ok(Datagram {
                local,
                remote,
                data,
            }) = self.inbox.strays.try_recv()
            else {
                break;
            };
            self.route(local, remote, &data, true);
            if self.is_called(since) {
                return true;
            }
        }
        let mut batch = std::mem::take(&mut self.batch);
        for (position, readable) in readable.iter_mut().enumerate() {
            for _ in 0..BATCHES_PER_TURN {
                if !*readable || self.is_called(since) {
                    break;
                }
                *readable = self.io.sockets.receive(position, &mut batch);
                for (local, remote, data) in batch.datagrams() {
                    self.route(local, remote, data, false);
                    if self.is_called(since) {
                        self.publish_waiting();
                        since = Instant::now();
                    }
                }
            }
        }
        self.batch = batch;
        readable.iter().any(|readable| *readable) || !self.inbox.strays.is_empty()
    }

    /// Hands a datagram to whose it is. One that another shard handed over goes no further.
    fn route(&mut self, local: SocketAddr, remote: SocketAddr, data: &[u8], is_stray: bool) {
        // Nobody sends from there, and the kernel lets nobody answer.
        if remote.port() == 0 {
            return;
        }
        match self.router.find(remote, data) {
            Owner::Member(key) => self.read(key, local, remote, data),
            Owner::Shard(shard) if !is_stray => self.hand_over(shard, local, remote, data),
            _ => {
                if let Some(mapped) = self.stun_servers.handle(Instant::now(), remote, data) {
                    let mut known = self.common.reflexive.lock();
                    if !known.contains(&mapped) && !self.common.local.contains(&mapped) {
                        known.insert(0, mapped);
                        known.truncate(MAX_REFLEXIVE);
                    }
                }
            }
        }
    }

    fn hand_over(&mut self, shard: usize, local: SocketAddr, remote: SocketAddr, data: &[u8]) {
        let Some(post) = self.posts.get(shard) else {
            return;
        };
        let datagram = Datagram {
            local,
            remote,
            data: BytesMut::from(data),
        };
        // A full queue loses datagrams, as a full socket does.
        if post.strays.try_send(datagram).is_ok() && !self.to_wake.contains(&shard) {
            self.to_wake.push(shard);
        }
    }

    fn wake_others(&mut self) {
        for shard in self.to_wake.drain(..) {
            if let Some(post) = self.posts.get(shard) {
                post.bell.hint();
            }
        }
    }

    /// Does what is due. Whether more is.
    fn expire_timers(&mut self) -> bool {
        let now = Instant::now();
        while let Some((server, request)) = self.stun_servers.poll_transmit(now) {
            let local = any_address(server.is_ipv4());
            let _ = self.io.sockets.send(local, server, &request, request.len());
        }
        while let Some(key) = self.members.pop_due(now) {
            self.with_peer(Some(key), |peer, now, out| peer.handle_timeout(now, out));
            if self.is_called(now) {
                return true;
            }
        }
        false
    }

    fn until_timer(&self) -> Option<Duration> {
        let servers = self.stun_servers.poll_timeout();
        let at = self.members.next_timer().into_iter().chain(servers).min()?;
        Some(at.saturating_duration_since(Instant::now()))
    }
}

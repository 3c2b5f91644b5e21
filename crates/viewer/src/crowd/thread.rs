//! A media thread: many viewers' sockets behind one epoll, their timers, their microphones.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token, Waker};
use slab::Slab;
use tokio::sync::{mpsc, oneshot};

use super::ice::Outgoing;
use super::member::{Member, Moment, Shared};
use super::microphone::OpusPacket;
use super::report::ViewerNumbers;
use super::socket::{Buffers, Socket, unix_time};
use super::tally::Tally;

/// Orders that wait; a thread takes all of them each time round.
const COMMANDS: usize = 1_024;

/// Sockets that epoll names at a time.
const EVENTS: usize = 1_024;

const WAKER: Token = Token(usize::MAX);

/// Microphones send in turns, so that not all of them do so at once: four in 20 ms.
const TURN: Duration = Duration::from_millis(5);
const TURNS: usize = 4;

/// Turns that are made up for at a time after a delay.
const MAX_LATE_TURNS: u32 = 20;

/// An order to a media thread.
pub(super) enum Command {
    Add(Box<Member>, std::net::UdpSocket),
    /// One more address of this viewer's server.
    Candidate(u64, SocketAddr),
    /// Its WebSocket has ended.
    Fail(u64, String),
    Remove(u64, Leaving),
    BeginWindow(oneshot::Sender<()>),
    Report(oneshot::Sender<ThreadReport>),
    Stop,
}

/// How a viewer goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leaving {
    /// With a good-bye.
    Closing,
    /// Without a word: its socket stays open and is never read again, as of a machine that lost its power.
    Vanishing,
}

/// What a thread has counted.
pub(super) struct ThreadReport {
    pub(super) tally: Tally,
    pub(super) viewers: Vec<ViewerNumbers>,
}

/// The way to a media thread, which stops when this is dropped.
pub(super) struct MediaThread {
    pub(super) orders: Orders,
    thread: Option<JoinHandle<()>>,
}

/// Gives orders to a media thread.
#[derive(Clone)]
pub(super) struct Orders {
    commands: mpsc::Sender<Command>,
    waker: Arc<Waker>,
}

impl Orders {
    /// False if the thread is gone.
    pub(super) async fn give(&self, command: Command) -> bool {
        let given = self.commands.send(command).await.is_ok();
        self.wake();
        given
    }

    fn wake(&self) {
        if let Err(error) = self.waker.wake() {
            tracing::warn!(%error, "a media thread was not woken");
        }
    }
}

/// What a thread needs besides [`Shared`].
pub(super) struct Setup {
    pub(super) pause: Duration,
    pub(super) flood: u32,
    pub(super) microphone: Option<Arc<[OpusPacket]>>,
}

impl MediaThread {
    pub(super) fn start(number: usize, shared: Shared, setup: Setup) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        let (commands, orders) = mpsc::channel(COMMANDS);
        let runner = Runner {
            poll,
            orders,
            shared,
            setup,
            seats: Slab::new(),
            by_id: HashMap::new(),
            timers: BinaryHeap::new(),
            buffers: Buffers::new(),
            out: Vec::new(),
            silent: Vec::new(),
            next_turn: Instant::now(),
            turn: 0,
            flood_credit: 0.0,
            packet: Vec::new(),
            stopped: false,
        };
        let thread = std::thread::Builder::new()
            .name(format!("crowd-media-{number}"))
            .spawn(move || runner.run())?;
        Ok(Self {
            orders: Orders { commands, waker },
            thread: Some(thread),
        })
    }
}

impl Drop for MediaThread {
    fn drop(&mut self) {
        // A full queue empties soon; a thread that is gone needs no order.
        while let Err(mpsc::error::TrySendError::Full(_)) =
            self.orders.commands.try_send(Command::Stop)
        {
            std::thread::sleep(Duration::from_millis(1));
        }
        self.orders.wake();
        if let Some(Err(_)) = self.thread.take().map(JoinHandle::join) {
            tracing::error!("a media thread panicked");
        }
    }
}

/// A viewer at its socket.
struct Seat {
    member: Member,
    socket: Socket,
    /// The timer that stands for it; others of it are outdated.
    armed: Option<Instant>,
}

struct Runner {
    poll: Poll,
    orders: mpsc::Receiver<Command>,
    shared: Shared,
    setup: Setup,
    seats: Slab<Seat>,
    by_id: HashMap<u64, usize>,
    timers: BinaryHeap<Reverse<(Instant, usize)>>,
    buffers: Buffers,
    out: Vec<Outgoing>,
    /// Sockets of those who vanished.
    silent: Vec<Socket>,
    next_turn: Instant,
    turn: usize,
    flood_credit: f64,
    packet: Vec<u8>,
    stopped: bool,
}

impl Runner {
    fn run(mut self) {
        let mut events = Events::with_capacity(EVENTS);
        while !self.stopped {
            let wait = self
                .next_due()
                .map(|due| due.saturating_duration_since(Instant::now()));
            if let Err(error) = self.poll.poll(&mut events, wait)
                && error.kind() != io::ErrorKind::Interrupted
            {
                tracing::error!(%error, "epoll failed");
                return;
            }
            for event in &events {
                match event.token() {
                    WAKER => self.take_orders(),
                    Token(key) => self.receive(key),
                }
            }
            self.take_turns();
            self.run_timers();
            if !self.setup.pause.is_zero() {
                std::thread::sleep(self.setup.pause);
            }
        }
    }

    fn next_due(&self) -> Option<Instant> {
        let turn = self.has_turns().then_some(self.next_turn);
        let timer = self.timers.peek().map(|Reverse((due, _))| *due);
        [turn, timer].into_iter().flatten().min()
    }

    fn receive(&mut self, key: usize) {
        let Some(Seat { member, socket, .. }) = self.seats.get_mut(key) else {
            return;
        };
        let now = Instant::now();
        let (shared, out) = (&mut self.shared, &mut self.out);
        while self.buffers.receive(socket, |received| {
            let at = Moment {
                now,
                unix: received.arrival,
            };
            member.receive(
                at,
                received.from,
                received.data,
                received.stride,
                shared,
                out,
            );
        }) {}
        self.settle(key, now);
    }

    /// Sends what is to be sent and sets the timer, after anything was done with a viewer.
    fn settle(&mut self, key: usize, now: Instant) {
        let Some(seat) = self.seats.get_mut(key) else {
            return;
        };
        for (to, datagram) in self.out.drain(..) {
            if !seat.socket.send(to, &datagram) {
                self.shared.tally.unsent += 1;
            }
        }
        let due = seat.member.poll_timeout(now);
        if let Some(due) = due
            && seat.armed.is_none_or(|armed| due < armed)
        {
            seat.armed = Some(due);
            self.timers.push(Reverse((due, key)));
        }
    }

    fn run_timers(&mut self) {
        let now = Instant::now();
        let at = Moment {
            now,
            unix: unix_time(),
        };
        while let Some(Reverse((due, key))) = self.timers.peek().copied() {
            if due > now {
                return;
            }
            self.timers.pop();
            let Some(seat) = self
                .seats
                .get_mut(key)
                .filter(|seat| seat.armed == Some(due))
            else {
                continue;
            };
            seat.armed = None;
            seat.member
                .handle_timeout(at, &mut self.shared, &mut self.out);
            self.settle(key, now);
        }
    }

    fn has_turns(&self) -> bool {
        !self.seats.is_empty() && (self.setup.microphone.is_some() || self.setup.flood > 0)
    }

    /// Lets those speak, and flood, whose turn has come.
    fn take_turns(&mut self) {
        let now = Instant::now();
        if !self.has_turns() {
            self.next_turn = now;
            return;
        }
        if self.next_turn + TURN * MAX_LATE_TURNS < now {
            self.next_turn = now;
        }
        while self.next_turn <= now {
            self.next_turn += TURN;
            self.turn = (self.turn + 1) % TURNS;
            if let Some(clip) = self.setup.microphone.clone() {
                self.speak(&clip);
            }
            self.flood(now);
        }
    }

    fn speak(&mut self, clip: &[OpusPacket]) {
        for (key, seat) in &mut self.seats {
            if key % TURNS != self.turn || seat.member.closed.is_some() {
                continue;
            }
            if let Some(to) = seat.member.speak(clip, &mut self.packet) {
                if seat.socket.send(to, &self.packet) {
                    self.shared.tally.microphone_packets += 1;
                } else {
                    self.shared.tally.unsent += 1;
                }
            }
        }
    }

    fn flood(&mut self, now: Instant) {
        let flooder = self.by_id.get(&0).copied().filter(|_| self.setup.flood > 0);
        let Some(key) = flooder else { return };
        let Some(seat) = self.seats.get_mut(key).filter(|seat| seat.member.floods()) else {
            return;
        };
        self.flood_credit += f64::from(self.setup.flood) * TURN.as_secs_f64();
        let count = self.flood_credit as u32;
        self.flood_credit -= f64::from(count);
        seat.member.flood(count, &mut self.shared, &mut self.out);
        self.settle(key, now);
    }

    fn take_orders(&mut self) {
        while let Ok(command) = self.orders.try_recv() {
            match command {
                Command::Add(member, socket) => self.add(*member, socket),
                Command::Candidate(id, address) => {
                    let now = Instant::now();
                    self.with(id, |member, _| member.add_remote(address, now));
                }
                Command::Fail(id, reason) => self.with(id, |member, out| {
                    member.fail(reason);
                    member.close(out);
                }),
                Command::Remove(id, leaving) => self.remove(id, leaving),
                Command::BeginWindow(done) => {
                    self.shared.tally.clear();
                    for (_, seat) in &mut self.seats {
                        seat.member.begin_window();
                    }
                    let _ = done.send(());
                }
                Command::Report(to) => {
                    let viewers = self.seats.iter().map(|(_, seat)| seat.member.numbers());
                    // Whoever asked may have gone.
                    let _ = to.send(ThreadReport {
                        tally: self.shared.tally.clone(),
                        viewers: viewers.collect(),
                    });
                }
                Command::Stop => self.stop(),
            }
        }
    }

    fn add(&mut self, mut member: Member, socket: std::net::UdpSocket) {
        let now = Instant::now();
        let mut socket = match Socket::new(socket) {
            Ok(socket) => socket,
            Err(error) => return member.fail(format!("no socket: {error}")),
        };
        let entry = self.seats.vacant_entry();
        let key = entry.key();
        let registered =
            self.poll
                .registry()
                .register(&mut socket.io, Token(key), Interest::READABLE);
        if let Err(error) = registered {
            return member.fail(format!("no epoll: {error}"));
        }
        self.by_id.insert(member.id(), key);
        entry.insert(Seat {
            member,
            socket,
            armed: None,
        });
        self.settle(key, now);
    }

    fn with(&mut self, id: u64, act: impl FnOnce(&mut Member, &mut Vec<Outgoing>)) {
        if let Some(&key) = self.by_id.get(&id)
            && let Some(seat) = self.seats.get_mut(key)
        {
            act(&mut seat.member, &mut self.out);
            self.settle(key, Instant::now());
        }
    }

    fn remove(&mut self, id: u64, leaving: Leaving) {
        if leaving == Leaving::Closing {
            self.with(id, Member::close);
        }
        let Some(mut seat) = self
            .by_id
            .remove(&id)
            .and_then(|key| self.seats.try_remove(key))
        else {
            return;
        };
        if let Err(error) = self.poll.registry().deregister(&mut seat.socket.io) {
            tracing::warn!(%error, "a socket was not taken from epoll");
        }
        if leaving == Leaving::Vanishing {
            self.silent.push(seat.socket);
        }
    }

    fn stop(&mut self) {
        let ids: Vec<u64> = self.by_id.keys().copied().collect();
        for id in ids {
            self.with(id, Member::close);
        }
        self.stopped = true;
    }
}

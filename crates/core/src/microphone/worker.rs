//! The thread that serves every peer's microphone.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Instant;

use bytes::Bytes;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};

use super::Microphone;
use crate::config::MicrophoneConfig;
use crate::event::{Event, EventSink, PeerId};
use crate::wall_clock::unix_ms;

/// Most packets that wait for the thread: 0.8 s of a hundred speakers.
const MOST_PACKETS: usize = 4_096;
/// Room that packets leave to `open` and `close`, which must not get lost.
const RESERVED: usize = 1_024;

/// The thread `avatar-microphone`. Dropping it ends what is being said, stops and joins the thread.
pub struct MicrophoneWorker {
    handle: MicrophoneHandle,
    thread: Option<JoinHandle<()>>,
}

/// Where packets are handed in, from any thread; never blocks.
#[derive(Clone)]
pub struct MicrophoneHandle {
    commands: Sender<Command>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    dropped: AtomicU64,
}

enum Command {
    Open(PeerId, MicrophoneConfig, Arc<dyn EventSink>),
    Packet {
        peer: PeerId,
        now: Instant,
        wall_ms: f64,
        sequence: u16,
        timestamp: u32,
        payload: Bytes,
    },
    Close(PeerId),
    Stop,
}

impl MicrophoneWorker {
    /// Starts the thread.
    pub fn spawn() -> io::Result<Self> {
        let (commands, receiver) = crossbeam_channel::bounded(MOST_PACKETS + RESERVED);
        let shared = Arc::new(Shared::default());
        let thread = std::thread::Builder::new()
            .name("avatar-microphone".to_owned())
            .spawn({
                let shared = Arc::clone(&shared);
                move || run(&receiver, &shared)
            })?;
        Ok(Self {
            handle: MicrophoneHandle { commands, shared },
            thread: Some(thread),
        })
    }

    /// A handle; it may outlive the worker, and then does nothing.
    pub fn handle(&self) -> MicrophoneHandle {
        self.handle.clone()
    }
}

impl Drop for MicrophoneWorker {
    fn drop(&mut self) {
        self.handle.shared.stop.store(true, Relaxed);
        // If the queue is full the thread is awake and will see the flag.
        let _ = self.handle.commands.try_send(Command::Stop);
        if let Some(thread) = self.thread.take() {
            // A panic of an event sink was reported by the panic hook.
            let _ = thread.join();
        }
    }
}

impl MicrophoneHandle {
    /// Begins to listen to a peer; its events go to `events`.
    pub fn open(&self, peer: PeerId, config: MicrophoneConfig, events: Arc<dyn EventSink>) {
        self.send(Command::Open(peer, config, events));
    }

    /// Hands in the payload of an RTP packet that was received now. Packets of unknown peers are ignored.
    pub fn packet(&self, peer: PeerId, sequence: u16, timestamp: u32, payload: Bytes) {
        if self.commands.len() >= MOST_PACKETS {
            self.shared.dropped.fetch_add(1, Relaxed);
            return;
        }
        self.send(Command::Packet {
            peer,
            now: Instant::now(),
            wall_ms: unix_ms(),
            sequence,
            timestamp,
            payload,
        });
    }

    /// Ends listening to a peer; what it is saying is delivered as it is.
    pub fn close(&self, peer: PeerId) {
        self.send(Command::Close(peer));
    }

    /// Packets that were dropped because the thread could not keep up, or is gone.
    pub fn dropped(&self) -> u64 {
        self.shared.dropped.load(Relaxed)
    }

    fn send(&self, command: Command) {
        if self.commands.try_send(command).is_err() {
            self.shared.dropped.fetch_add(1, Relaxed);
        }
    }
}

struct Listening {
    microphone: Microphone,
    events: Arc<dyn EventSink>,
}

/// The peers, and the earliest of their timeouts.
#[derive(Default)]
struct Peers {
    listening: HashMap<PeerId, Listening>,
    wake: Option<Instant>,
    out: Vec<Event>,
}

fn run(commands: &Receiver<Command>, shared: &Shared) {
    let mut peers = Peers::default();
    while !shared.stop.load(Relaxed) {
        // Timeouts also come when packets never leave the thread idle.
        if peers.wake.is_some_and(|at| at <= Instant::now()) {
            peers.on_timeout(Instant::now(), unix_ms());
        }
        let command = match peers.wake {
            Some(at) => commands.recv_deadline(at),
            None => commands.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match command {
            Ok(Command::Open(peer, config, events)) => peers.open(peer, &config, events),
            Ok(Command::Packet {
                peer,
                now,
                wall_ms,
                sequence,
                timestamp,
                payload,
            }) => peers.with(peer, |microphone, out| {
                microphone.on_packet(now, wall_ms, sequence, timestamp, &payload, out);
            }),
            Ok(Command::Close(peer)) => peers.close(peer),
            Err(RecvTimeoutError::Timeout) => {}
            Ok(Command::Stop) | Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    let open: Vec<PeerId> = peers.listening.keys().copied().collect();
    for peer in open {
        peers.close(peer);
    }
}

impl Peers {
    fn open(&mut self, peer: PeerId, config: &MicrophoneConfig, events: Arc<dyn EventSink>) {
        self.close(peer);
        match Microphone::new(peer, config) {
            Ok(microphone) => {
                self.listening
                    .insert(peer, Listening { microphone, events });
            }
            Err(error) => events.emit(Event::Warning(error.to_string())),
        }
    }

    fn with(&mut self, peer: PeerId, act: impl FnOnce(&mut Microphone, &mut Vec<Event>)) {
        if let Some(listening) = self.listening.get_mut(&peer) {
            act(&mut listening.microphone, &mut self.out);
            for event in self.out.drain(..) {
                listening.events.emit(event);
            }
            let timeout = listening.microphone.next_timeout();
            self.wake = self.wake.into_iter().chain(timeout).min();
        }
    }

    fn close(&mut self, peer: PeerId) {
        self.with(peer, |microphone, out| microphone.close(out));
        self.listening.remove(&peer);
    }

    fn on_timeout(&mut self, now: Instant, wall_ms: f64) {
        self.wake = None;
        let peers: Vec<PeerId> = (self.listening.iter())
            .filter(|(_, listening)| {
                let timeout = listening.microphone.next_timeout();
                self.wake = self
                    .wake
                    .into_iter()
                    .chain(timeout.filter(|&at| at > now))
                    .min();
                timeout.is_some_and(|at| at <= now)
            })
            .map(|(&peer, _)| peer)
            .collect();
        for peer in peers {
            self.with(peer, |microphone, out| {
                microphone.on_timeout(now, wall_ms, out)
            });
        }
    }
}

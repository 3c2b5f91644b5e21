//! The thread that serves every peer's microphone.

use std::collections::HashMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Instant;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};

use super::hearing::Hearing;
use super::{Microphone, Spurt};
use crate::codec::AudioCodec;
use crate::event::{Event, PeerId};
use crate::wall_clock::unix_ms;

/// Most spurts that wait for the thread: 0.8 s of a hundred speakers. One that begins has a pre-roll of 16 KiB at
/// most, every other one a packet.
const MOST_SPURTS: usize = 4_096;
/// Room that packets leave to `close`, which must not get lost.
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
    Spurt(PeerId, Arc<Hearing>, Spurt),
    Close(PeerId),
    Stop,
}

impl MicrophoneWorker {
    /// Starts the thread.
    pub fn spawn() -> io::Result<Self> {
        let (commands, receiver) = crossbeam_channel::bounded(MOST_SPURTS + RESERVED);
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
    /// Hands in what a peer said, to be heard as `hearing` says.
    pub fn hear(&self, peer: PeerId, hearing: &Arc<Hearing>, spurt: Spurt) {
        let count = spurt.packets.len() as u64;
        let room = self.commands.len() < MOST_SPURTS;
        let command = Command::Spurt(peer, Arc::clone(hearing), spurt);
        if !room || self.commands.try_send(command).is_err() {
            self.shared.dropped.fetch_add(count, Relaxed);
            hearing.dropped.fetch_add(count, Relaxed);
        }
    }

    /// Ends listening to a peer; what it is saying is delivered as it is.
    pub fn close(&self, peer: PeerId) {
        if self.commands.try_send(Command::Close(peer)).is_err() {
            self.shared.dropped.fetch_add(1, Relaxed);
        }
    }

    /// Packets of all streams that were dropped because the thread could not keep up, or is gone.
    pub fn dropped(&self) -> u64 {
        self.shared.dropped.load(Relaxed)
    }
}

struct Listening {
    codec: AudioCodec,
    microphone: Microphone,
    hearing: Arc<Hearing>,
}

/// Those who speak, and the earliest of their timeouts.
#[derive(Default)]
struct Speakers {
    listening: HashMap<PeerId, Listening>,
    wake: Option<Instant>,
    out: Vec<Event>,
}

fn run(commands: &Receiver<Command>, shared: &Shared) {
    let mut speakers = Speakers::default();
    while !shared.stop.load(Relaxed) {
        // Timeouts also come when packets never leave the thread idle.
        if speakers.wake.is_some_and(|at| at <= Instant::now()) {
            speakers.on_timeout(Instant::now());
        }
        let command = match speakers.wake {
            Some(at) => commands.recv_deadline(at),
            None => commands.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match command {
            Ok(Command::Spurt(peer, hearing, spurt)) => speakers.hear(peer, hearing, spurt),
            Ok(Command::Close(peer)) => speakers.close(peer),
            Err(RecvTimeoutError::Timeout) => {}
            Ok(Command::Stop) | Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    let open: Vec<PeerId> = speakers.listening.keys().copied().collect();
    for peer in open {
        speakers.close(peer);
    }
}

/// Says whether the avatar may be heard in what was heard.
fn with_avatar(mut event: Event, hearing: &Hearing) -> Event {
    match &mut event {
        Event::IncomingAudio(speech) | Event::Utterance(speech) => {
            speech.avatar_speaking = hearing.hears_avatar(speech.timestamp_ms);
        }
        Event::SpeechStarted {
            timestamp_ms,
            avatar_speaking,
            ..
        } => *avatar_speaking = hearing.hears_avatar(*timestamp_ms),
        _ => {}
    }
    event
}

impl Speakers {
    fn hear(&mut self, peer: PeerId, hearing: Arc<Hearing>, spurt: Spurt) {
        let known = self.listening.get(&peer);
        if spurt.begins || known.is_some_and(|known| known.codec != spurt.codec) {
            self.close(peer);
        }
        if !self.listening.contains_key(&peer) && !self.open(peer, &hearing, &spurt) {
            return;
        }
        hearing
            .packets
            .fetch_add(spurt.packets.len() as u64, Relaxed);
        let (now, wall_ms) = (Instant::now(), unix_ms());
        self.with(peer, |microphone, out| {
            microphone.set_wanted(hearing.wanted());
            for packet in spurt.packets {
                let age = now.saturating_duration_since(packet.received);
                let received_ms = wall_ms - age.as_secs_f64() * 1_000.0;
                microphone.on_packet(packet.received, received_ms, packet, out);
            }
        });
    }

    /// False if there is no memory for a decoder, or no way to its rate.
    fn open(&mut self, peer: PeerId, hearing: &Arc<Hearing>, spurt: &Spurt) -> bool {
        match Microphone::new(peer, spurt.codec, &hearing.config()) {
            Ok(microphone) => {
                hearing.decoders.fetch_add(1, Relaxed);
                let hearing = Arc::clone(hearing);
                let listening = Listening {
                    codec: spurt.codec,
                    microphone,
                    hearing,
                };
                self.listening.insert(peer, listening);
                true
            }
            Err(error) => {
                if spurt.begins {
                    hearing.events.emit(Event::Warning(error.to_string()));
                }
                false
            }
        }
    }

    fn with(&mut self, peer: PeerId, act: impl FnOnce(&mut Microphone, &mut Vec<Event>)) {
        if let Some(listening) = self.listening.get_mut(&peer) {
            // Opus and the detector read what strangers send: a panic costs that microphone alone.
            let done = catch_unwind(AssertUnwindSafe(|| {
                act(&mut listening.microphone, &mut self.out);
            }));
            if done.is_err() {
                self.out.clear();
                if listening.microphone.is_speaking() {
                    let timestamp_ms = unix_ms();
                    let ended = Event::SpeechEnded { peer, timestamp_ms };
                    listening.hearing.events.emit(ended);
                }
                let text = format!(
                    "the microphone of {peer} failed: it is opened anew with what comes next"
                );
                listening.hearing.events.emit(Event::Warning(text));
                listening.hearing.decoders.fetch_sub(1, Relaxed);
                self.listening.remove(&peer);
                return;
            }
            for event in self.out.drain(..) {
                let event = with_avatar(event, &listening.hearing);
                listening.hearing.events.emit(event);
            }
            let timeout = listening.microphone.next_timeout();
            self.wake = self.wake.into_iter().chain(timeout).min();
        }
    }

    fn close(&mut self, peer: PeerId) {
        self.with(peer, |microphone, out| microphone.close(out));
        if let Some(listening) = self.listening.remove(&peer) {
            listening.hearing.decoders.fetch_sub(1, Relaxed);
        }
    }

    fn on_timeout(&mut self, now: Instant) {
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
            let mut is_over = false;
            self.with(peer, |microphone, out| {
                microphone.on_timeout(now, out);
                is_over = microphone.is_over(now);
            });
            if is_over {
                self.close(peer);
            }
        }
    }
}

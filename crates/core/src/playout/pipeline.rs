//! The thread that plays: every 20 ms, for ever, on absolute deadlines.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};

use super::player::Player;
use super::queue::PlayoutQueue;
use super::ticker::Ticker;
use crate::config::MediaConfig;
use crate::media::audio::check_audio;
use crate::media::{AudioChunk, PushOutcome};
use crate::wall_clock::unix_ms;

/// 20 ms of encoded sound.
#[derive(Debug, Clone, PartialEq)]
pub struct EncodedAudio {
    /// One Opus packet.
    pub data: Bytes,
    /// Where it begins on the 48 kHz clock, which runs on in silence: a multiple of 960.
    pub sample_position: u64,
    /// Whether a talk-spurt begins here: the RTP marker (RFC 7587 section 4.1).
    pub spurt_start: bool,
    /// When it is to be heard, in ms of the Unix clock.
    pub wall_ms: f64,
}

/// What the pipeline did so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PlayoutStats {
    /// Chunks queued.
    pub chunks: u64,
    /// Chunks refused.
    pub dropped_chunks: u64,
    /// Packets given to the output.
    pub packets: u64,
    /// Talk-spurts begun; more than utterances pushed means that the source ran dry.
    pub spurts: u64,
    /// Ticks left out because the machine stalled for more than 200 ms.
    pub skipped_ticks: u64,
    /// Ticks that could not be encoded.
    pub failed_ticks: u64,
}

/// The audio queue and its thread. Dropping it stops and joins the thread.
pub struct AudioPipeline {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    inner: Mutex<Inner>,
    wake: Condvar,
    heard: AtomicBool,
    chunks: AtomicU64,
    dropped_chunks: AtomicU64,
    packets: AtomicU64,
    spurts: AtomicU64,
    skipped_ticks: AtomicU64,
    failed_ticks: AtomicU64,
}

struct Inner {
    queue: PlayoutQueue,
    stop: bool,
}

impl AudioPipeline {
    /// Starts the thread `avatar-playout`; `output` is called on it, and must not block.
    /// Nobody is taken to listen until [`Self::set_heard`].
    pub fn spawn(
        config: &MediaConfig,
        output: Box<dyn FnMut(EncodedAudio) + Send>,
    ) -> io::Result<Self> {
        let player = Player::new().map_err(io::Error::other)?;
        let shared = Arc::new(Shared {
            inner: Mutex::new(Inner {
                queue: PlayoutQueue::new(config.max_audio_queue),
                stop: false,
            }),
            wake: Condvar::new(),
            heard: AtomicBool::new(false),
            chunks: AtomicU64::new(0),
            dropped_chunks: AtomicU64::new(0),
            packets: AtomicU64::new(0),
            spurts: AtomicU64::new(0),
            skipped_ticks: AtomicU64::new(0),
            failed_ticks: AtomicU64::new(0),
        });
        let thread = std::thread::Builder::new()
            .name("avatar-playout".to_owned())
            .spawn({
                let shared = Arc::clone(&shared);
                move || shared.run(player, output)
            })?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// Copies a chunk into the queue; the caller may reuse its buffer.
    pub fn push(&self, chunk: AudioChunk<'_>) -> PushOutcome {
        let outcome = match check_audio(&chunk) {
            Ok(()) => self.shared.inner.lock().queue.push(&chunk, Instant::now()),
            Err(reason) => PushOutcome::Dropped(reason),
        };
        match outcome {
            PushOutcome::Queued => self.shared.chunks.fetch_add(1, Relaxed),
            PushOutcome::Dropped(_) => self.shared.dropped_chunks.fetch_add(1, Relaxed),
        };
        outcome
    }

    /// Whether anybody listens. While nobody does nothing is encoded, and the queue still plays on.
    pub fn set_heard(&self, heard: bool) {
        self.shared.heard.store(heard, Relaxed);
    }

    /// How much waits to be played, in ms.
    pub fn queued_ms(&self) -> f64 {
        self.shared.inner.lock().queue.queued().as_secs_f64() * 1_000.0
    }

    /// What was done so far.
    pub fn stats(&self) -> PlayoutStats {
        PlayoutStats {
            chunks: self.shared.chunks.load(Relaxed),
            dropped_chunks: self.shared.dropped_chunks.load(Relaxed),
            packets: self.shared.packets.load(Relaxed),
            spurts: self.shared.spurts.load(Relaxed),
            skipped_ticks: self.shared.skipped_ticks.load(Relaxed),
            failed_ticks: self.shared.failed_ticks.load(Relaxed),
        }
    }
}

impl Drop for AudioPipeline {
    fn drop(&mut self) {
        self.shared.inner.lock().stop = true;
        self.shared.wake.notify_one();
        if let Some(thread) = self.thread.take() {
            // A panic of `output` was reported by the panic hook.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn run(&self, mut player: Player, mut output: Box<dyn FnMut(EncodedAudio) + Send>) {
        let mut ticker = Ticker::new(Instant::now());
        let mut samples = Vec::new();
        loop {
            let mut inner = self.inner.lock();
            while !inner.stop && Instant::now() < ticker.deadline() {
                self.wake.wait_until(&mut inner, ticker.deadline());
            }
            if inner.stop {
                return;
            }
            let now = Instant::now();
            let tick = ticker.tick(now);
            let pulled = inner.queue.pull(tick.at, &mut samples);
            drop(inner);

            self.skipped_ticks.fetch_add(tick.skipped, Relaxed);
            if pulled.is_some_and(|pulled| pulled.spurt_start) {
                self.spurts.fetch_add(1, Relaxed);
            }
            let sound = pulled.map(|pulled| (pulled, samples.as_slice()));
            let wall_ms = unix_ms() - millis(now.saturating_duration_since(tick.at));
            match player.play(sound, tick.position, wall_ms, self.heard.load(Relaxed)) {
                Ok(Some(audio)) => {
                    self.packets.fetch_add(1, Relaxed);
                    output(audio);
                }
                Ok(None) => {}
                Err(error) => {
                    if self.failed_ticks.fetch_add(1, Relaxed) == 0 {
                        tracing::error!(%error, "cannot encode sound");
                    }
                }
            }
        }
    }
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}

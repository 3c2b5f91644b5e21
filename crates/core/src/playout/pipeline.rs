//! The task that plays: every 20 ms, for ever, on absolute deadlines.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::Value;

use super::cues::{Cue, CueTime, Cues};
use super::player::Player;
use super::queue::{Interrupted, POSITION_HZ, Passed, PlayoutQueue, Pulled, TICK_FRAMES};
use super::telephone::Telephone;
use super::ticker::{Tick, Ticker};
use super::timeline::Timeline;
use super::unpacker::Unpacker;
use crate::codec::AudioCodec;
use crate::config::MediaConfig;
use crate::error::DropReason;
use crate::media::audio::check_audio;
use crate::media::{AudioChunk, PushOutcome};
use crate::media_clock::{self, MediaClock};
use crate::media_pool::{Class, Next, PoolHandle, Task, TaskHandle};
use crate::wall_clock::unix_ms_at;

/// A packet of sound: 20 ms, or what was pushed as one.
#[derive(Debug, Clone, PartialEq)]
pub struct EncodedAudio {
    /// Of which layer.
    pub codec: AudioCodec,
    /// One packet.
    pub data: Bytes,
    /// Where it begins on the media clock, in samples at [`POSITION_HZ`] since 1970: a multiple of 120 (2.5 ms). The clock
    /// runs on in silence.
    pub position: u64,
    /// How long it plays.
    pub length: Duration,
    /// Whether there is something to hear in it.
    pub is_sound: bool,
    /// Whether a talk-spurt begins here: the RTP marker (RFC 7587 section 4.1, RFC 3551 section 4.1).
    pub spurt_start: bool,
}

impl EncodedAudio {
    /// Where the next one may begin.
    pub fn end(&self) -> u64 {
        self.position + (self.length.as_nanos() * u128::from(POSITION_HZ) / 1_000_000_000) as u64
    }
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

/// Less is concealed without being noticed.
const AUDIBLE_LOSS: f64 = 0.01;
/// Reports come at least every 5 s (RFC 3550, 6.2): one or two good ones are no proof yet.
const REDUNDANCY_AFTER_LOSS: Duration = Duration::from_secs(30);

/// Silence before the first sound is so late, as what is pushed piece by piece will be: packets of it must not take the
/// place of sound on the media clock.
const SILENCE_BEHIND_MS: f64 = 60.0;

/// Packets begin at multiples of 2.5 ms: whole ticks of the clocks of Opus and G.711.
const PLACES_HZ: u32 = 400;

/// What a pipeline tells, beside the packets.
#[derive(Debug, Clone, PartialEq)]
pub enum Notice {
    /// Everything that was pushed has been played.
    Ended,
    /// These are due within a second.
    Cues(Vec<Cue>),
    /// Something went wrong.
    Warning(String),
}

/// Takes notices, on the pool's threads: it must not block.
pub type Notify = Box<dyn Fn(Notice) + Send>;

/// The audio queue and what plays it. Once this is dropped nothing more comes out.
pub struct AudioPipeline {
    shared: Arc<Shared>,
    _task: TaskHandle,
}

struct Shared {
    waiting: Mutex<Waiting>,
    clock: Arc<Mutex<MediaClock>>,
    /// The layers that somebody listens to, a bit each.
    heard: AtomicU8,
    /// When a listener last reported loss.
    loss: Mutex<Option<Instant>>,
    chunks: AtomicU64,
    dropped_chunks: AtomicU64,
    packets: AtomicU64,
    spurts: AtomicU64,
    skipped_ticks: AtomicU64,
    failed_ticks: AtomicU64,
}

/// What was pushed, when that is heard, and what is to happen meanwhile.
struct Waiting {
    queue: PlayoutQueue,
    timeline: Timeline,
    cues: Cues,
}

impl AudioPipeline {
    /// Plays on `pool` by the times of `clock`; `output` is called on its threads, and must not block.
    /// Nobody is taken to listen until [`Self::set_heard`].
    pub fn spawn(
        pool: &PoolHandle,
        config: &MediaConfig,
        clock: Arc<Mutex<MediaClock>>,
        output: Box<dyn FnMut(EncodedAudio) + Send>,
        notify: Notify,
    ) -> io::Result<Self> {
        let player = Player::new().map_err(io::Error::other)?;
        let shared = Arc::new(Shared {
            waiting: Mutex::new(Waiting {
                queue: PlayoutQueue::new(config.max_audio_queue),
                timeline: Timeline::default(),
                cues: Cues::default(),
            }),
            clock,
            heard: AtomicU8::new(0),
            loss: Mutex::new(None),
            chunks: AtomicU64::new(0),
            dropped_chunks: AtomicU64::new(0),
            packets: AtomicU64::new(0),
            spurts: AtomicU64::new(0),
            skipped_ticks: AtomicU64::new(0),
            failed_ticks: AtomicU64::new(0),
        });
        let now = Instant::now();
        let worker = Worker {
            shared: Arc::clone(&shared),
            player,
            telephone: None,
            unpacker: None,
            ticker: Ticker::new(now, position_of(unix_ms_at(now) - SILENCE_BEHIND_MS)),
            sent_until: 0,
            samples: Vec::new(),
            packets: Vec::new(),
            is_sounding: false,
            output,
            notify,
        };
        Ok(Self {
            shared,
            _task: pool.spawn(Class::Sound, Next::At(now), worker),
        })
    }

    /// Copies a chunk into the queue; the caller may reuse its buffer.
    pub fn push(&self, chunk: AudioChunk<'_>) -> PushOutcome {
        let outcome = match check_audio(&chunk) {
            Ok(()) => self.shared.push(&chunk, Instant::now()),
            Err(reason) => PushOutcome::Dropped(reason),
        };
        match outcome {
            PushOutcome::Queued => self.shared.chunks.fetch_add(1, Relaxed),
            PushOutcome::Dropped(_) => self.shared.dropped_chunks.fetch_add(1, Relaxed),
        };
        outcome
    }

    /// Drops everything that waits to be played; what plays ends as [`PlayoutQueue::interrupt`] says.
    pub fn interrupt(&self) -> Interrupted {
        let waiting = &mut *self.shared.waiting.lock();
        waiting.timeline.clear();
        Interrupted {
            recalls_cues: waiting.cues.clear(),
            ..waiting.queue.interrupt()
        }
    }

    /// Has `data` happen at a moment of the sound. An interruption drops it.
    pub fn push_cue(&self, time: CueTime, data: Value) -> PushOutcome {
        let waiting = &mut *self.shared.waiting.lock();
        let media_ms = match time {
            CueTime::InChunk(ms) => match waiting.timeline.start_ms() {
                Some(start_ms) => start_ms + ms,
                None => return PushOutcome::Dropped(DropReason::NoSound),
            },
            CueTime::Timestamp(ms) => self.shared.clock.lock().moment(ms),
        };
        match waiting.cues.push(position_of(media_ms), data) {
            true => PushOutcome::Queued,
            false => PushOutcome::Dropped(DropReason::QueueFull),
        }
    }

    /// Says which layers somebody listens to: those are encoded, and no other. The queue plays on also for nobody.
    pub fn set_heard(&self, codecs: &[AudioCodec]) {
        let bits = codecs.iter().fold(0, |bits, codec| bits | bit(*codec));
        self.shared.heard.store(bits, Relaxed);
    }

    /// A listener says which share of the packets it lost lately, from 0 to 1. From 1 % on the next 30 s have a
    /// redundant copy in each packet.
    pub fn report_loss(&self, share: f64, now: Instant) {
        if share >= AUDIBLE_LOSS {
            *self.shared.loss.lock() = Some(now);
        }
    }

    /// How much waits to be played.
    pub fn queued(&self) -> Duration {
        self.shared.waiting.lock().queue.queued()
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

impl Shared {
    fn push(&self, chunk: &AudioChunk<'_>, now: Instant) -> PushOutcome {
        let Waiting {
            queue, timeline, ..
        } = &mut *self.waiting.lock();
        let queued = queue.queued();
        let begins = timeline.place(
            &mut self.clock.lock(),
            chunk.timestamp_ms,
            unix_ms_at(now),
            !queued.is_zero(),
        );
        let outcome = queue.push(chunk, begins, now);
        if outcome == PushOutcome::Queued {
            timeline.add(begins, queue.queued().saturating_sub(queued));
        } else {
            timeline.forget_start();
        }
        outcome
    }
}

/// What runs on the pool.
struct Worker {
    shared: Arc<Shared>,
    player: Player,
    /// While somebody listens to G.711.
    telephone: Option<Telephone>,
    /// While they listen to passed packets.
    unpacker: Option<Unpacker>,
    ticker: Ticker,
    /// Where the last packet ended: the next one does not begin before.
    sent_until: u64,
    samples: Vec<f32>,
    packets: Vec<Passed>,
    /// The last tick was not silence.
    is_sounding: bool,
    output: Box<dyn FnMut(EncodedAudio) + Send>,
    notify: Notify,
}

/// What a tick plays.
#[derive(Clone, Copy)]
enum Sound {
    Silence,
    /// What is in `Worker::samples`.
    Samples(Pulled),
    /// What is in `Worker::packets`.
    Packets {
        spurt_start: bool,
    },
}

impl Task for Worker {
    fn run(&mut self, now: Instant) -> Next {
        if now >= self.ticker.deadline() {
            self.tick(now);
        }
        Next::At(self.ticker.deadline())
    }

    fn on_panic(&mut self) {
        let text = "the sound encoder crashed: no more sound until the next start";
        (self.notify)(Notice::Warning(text.to_owned()));
    }
}

impl Worker {
    fn tick(&mut self, now: Instant) {
        let mut tick = self.ticker.tick(now);
        self.shared.skipped_ticks.fetch_add(tick.skipped, Relaxed);
        let sound = self.pull(&mut tick);
        let shared = &self.shared;
        if sound.begins_spurt() {
            shared.spurts.fetch_add(1, Relaxed);
        }
        let is_sounding = !matches!(sound, Sound::Silence);
        if std::mem::replace(&mut self.is_sounding, is_sounding) && !is_sounding {
            (self.notify)(Notice::Ended);
        }
        let heard = shared.heard.load(Relaxed);
        let redundant = (*shared.loss.lock())
            .is_some_and(|at| now.saturating_duration_since(at) < REDUNDANCY_AFTER_LOSS);
        let played = (self.player.set_redundant(redundant))
            .and_then(|()| self.play_opus(sound, &tick, heard & bit(AudioCodec::Opus) != 0));
        if let Err(error) = played {
            self.on_failure(&error);
        }
        let is_heard = |codec: &AudioCodec| heard & bit(*codec) != 0;
        let telephone = [AudioCodec::Pcmu, AudioCodec::Pcma]
            .into_iter()
            .filter(is_heard);
        if telephone.clone().next().is_none() {
            (self.telephone, self.unpacker) = (None, None);
        } else if let Err(error) = self.play_telephone(sound, &tick, telephone) {
            self.on_failure(&error);
        }
    }

    /// Fetches what this tick plays, and gives it its place on the media clock.
    fn pull(&mut self, tick: &mut Tick) -> Sound {
        let Waiting { queue, cues, .. } = &mut *self.shared.waiting.lock();
        let sound = match queue.pass(tick.at, &mut self.packets) {
            Some(spurt_start) => Sound::Packets { spurt_start },
            None => match queue.pull(tick.at, &mut self.samples) {
                Some(pulled) => Sound::Samples(pulled),
                None => Sound::Silence,
            },
        };
        if let Some(begun_ms) = queue.take_begun_ms() {
            tick.position = position_of(begun_ms).max(self.sent_until);
            self.ticker.move_to(tick.position);
        } else if tick.skipped > 0 && !matches!(sound, Sound::Silence) {
            // What is played now is late, and nothing of it was left out.
            tick.position -= tick.skipped * TICK_FRAMES as u64;
            self.ticker.move_to(tick.position);
        }
        let due = cues.take(tick.position);
        if !due.is_empty() {
            // Under the lock, so that no cue follows the interruption that drops it.
            (self.notify)(Notice::Cues(due));
        }
        sound
    }

    fn play_opus(&mut self, sound: Sound, tick: &Tick, is_heard: bool) -> Result<(), opus::Error> {
        let Self {
            shared,
            player,
            output,
            sent_until,
            ..
        } = self;
        let mut send = |audio: EncodedAudio| {
            shared.packets.fetch_add(1, Relaxed);
            *sent_until = audio.end().max(*sent_until);
            output(audio);
        };
        let samples = match sound {
            Sound::Packets { spurt_start } => {
                let (packets, at) = (&self.packets, tick.position);
                return player.pass(packets, spurt_start, at, is_heard, send);
            }
            Sound::Samples(pulled) => Some((pulled, self.samples.as_slice())),
            Sound::Silence => None,
        };
        let played = player.play(samples, tick.position, is_heard)?;
        played.into_iter().for_each(&mut send);
        Ok(())
    }

    fn play_telephone(
        &mut self,
        sound: Sound,
        tick: &Tick,
        codecs: impl Iterator<Item = AudioCodec>,
    ) -> Result<(), String> {
        let samples = match sound {
            Sound::Packets { spurt_start } => {
                let unpacker = match &mut self.unpacker {
                    Some(unpacker) if !spurt_start => unpacker,
                    unpacker => {
                        unpacker.insert(Unpacker::new().map_err(|error| error.to_string())?)
                    }
                };
                Some(unpacker.unpack(&self.packets, spurt_start))
            }
            Sound::Samples(pulled) => Some((pulled, self.samples.as_slice())),
            Sound::Silence => None,
        };
        let telephone = match &mut self.telephone {
            Some(telephone) => telephone,
            telephone => telephone.insert(Telephone::new().map_err(|error| error.to_string())?),
        };
        let played = telephone.play(samples, tick.position, codecs, |audio| {
            self.shared.packets.fetch_add(1, Relaxed);
            self.sent_until = audio.end().max(self.sent_until);
            (self.output)(audio);
        });
        played.map_err(|error| error.to_string())
    }

    fn on_failure(&self, error: &dyn std::fmt::Display) {
        if self.shared.failed_ticks.fetch_add(1, Relaxed) == 0 {
            tracing::error!(%error, "cannot encode sound");
            (self.notify)(Notice::Warning(format!("sound not sent: {error}")));
        }
    }
}

impl Sound {
    fn begins_spurt(self) -> bool {
        match self {
            Self::Silence => false,
            Self::Samples(pulled) => pulled.spurt_start,
            Self::Packets { spurt_start } => spurt_start,
        }
    }
}

/// A place on the media clock where a packet may begin: a multiple of 2.5 ms.
fn position_of(media_ms: f64) -> u64 {
    media_clock::ticks(media_ms, PLACES_HZ) * u64::from(POSITION_HZ / PLACES_HZ)
}

fn bit(codec: AudioCodec) -> u8 {
    1 << codec as u8
}

//! What is played at each tick: samples to encode, or packets to pass on.
//!
//! Decoding and resampling happen at the pull, 5 ms at a time: pushing a minute of speech costs little more than a copy. What plays has
//! the lowest of three rates that holds everything pushed so far: sound of that rate is not resampled at all, and the
//! encoder has no more to do than it must.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::backlog::{Backlog, Next};
use crate::media::audio::{Resampler, resample_piece};
use crate::media::{AudioChunk, PushOutcome};

/// What positions are counted in, whatever the rate of the sound: as the clock of Opus (RFC 7587, 4.1).
pub const POSITION_HZ: u32 = 48_000;

/// How far a tick advances the position: 20 ms.
pub const TICK_FRAMES: usize = POSITION_HZ as usize / TICKS_A_SECOND;

/// How often something is played.
pub(super) const TICK: Duration = Duration::from_millis(20);
/// Ticks of 20 ms.
pub(super) const TICKS_A_SECOND: usize = 50;

/// What is encoded without resampling, in Hz. Opus also takes 8 and 12 kHz (RFC 6716, 2), but a decoder that has heard
/// them starts anew at a higher rate, which is heard for 150 ms.
pub(super) const RATES: [u32; 3] = [16_000, 24_000, 48_000];

/// Playing starts when the oldest chunk has waited this long: a source that pushes piece by piece in real time may then run
/// so late without a gap.
const START_WAITED: Duration = Duration::from_millis(40);
/// With this much queued nobody need wait: a whole utterance starts at the next tick.
const START_QUEUED: Duration = Duration::from_millis(250);
/// The ends of a talk-spurt are faded over 5 ms, a quarter of a tick. So much is held back while it plays, so that
/// there is always something to fade when the source runs dry in mid-word.
const FADES_A_TICK: usize = 4;
/// The queue. Pure: time is an argument.
pub struct PlayoutQueue {
    limit: Duration,
    backlog: Backlog,
    converter: Option<Converter>,
    /// One of [`RATES`]; it only rises.
    rate: u32,
    /// At this rate, both sides.
    ready: VecDeque<[f32; 2]>,
    /// How many of the ready frames, counted from the first, contain every stereo one.
    stereo: usize,
    state: State,
    /// Of this talk-spurt.
    played: Duration,
    /// Where it began on the media clock, until that was asked.
    begun_ms: Option<f64>,
}

/// When a chunk is to be heard that does not simply follow what is queued.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Begins {
    /// On the media clock, in ms.
    pub media_ms: f64,
    /// How long after what is queued; if nothing is, from now on.
    pub after: Duration,
}

/// What a tick plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pulled {
    /// Frames a second: 16,000, 24,000 or 48,000.
    pub rate: u32,
    /// 1 or 2, interleaved.
    pub channels: usize,
    /// Whether a talk-spurt begins with this tick.
    pub spurt_start: bool,
}

/// What an interruption did to the sound that was being played or waited to be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Interrupted {
    /// Of the talk-spurt that was cut off, what was played.
    pub played: Duration,
    /// What will not be.
    pub discarded: Duration,
    /// How long what plays still takes to fade out.
    pub tail: Duration,
    /// Whether somebody was told of a cue that does not happen any more.
    pub recalls_cues: bool,
}

/// A packet that is passed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passed {
    /// The packet, as it was pushed.
    pub data: Bytes,
    /// Where it begins, in samples at [`POSITION_HZ`] behind the beginning of the tick.
    pub at: usize,
    /// How long it plays, in the same; it may outlast the tick.
    pub frames: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Idle,
    Playing,
    /// The source ran dry: what is ready is faded out and played to its end.
    Ending,
    /// Packets are passed on; those given so far reach so far into the next tick.
    Passing {
        ahead: usize,
    },
}

struct Converter {
    rate: u32,
    channels: usize,
    resampler: Resampler,
    input: Vec<f32>,
    output: Vec<f32>,
}

impl PlayoutQueue {
    /// A queue that holds at most `limit` of sound.
    pub fn new(limit: Duration) -> Self {
        Self {
            limit,
            backlog: Backlog::default(),
            converter: None,
            rate: RATES[0],
            ready: VecDeque::new(),
            stereo: 0,
            state: State::Idle,
            played: Duration::ZERO,
            begun_ms: None,
        }
    }

    /// Takes a chunk that [`crate::media::audio::check_audio`] accepts, whole or not at all. Without `begins` it follows what
    /// is queued, or is played as soon as may be.
    pub fn push(
        &mut self,
        chunk: &AudioChunk<'_>,
        begins: Option<Begins>,
        now: Instant,
    ) -> PushOutcome {
        let queued = self.queued();
        let (room, is_first) = (self.limit.saturating_sub(queued), queued.is_zero());
        match self.backlog.push(chunk, begins, is_first, room, now) {
            Ok(()) => PushOutcome::Queued,
            Err(reason) => PushOutcome::Dropped(reason),
        }
    }

    /// Fills `out` with the packets that begin in this tick, and tells whether they begin a talk-spurt; `None` when it is
    /// not packets that play now. Then [`Self::pull`] has what does.
    pub fn pass(&mut self, now: Instant, out: &mut Vec<Passed>) -> Option<bool> {
        out.clear();
        let spurt_start = self.state == State::Idle;
        let mut ahead = match self.state {
            State::Passing { ahead } => ahead,
            State::Idle => 0,
            State::Playing | State::Ending => return None,
        };
        if spurt_start {
            if !self.may_start(now) {
                return None;
            }
            self.begun_ms = self.backlog.begins_ms();
        }
        while ahead < TICK_FRAMES
            && let Some((data, frames)) = self.backlog.take_packet()
        {
            out.push(Passed {
                data,
                at: ahead,
                frames,
            });
            ahead += frames;
        }
        if ahead > 0 {
            self.count_played(spurt_start, ahead.min(TICK_FRAMES), POSITION_HZ);
        }
        self.state = match ahead.checked_sub(TICK_FRAMES) {
            Some(ahead) => State::Passing { ahead },
            None => {
                self.played = Duration::ZERO;
                State::Idle
            }
        };
        (ahead > 0).then_some(spurt_start)
    }

    /// Fills `out` with one tick of interleaved sound, or gives `None` when there is nothing to play.
    pub fn pull(&mut self, now: Instant, out: &mut Vec<f32>) -> Option<Pulled> {
        out.clear();
        let spurt_start = self.state == State::Idle;
        if spurt_start && !self.may_start(now) || matches!(self.state, State::Passing { .. }) {
            return None;
        }
        if spurt_start {
            self.begun_ms = self.backlog.begins_ms();
        }
        if self.state != State::Ending {
            self.state = State::Playing;
            let is_full = self.fill();
            let length = self.fade_frames();
            if !is_full {
                self.state = State::Ending;
                fade(self.ready.iter_mut().rev(), length);
            }
            if spurt_start {
                fade(self.ready.iter_mut(), length);
            }
        }
        let channels = if self.stereo > 0 { 2 } else { 1 };
        let frames = self.ready.len().min(self.tick_frames());
        for frame in self.ready.drain(..frames) {
            out.extend_from_slice(&frame[..channels]);
        }
        out.resize(self.tick_frames() * channels, 0.0);
        self.count_played(spurt_start, frames, self.rate);
        self.stereo = self.stereo.saturating_sub(frames);
        if self.state == State::Ending && self.ready.is_empty() {
            self.state = State::Idle;
            self.played = Duration::ZERO;
        }
        Some(Pulled {
            rate: self.rate,
            channels,
            spurt_start,
        })
    }

    /// Drops everything that waits. What plays fades out within the next tick; a packet that was passed on is played to
    /// its end.
    pub fn interrupt(&mut self) -> Interrupted {
        let discarded = self.queued().saturating_sub(self.passed_on());
        self.backlog = Backlog::default();
        self.converter = None;
        if self.state == State::Playing {
            let fade_frames = self.fade_frames();
            self.ready.truncate(fade_frames);
            fade(self.ready.iter_mut().rev(), fade_frames);
            self.stereo = self.stereo.min(self.ready.len());
            self.state = match self.ready.is_empty() {
                true => State::Idle,
                false => State::Ending,
            };
        }
        Interrupted {
            played: std::mem::take(&mut self.played),
            discarded,
            tail: match self.state {
                State::Ending => TICK,
                _ => Duration::ZERO,
            },
            recalls_cues: false,
        }
    }

    fn count_played(&mut self, spurt_start: bool, frames: usize, rate: u32) {
        if spurt_start {
            self.played = Duration::ZERO;
        }
        self.played += Duration::from_secs(frames as u64) / rate;
    }

    /// How much waits to be played.
    pub fn queued(&self) -> Duration {
        let ready = Duration::from_secs(self.ready.len() as u64) / self.rate;
        self.backlog.length() + ready + self.passed_on()
    }

    /// What was passed on ahead of its time.
    fn passed_on(&self) -> Duration {
        match self.state {
            State::Passing { ahead } => Duration::from_secs(ahead as u64) / POSITION_HZ,
            _ => Duration::ZERO,
        }
    }

    /// Where on the media clock the talk-spurt began whose first tick was taken just now; once, if that was said.
    pub fn take_begun_ms(&mut self) -> Option<f64> {
        self.begun_ms.take()
    }

    fn may_start(&mut self, now: Instant) -> bool {
        self.backlog.due(now).is_some_and(|arrived| {
            self.backlog.length() >= START_QUEUED
                || now.saturating_duration_since(arrived) >= START_WAITED
        })
    }

    fn tick_frames(&self) -> usize {
        self.rate as usize / TICKS_A_SECOND
    }

    fn fade_frames(&self) -> usize {
        self.tick_frames() / FADES_A_TICK
    }

    /// Converts until a tick and what is held back behind it are ready; false: before that nothing was left.
    fn fill(&mut self) -> bool {
        while self.ready.len() < self.tick_frames() + self.fade_frames() {
            let Some(Next::Samples { rate, channels }) = self.backlog.next() else {
                self.finish_converter();
                return self.ready.len() >= self.tick_frames() + self.fade_frames();
            };
            match &mut self.converter {
                Some(converter) if (converter.rate, converter.channels) == (rate, channels) => {
                    converter.input.clear();
                    let wanted = converter.resampler.wanted().max(1);
                    self.backlog.take_samples(wanted, &mut converter.input);
                    let output = &mut converter.output;
                    converter.resampler.push(&converter.input, output);
                    self.collect();
                }
                _ => {
                    self.finish_converter();
                    self.raise_rate(encoder_rate(rate));
                    self.converter = Converter::new((rate, channels), self.rate);
                    if self.converter.is_none() {
                        // Not reached with checked chunks; a chunk without a converter would stay for ever.
                        self.backlog.skip();
                    }
                }
            }
        }
        true
    }

    /// Makes `rate` the rate of all that plays from now on, what is ready included, unless it is higher already.
    fn raise_rate(&mut self, rate: u32) {
        if rate <= self.rate {
            return;
        }
        let (old, new) = (self.rate as usize, rate as usize);
        let ready = self.ready.make_contiguous().as_flattened();
        // The rates are constants of ours: a resampler for them exists.
        let raised = resample_piece(ready, 2, self.rate, rate).unwrap_or_default();
        self.ready = raised.as_chunks::<2>().0.iter().copied().collect();
        self.stereo = (self.stereo * new).div_ceil(old).min(self.ready.len());
        self.rate = rate;
    }

    fn finish_converter(&mut self) {
        if let Some(converter) = &mut self.converter {
            converter.resampler.finish(&mut converter.output);
        }
        self.collect();
    }

    fn collect(&mut self) {
        let Some(converter) = &mut self.converter else {
            return;
        };
        if converter.channels == 1 {
            self.ready
                .extend(converter.output.drain(..).map(|sample| [sample; 2]));
        } else if !converter.output.is_empty() {
            self.ready.extend(converter.output.as_chunks::<2>().0);
            self.stereo = self.ready.len();
            converter.output.clear();
        }
    }
}

impl Converter {
    fn new((rate, channels): (u32, usize), to: u32) -> Option<Self> {
        Some(Self {
            rate,
            channels,
            resampler: Resampler::new(rate, to, channels).ok()?,
            input: Vec::new(),
            output: Vec::new(),
        })
    }
}

/// The lowest rate that loses nothing of sound at `rate` (but for what is above 24 kHz, as with all of Opus).
fn encoder_rate(rate: u32) -> u32 {
    let [.., highest] = RATES;
    RATES
        .into_iter()
        .find(|encoded| *encoded >= rate)
        .unwrap_or(highest)
}

/// Raises the first `length` of `frames` from silence.
fn fade<'a>(frames: impl ExactSizeIterator<Item = &'a mut [f32; 2]>, length: usize) {
    let length = frames.len().min(length);
    for (n, frame) in frames.take(length).enumerate() {
        let gain = (n as f32 + 0.5) / length as f32;
        frame[0] *= gain;
        frame[1] *= gain;
    }
}

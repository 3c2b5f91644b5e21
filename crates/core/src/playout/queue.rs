//! What waits to be played, as it was pushed, and what is played at each tick.
//!
//! Resampling happens at the pull, 5 ms at a time: pushing a minute of speech costs one copy. What plays has the
//! lowest of three rates that holds everything pushed so far: sound of that rate is not resampled at all, and the
//! encoder has no more to do than it must.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::error::DropReason;
use crate::media::audio::{Resampler, extend_f32, resample_piece};
use crate::media::{AudioChunk, PushOutcome};

/// What positions are counted in, whatever the rate of the sound: as the clock of Opus (RFC 7587, 4.1).
pub const POSITION_HZ: u32 = 48_000;

/// How far a tick advances the position: 20 ms.
pub const TICK_FRAMES: usize = POSITION_HZ as usize / TICKS_A_SECOND;

/// Ticks of 20 ms.
pub(super) const TICKS_A_SECOND: usize = 50;

/// What is encoded without resampling, in Hz. Opus also takes 8 and 12 kHz (RFC 6716, 2), but a decoder that has heard
/// them starts anew at a higher rate, which is heard for 150 ms.
pub(super) const RATES: [u32; 3] = [16_000, 24_000, 48_000];

/// Playing starts with this much queued: three 20 ms chunks, of which a source may run 20 ms late without
/// a gap; a whole utterance starts at the next tick.
const START_QUEUED: Duration = Duration::from_millis(60);
/// Playing also starts when the oldest chunk has waited this long, so that a short sound is played at all.
const START_WAITED: Duration = Duration::from_millis(40);
/// The ends of a talk-spurt are faded over 5 ms, a quarter of a tick. So much is held back while it plays, so that
/// there is always something to fade when the source runs dry in mid-word.
const FADES_A_TICK: usize = 4;
/// Chunks of one format are joined up to this size: one-sample chunks must not cost an allocation each.
const JOINED_BYTES: usize = 16 * 1024;

/// The queue. Pure: time is an argument.
pub struct PlayoutQueue {
    limit: Duration,
    chunks: VecDeque<Chunk>,
    /// Bytes of the first chunk that are already taken.
    taken: usize,
    /// Length of all chunks, taken bytes included.
    length: Duration,
    converter: Option<Converter>,
    /// One of [`RATES`]; it only rises.
    rate: u32,
    /// At this rate, both sides.
    ready: VecDeque<[f32; 2]>,
    /// How many of the ready frames, counted from the first, contain every stereo one.
    stereo: usize,
    state: State,
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

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Idle,
    Playing,
    /// The source ran dry: what is ready is faded out and played to its end.
    Ending,
}

struct Chunk {
    data: Vec<u8>,
    rate: u32,
    channels: usize,
    arrived: Instant,
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
            chunks: VecDeque::new(),
            taken: 0,
            length: Duration::ZERO,
            converter: None,
            rate: RATES[0],
            ready: VecDeque::new(),
            stereo: 0,
            state: State::Idle,
        }
    }

    /// Takes a chunk that [`crate::media::audio::check_audio`] accepts, whole or not at all.
    pub fn push(&mut self, chunk: &AudioChunk<'_>, now: Instant) -> PushOutcome {
        let channels = chunk.channels as usize;
        let added = duration(chunk.data.len(), chunk.sample_rate, channels);
        if self.queued() + added > self.limit {
            return PushOutcome::Dropped(DropReason::QueueFull);
        }
        match self.chunks.back_mut() {
            Some(last)
                if (last.rate, last.channels) == (chunk.sample_rate, channels)
                    && last.data.len() + chunk.data.len() <= JOINED_BYTES =>
            {
                self.length -= last.duration();
                last.data.extend_from_slice(chunk.data);
                self.length += last.duration();
            }
            _ => {
                self.length += added;
                self.chunks.push_back(Chunk {
                    data: chunk.data.to_vec(),
                    rate: chunk.sample_rate,
                    channels,
                    arrived: now,
                });
            }
        }
        PushOutcome::Queued
    }

    /// Fills `out` with one tick of interleaved sound, or gives `None` when there is nothing to play.
    pub fn pull(&mut self, now: Instant, out: &mut Vec<f32>) -> Option<Pulled> {
        out.clear();
        let spurt_start = self.state == State::Idle;
        if spurt_start && !self.may_start(now) {
            return None;
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
        self.stereo = self.stereo.saturating_sub(frames);
        if self.state == State::Ending && self.ready.is_empty() {
            self.state = State::Idle;
        }
        Some(Pulled {
            rate: self.rate,
            channels,
            spurt_start,
        })
    }

    /// How much waits to be played.
    pub fn queued(&self) -> Duration {
        let taken = self.chunks.front().map_or(Duration::ZERO, |first| {
            duration(self.taken, first.rate, first.channels)
        });
        let ready = Duration::from_secs(self.ready.len() as u64) / self.rate;
        self.length.saturating_sub(taken) + ready
    }

    fn may_start(&self, now: Instant) -> bool {
        self.chunks.front().is_some_and(|oldest| {
            self.length >= START_QUEUED
                || now.saturating_duration_since(oldest.arrived) >= START_WAITED
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
            let Some(first) = self.chunks.front() else {
                self.finish_converter();
                return self.ready.len() >= self.tick_frames() + self.fade_frames();
            };
            let format = (first.rate, first.channels);
            match &mut self.converter {
                Some(converter) if (converter.rate, converter.channels) == format => {
                    let wanted = converter.resampler.wanted().max(1) * 2 * first.channels;
                    let end = (self.taken + wanted).min(first.data.len());
                    let bytes = first.data.get(self.taken..end).unwrap_or_default();
                    converter.push(bytes);
                    self.taken = end;
                    if end == first.data.len() {
                        self.length = self.length.saturating_sub(first.duration());
                        self.chunks.pop_front();
                        self.taken = 0;
                    }
                    self.collect();
                }
                _ => {
                    self.finish_converter();
                    self.raise_rate(encoder_rate(format.0));
                    self.converter = Converter::new(format, self.rate);
                    if self.converter.is_none() {
                        // Not reached with checked chunks; a chunk without a converter would stay for ever.
                        self.length = self.length.saturating_sub(first_duration(&self.chunks));
                        self.chunks.pop_front();
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

impl Chunk {
    fn duration(&self) -> Duration {
        duration(self.data.len(), self.rate, self.channels)
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

    fn push(&mut self, bytes: &[u8]) {
        self.input.clear();
        extend_f32(bytes, &mut self.input);
        self.resampler.push(&self.input, &mut self.output);
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

fn first_duration(chunks: &VecDeque<Chunk>) -> Duration {
    chunks.front().map_or(Duration::ZERO, Chunk::duration)
}

fn duration(bytes: usize, rate: u32, channels: usize) -> Duration {
    let frames = (bytes / (2 * channels.max(1))) as u64;
    Duration::from_nanos(frames.saturating_mul(1_000_000_000) / u64::from(rate.max(1)))
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

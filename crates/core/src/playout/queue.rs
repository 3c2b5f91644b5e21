//! What waits to be played, as it was pushed, and what is played at each tick.
//!
//! Resampling happens at the pull, 5 ms at a time: pushing a minute of speech costs one copy.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::error::DropReason;
use crate::media::audio::{Resampler, extend_f32};
use crate::media::{AudioChunk, PushOutcome};

/// Frames a tick: 20 ms at 48 kHz.
pub const TICK_FRAMES: usize = 960;

/// Playing starts with this much queued: three 20 ms chunks, of which a source may run 20 ms late without
/// a gap; a whole utterance starts at the next tick.
const START_QUEUED: Duration = Duration::from_millis(60);
/// Playing also starts when the oldest chunk has waited this long, so that a short sound is played at all.
const START_WAITED: Duration = Duration::from_millis(40);
/// The ends of a talk-spurt are faded over 5 ms. So many frames are held back while it plays, so that there
/// is always something to fade when the source runs dry in mid-word.
const FADE_FRAMES: usize = 240;
/// Chunks of one format are joined up to this size: one-sample chunks must not cost an allocation each.
const JOINED_BYTES: usize = 16 * 1024;
/// Samples a second and channel of what is pulled.
pub const RATE: u32 = 48_000;

/// The queue. Pure: time is an argument.
pub struct PlayoutQueue {
    limit: Duration,
    chunks: VecDeque<Chunk>,
    /// Bytes of the first chunk that are already taken.
    taken: usize,
    /// Length of all chunks, taken bytes included.
    length: Duration,
    converter: Option<Converter>,
    /// 48 kHz, both sides.
    ready: VecDeque<[f32; 2]>,
    /// How many of the ready frames, counted from the first, contain every stereo one.
    stereo: usize,
    state: State,
}

/// What a tick plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pulled {
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
            self.fill(TICK_FRAMES + FADE_FRAMES);
            if self.ready.len() < TICK_FRAMES + FADE_FRAMES {
                self.state = State::Ending;
                fade(self.ready.iter_mut().rev());
            }
            if spurt_start {
                fade(self.ready.iter_mut());
            }
        }
        let channels = if self.stereo > 0 { 2 } else { 1 };
        let frames = self.ready.len().min(TICK_FRAMES);
        for frame in self.ready.drain(..frames) {
            out.extend_from_slice(&frame[..channels]);
        }
        out.resize(TICK_FRAMES * channels, 0.0);
        self.stereo = self.stereo.saturating_sub(frames);
        if self.state == State::Ending && self.ready.is_empty() {
            self.state = State::Idle;
        }
        Some(Pulled {
            channels,
            spurt_start,
        })
    }

    /// How much waits to be played.
    pub fn queued(&self) -> Duration {
        let taken = self.chunks.front().map_or(Duration::ZERO, |first| {
            duration(self.taken, first.rate, first.channels)
        });
        let ready = Duration::from_secs(self.ready.len() as u64) / RATE;
        self.length.saturating_sub(taken) + ready
    }

    fn may_start(&self, now: Instant) -> bool {
        self.chunks.front().is_some_and(|oldest| {
            self.length >= START_QUEUED
                || now.saturating_duration_since(oldest.arrived) >= START_WAITED
        })
    }

    /// Converts until `frames` are ready or nothing is left.
    fn fill(&mut self, frames: usize) {
        while self.ready.len() < frames {
            let Some(first) = self.chunks.front() else {
                self.finish_converter();
                return;
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
                    self.converter = Converter::new(format.0, format.1);
                    if self.converter.is_none() {
                        // Not reached with checked chunks; a chunk without a converter would stay for ever.
                        self.length = self.length.saturating_sub(first_duration(&self.chunks));
                        self.chunks.pop_front();
                    }
                }
            }
        }
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
    fn new(rate: u32, channels: usize) -> Option<Self> {
        Some(Self {
            rate,
            channels,
            resampler: Resampler::new(rate, RATE, channels).ok()?,
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

fn first_duration(chunks: &VecDeque<Chunk>) -> Duration {
    chunks.front().map_or(Duration::ZERO, Chunk::duration)
}

fn duration(bytes: usize, rate: u32, channels: usize) -> Duration {
    let frames = (bytes / (2 * channels.max(1))) as u64;
    Duration::from_nanos(frames.saturating_mul(1_000_000_000) / u64::from(rate.max(1)))
}

/// Raises the first frames of `frames` from silence.
fn fade<'a>(frames: impl ExactSizeIterator<Item = &'a mut [f32; 2]>) {
    let length = frames.len().min(FADE_FRAMES);
    for (n, frame) in frames.take(length).enumerate() {
        let gain = (n as f32 + 0.5) / length as f32;
        frame[0] *= gain;
        frame[1] *= gain;
    }
}

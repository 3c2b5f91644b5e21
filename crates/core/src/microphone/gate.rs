//! Lets sound through while somebody speaks, with a little from before and after.
//!
//! Pure: time is counted in samples.

use std::collections::VecDeque;
use std::time::Duration;

use super::Wanted;
use crate::config::MicrophoneConfig;

/// The gate opens, and stays open, while so many of the last [`WINDOW`] answers (16 ms each) are "voice":
/// a click or one wrong answer is not speech.
const ENOUGH: usize = 3;
/// What the detector needs for an answer.
const ANSWER_MS: f64 = 16.0;
const WINDOW: usize = 5;
/// Timestamps are set right when they are further off than this.
const MOST_APART_MS: f64 = 100.0;
/// The longest utterance: more than recognisers take at once, and 1.9 MB at 16 kHz.
const LONGEST_UTTERANCE: Duration = Duration::from_secs(60);

/// A piece of sound.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Piece {
    /// Interleaved.
    pub(super) samples: Vec<i16>,
    /// When its first sample was received, in ms of the Unix clock.
    pub(super) timestamp_ms: f64,
}

/// What comes out of the gate.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Passed {
    /// Exactly [`MicrophoneConfig::chunk`] of sound; the last one ends in silence.
    Chunk(Piece),
    /// All that was said, once it ended.
    Utterance(Piece),
    /// Somebody speaks, since this moment in ms of the Unix clock.
    Started(f64),
    /// Nobody does any more, since this moment.
    Ended(f64),
}

/// The gate of one microphone. All lengths are in samples of all channels.
pub(super) struct Gate {
    gating: bool,
    wanted: Wanted,
    samples_per_ms: f64,
    chunk_length: usize,
    pre_roll: usize,
    hang_over: u64,
    longest: usize,
    /// The last answers, newest in bit 0.
    answers: u8,
    /// Samples received so far, and when one of them was.
    position: u64,
    anchor: (u64, f64),
    /// The sound before the gate opens.
    before: VecDeque<i16>,
    /// The utterance, while the gate is open, and where its last voice was.
    utterance: Vec<i16>,
    open: bool,
    last_voice: u64,
    chunk: Vec<i16>,
}

impl Gate {
    /// A closed gate.
    pub(super) fn new(config: &MicrophoneConfig) -> Self {
        let channels = usize::from(config.channels);
        let samples = |time: Duration| {
            let frames = time.as_secs_f64() * f64::from(config.sample_rate);
            frames.round() as usize * channels
        };
        Self {
            gating: config.voice_gating,
            wanted: Wanted {
                chunks: true,
                utterances: true,
                speech: true,
            },
            samples_per_ms: f64::from(config.sample_rate) / 1_000.0 * channels as f64,
            chunk_length: samples(config.chunk).max(channels),
            pre_roll: samples(config.pre_roll),
            hang_over: samples(config.hang_over) as u64,
            longest: samples(LONGEST_UTTERANCE),
            answers: 0,
            position: 0,
            anchor: (0, 0.0),
            before: VecDeque::new(),
            utterance: Vec::new(),
            open: false,
            last_voice: 0,
            chunk: Vec::new(),
        }
    }

    /// What comes out from now on: chunks, utterances, both. An utterance then begins at once, be it in mid-word.
    pub(super) fn set_wanted(&mut self, wanted: Wanted) {
        self.wanted = wanted;
        if !wanted.chunks {
            self.chunk = Vec::new();
        }
        if !wanted.utterances {
            self.utterance = Vec::new();
        }
    }

    /// Whether somebody speaks.
    pub(super) fn is_open(&self) -> bool {
        self.open
    }

    /// Whether its opening was told, and its closing not yet.
    pub(super) fn is_told(&self) -> bool {
        self.open && self.wanted.speech
    }

    /// How much more silence closes it, at least 20 ms.
    pub(super) fn closes_after(&self) -> Duration {
        let silent = self.position.saturating_sub(self.last_voice);
        let left = self.hang_over.saturating_sub(silent) as f64;
        // Silence comes in pieces of 10 ms.
        let steps = (left / self.samples_per_ms / 10.0).ceil() as u64;
        Duration::from_millis(10 * steps.max(2))
    }

    /// Whether part of a chunk waits for the rest.
    pub(super) fn has_partial_chunk(&self) -> bool {
        !self.chunk.is_empty()
    }

    /// Takes whole frames of sound, the first of which was received at `wall_ms`.
    pub(super) fn push(&mut self, samples: &[i16], wall_ms: f64, out: &mut Vec<Passed>) {
        // What is delivered together is timed by its samples, unless the clocks have run apart.
        let is_apart = (self.received(0) - wall_ms).abs() > MOST_APART_MS;
        let is_whole = !self.open && self.chunk.is_empty();
        if is_whole || is_apart {
            self.anchor = (self.position, wall_ms);
        }
        self.position += samples.len() as u64;
        if self.wanted.chunks && (self.open || !self.gating) {
            self.chunk.extend_from_slice(samples);
            self.emit_chunks(out);
        }
        if self.open {
            if self.wanted.utterances {
                self.utterance.extend_from_slice(samples);
            }
            if self.utterance.len() >= self.longest {
                self.emit_utterance(out);
            }
        } else {
            self.before.extend(samples);
            let surplus = self.before.len().saturating_sub(self.pre_roll);
            self.before.drain(..surplus);
        }
    }

    /// Takes the detector's answer to the last 16 ms that were pushed.
    pub(super) fn answer(&mut self, voice: bool, out: &mut Vec<Passed>) {
        self.answers = (self.answers << 1 | u8::from(voice)) & ((1 << WINDOW) - 1);
        if self.answers.count_ones() as usize >= ENOUGH {
            self.last_voice = self.position;
            if !self.open {
                self.open = true;
                if self.wanted.speech {
                    let noticed_after = ENOUGH * self.answer_length();
                    out.push(Passed::Started(self.received(noticed_after)));
                }
                if self.gating && self.wanted.chunks {
                    self.chunk.extend(&self.before);
                    self.emit_chunks(out);
                }
                if self.wanted.utterances {
                    self.utterance.extend(&self.before);
                }
                self.before.clear();
            }
        } else if self.open && self.position - self.last_voice >= self.hang_over {
            self.close(out);
        }
    }

    /// Ends what is open: the last chunk is filled up with silence, the utterance is delivered.
    pub(super) fn close(&mut self, out: &mut Vec<Passed>) {
        if self.gating || !self.open {
            self.flush_chunk(out);
        }
        if self.open {
            self.open = false;
            self.answers = 0;
            if self.wanted.speech {
                let since = (self.position - self.last_voice) as usize;
                out.push(Passed::Ended(self.received(since)));
            }
            self.emit_utterance(out);
        }
    }

    /// Fills the chunk that waits up with silence.
    pub(super) fn flush_chunk(&mut self, out: &mut Vec<Passed>) {
        if !self.chunk.is_empty() {
            let timestamp_ms = self.received(self.chunk.len());
            let mut samples = std::mem::take(&mut self.chunk);
            samples.resize(self.chunk_length, 0);
            out.push(Passed::Chunk(Piece {
                samples,
                timestamp_ms,
            }));
        }
    }

    fn emit_chunks(&mut self, out: &mut Vec<Passed>) {
        while self.chunk.len() >= self.chunk_length {
            let timestamp_ms = self.received(self.chunk.len());
            let rest = self.chunk.split_off(self.chunk_length);
            let samples = std::mem::replace(&mut self.chunk, rest);
            out.push(Passed::Chunk(Piece {
                samples,
                timestamp_ms,
            }));
        }
    }

    fn emit_utterance(&mut self, out: &mut Vec<Passed>) {
        if !self.utterance.is_empty() {
            let timestamp_ms = self.received(self.utterance.len());
            let samples = std::mem::take(&mut self.utterance);
            out.push(Passed::Utterance(Piece {
                samples,
                timestamp_ms,
            }));
        }
    }

    /// Samples to each answer.
    fn answer_length(&self) -> usize {
        (self.samples_per_ms * ANSWER_MS) as usize
    }

    /// When the sample `back` samples before the end was received.
    fn received(&self, back: usize) -> f64 {
        let (position, wall_ms) = self.anchor;
        let behind = back as f64 - (self.position - position) as f64;
        wall_ms - behind / self.samples_per_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 16 ms of sound `value`, then the detector's answer.
    fn step(gate: &mut Gate, n: u32, voice: bool, out: &mut Vec<Passed>) {
        gate.push(&[n as i16 + 1; 256], 1_000.0 + f64::from(n) * 16.0, out);
        gate.answer(voice, out);
    }

    fn run(config: &MicrophoneConfig, voice: impl Fn(u32) -> bool, steps: u32) -> Vec<Passed> {
        let (mut gate, mut out) = (Gate::new(config), Vec::new());
        for n in 0..steps {
            step(&mut gate, n, voice(n), &mut out);
        }
        out
    }

    fn split(passed: &[Passed]) -> (Vec<&Piece>, Vec<&Piece>) {
        let (mut chunks, mut utterances) = (Vec::new(), Vec::new());
        for passed in passed {
            match passed {
                Passed::Chunk(piece) => chunks.push(piece),
                Passed::Utterance(piece) => utterances.push(piece),
                Passed::Started(_) | Passed::Ended(_) => {}
            }
        }
        (chunks, utterances)
    }

    #[test]
    fn speech_passes_with_its_pre_roll_and_hang_over() {
        // Voice from 1,600 ms (n = 100) to 3,200 ms; noticed at n = 102, that is 1,648 ms.
        let out = run(
            &MicrophoneConfig::default(),
            |n| (100..200).contains(&n),
            400,
        );
        let (chunks, utterances) = split(&out);
        assert_eq!(utterances.len(), 1);
        let utterance = utterances[0];
        assert_eq!(utterance.timestamp_ms, 1_000.0 + 1_648.0 - 300.0);
        // The window still holds three voices for two answers after the last one: 3,232 ms.
        assert_eq!(utterance.samples.len(), (3_232 - 1_348 + 400) * 16);
        assert!(chunks.iter().all(|chunk| chunk.samples.len() == 1_600));
        for (n, chunk) in chunks.iter().enumerate() {
            assert_eq!(
                chunk.timestamp_ms,
                utterance.timestamp_ms + 100.0 * n as f64
            );
        }
        let joined: Vec<i16> = chunks.iter().flat_map(|c| c.samples.clone()).collect();
        assert_eq!(joined[..utterance.samples.len()], utterance.samples);
        assert!(joined[utterance.samples.len()..].iter().all(|&s| s == 0));
    }

    #[test]
    fn speech_is_told_of_when_it_is_noticed_and_when_it_is_over() {
        let config = MicrophoneConfig::default();
        let (mut gate, mut out) = (Gate::new(&config), Vec::new());
        gate.set_wanted(Wanted {
            chunks: false,
            utterances: false,
            speech: true,
        });
        let mut told = Vec::new();
        for n in 0..400 {
            step(&mut gate, n, (100..200).contains(&n), &mut out);
            told.extend(out.drain(..).map(|passed| (n, passed)));
        }
        // Voice from 1,600 ms to 3,200 ms of the microphone's time, which began at 1,000 ms.
        let [(102, Passed::Started(2_600.0)), (226, Passed::Ended(ended))] = told[..] else {
            panic!("{told:?}");
        };
        assert_eq!(ended, 4_232.0);
    }

    #[test]
    fn single_wrong_answers_do_not_open_the_gate() {
        assert_eq!(run(&MicrophoneConfig::default(), |n| n % 5 < 2, 500), []);
    }

    #[test]
    fn without_gating_every_sample_passes_and_utterances_still_come() {
        let config = MicrophoneConfig {
            voice_gating: false,
            ..MicrophoneConfig::default()
        };
        let out = run(&config, |n| (100..200).contains(&n), 400);
        let (chunks, utterances) = split(&out);
        assert_eq!((chunks.len(), utterances.len()), (400 * 256 / 1_600, 1));
        let all: Vec<i16> = chunks.iter().flat_map(|c| c.samples.clone()).collect();
        assert!(
            all.iter()
                .enumerate()
                .all(|(at, &s)| usize::from(s as u16) == at / 256 + 1)
        );
    }

    #[test]
    fn an_endless_speech_is_delivered_every_minute_without_losing_a_sample() {
        let out = run(
            &MicrophoneConfig::default(),
            |_| true,
            2 * 60_000 / 16 + 100,
        );
        let (chunks, utterances) = split(&out);
        assert_eq!(utterances.len(), 2);
        assert!(
            utterances
                .iter()
                .all(|u| (960_000..960_256).contains(&u.samples.len()))
        );
        let apart = utterances[1].timestamp_ms - utterances[0].timestamp_ms;
        assert_eq!(apart, utterances[0].samples.len() as f64 / 16.0);
        assert!(chunks.len() > 1_200);
    }
}

//! Is that a voice? One answer for every 16 ms.

use earshot::Detector;

use crate::error::DropReason;
use crate::media::audio::{Resampler, to_i16};

const RATE: u32 = 16_000;
/// 16 ms: what the detector was trained with.
const FRAME: usize = 256;
/// From here on earshot takes a frame for voice.
const VOICE: f32 = 0.5;

/// The detector with its way to 16 kHz mono.
pub(super) struct VoiceDetector {
    detector: Box<Detector>,
    channels: usize,
    resampler: Option<Resampler>,
    input: Vec<f32>,
    resampled: Vec<f32>,
    frame: Vec<i16>,
}

impl VoiceDetector {
    /// A detector for interleaved sound of `rate` Hz.
    pub(super) fn new(rate: u32, channels: usize) -> Result<Self, DropReason> {
        let resampler = (rate != RATE)
            .then(|| Resampler::new(rate, RATE, 1))
            .transpose()?;
        Ok(Self {
            detector: Detector::default_boxed(),
            channels,
            resampler,
            input: Vec::new(),
            resampled: Vec::new(),
            frame: Vec::with_capacity(FRAME),
        })
    }

    /// Takes samples, and calls `answer` for each 16 ms that became full.
    pub(super) fn push(&mut self, samples: &[i16], mut answer: impl FnMut(bool)) {
        let Some(resampler) = &mut self.resampler else {
            let mono = (samples.chunks_exact(self.channels)).map(mix);
            return detect(&mut self.detector, &mut self.frame, mono, &mut answer);
        };
        self.input.clear();
        self.input.extend(
            (samples.chunks_exact(self.channels)).map(|frame| f32::from(mix(frame)) / 32_768.0),
        );
        resampler.push(&self.input, &mut self.resampled);
        let mono = self.resampled.drain(..).map(to_i16);
        detect(&mut self.detector, &mut self.frame, mono, &mut answer);
    }
}

fn detect(
    detector: &mut Detector,
    frame: &mut Vec<i16>,
    mono: impl Iterator<Item = i16>,
    answer: &mut impl FnMut(bool),
) {
    for sample in mono {
        frame.push(sample);
        if frame.len() == FRAME {
            answer(detector.predict_i16(frame) > VOICE);
            frame.clear();
        }
    }
}

fn mix(frame: &[i16]) -> i16 {
    let sum: i32 = frame.iter().map(|&sample| i32::from(sample)).sum();
    (sum / frame.len().max(1) as i32) as i16
}

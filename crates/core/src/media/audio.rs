//! Pushed sound: what is accepted, and its way from one sample rate to another.

use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{
    Async, FixedAsync, Resampler as _, SincInterpolationParameters, SincInterpolationType,
    WindowFunction,
};

use super::{AudioChunk, SampleFormat, check_timestamp, mp3, opus_packet};
use crate::error::DropReason;

/// The sample rates that are accepted, in Hz: telephone speech to the fastest studio rate.
pub const SAMPLE_RATES: std::ops::RangeInclusive<u32> = 8_000..=192_000;

/// Whether a pushed chunk can be played, looking at no sample of it. Compressed sound tells its rate and channels itself:
/// what is declared beside it does not count.
pub fn check_audio(chunk: &AudioChunk<'_>) -> Result<(), DropReason> {
    check_timestamp(chunk.timestamp_ms)?;
    match chunk.format {
        SampleFormat::Pcm => {}
        SampleFormat::Mp3 if mp3::runs(chunk.data).next().is_none() => {
            return Err(DropReason::Undecodable("MP3"));
        }
        SampleFormat::Mp3 => return Ok(()),
        SampleFormat::Opus => return opus_packet::frames(chunk.data).map(|_| ()),
    }
    if !SAMPLE_RATES.contains(&chunk.sample_rate) {
        return Err(DropReason::BadSampleRate(chunk.sample_rate));
    }
    if !(1..=2).contains(&chunk.channels) {
        return Err(DropReason::BadChannels(chunk.channels));
    }
    let frame_bytes = 2 * chunk.channels as usize;
    if chunk.data.is_empty() || !chunk.data.len().is_multiple_of(frame_bytes) {
        return Err(DropReason::BadLength(chunk.data.len()));
    }
    Ok(())
}

/// Appends 16-bit little-endian samples as numbers from -1 to 1.
pub fn extend_f32(bytes: &[u8], out: &mut Vec<f32>) {
    let (samples, _half) = bytes.as_chunks::<2>();
    out.extend(
        samples
            .iter()
            .map(|&sample| f32::from(i16::from_le_bytes(sample)) / 32_768.0),
    );
}

/// The 16-bit sample nearest to a number from -1 to 1; louder ones are clipped.
pub fn to_i16(sample: f32) -> i16 {
    (sample * 32_768.0).round() as i16 // `as` saturates
}

/// Changes the sample rate of one stream, keeping its filter's state from push to push.
///
/// The filter's delay is taken out: `n` frames in are `n * to / from` frames out, the first one at the
/// time of the first. At both ends the filter hears the sound mirrored in its first and last sample, as if it went on:
/// sound that follows sound of another rate does not click. A windowed sinc (rubato): any ratio works, no spur above
/// -100 dB.
pub struct Resampler {
    from: u32,
    to: u32,
    channels: usize,
    /// `None` when both rates are equal.
    filter: Option<Async<f32>>,
    /// Interleaved input, too short for a block yet.
    pending: Vec<f32>,
    /// The mirrored sound before the first sample is in `pending`, or behind it.
    begun: bool,
    /// The last input: what is mirrored at the end.
    tail: Vec<f32>,
    block: Vec<f32>,
    /// Frames of the filter's delay, and of what is mirrored, that are still to be left out.
    skip: usize,
    frames_in: u64,
    frames_out: u64,
}

/// 64 input samples a side keep 24 kHz speech up to 10.6 kHz.
const SINC_LEN: usize = 128;
/// So many frames of input the filter needs behind the one that it gives out (its `output_delay` says one more).
const DELAY: usize = SINC_LEN / 2 - 1;
/// At least so far it looks beyond each end. With the delay 128, which most ratios turn into a whole number.
const MARGIN: usize = SINC_LEN / 2 + 1;
/// Filters between two samples. Ratios of small numbers (44.1 to 48 kHz is 147 to 160) need no more, each
/// used exactly; others interpolate linearly between 256, which leaves errors near -100 dB.
const MOST_EXACT_PHASES: u32 = 320;
const INTERPOLATED_PHASES: usize = 256;

impl Resampler {
    /// A resampler of interleaved sound; the rates are in Hz.
    pub fn new(from: u32, to: u32, channels: usize) -> Result<Self, DropReason> {
        if from == 0 || to == 0 {
            return Err(DropReason::BadSampleRate(from.min(to)));
        }
        let filter = (from != to)
            .then(|| {
                let phases = to / gcd(from, to);
                let (phases, interpolation) = if phases <= MOST_EXACT_PHASES {
                    (phases as usize, SincInterpolationType::Nearest)
                } else {
                    (INTERPOLATED_PHASES, SincInterpolationType::Linear)
                };
                let parameters =
                    SincInterpolationParameters::new(SINC_LEN, WindowFunction::BlackmanHarris2)
                        .oversampling_factor(phases)
                        .interpolation(interpolation);
                Async::new_sinc(
                    f64::from(to) / f64::from(from),
                    1.0,
                    &parameters,
                    block_frames(to),
                    channels,
                    FixedAsync::Output,
                )
            })
            .transpose()
            .map_err(|_| DropReason::BadSampleRate(from))?;
        Ok(Self {
            from,
            to,
            channels,
            skip: 0,
            filter,
            pending: Vec::new(),
            begun: false,
            tail: Vec::new(),
            block: vec![0.0; block_frames(to) * channels],
            frames_in: 0,
            frames_out: 0,
        })
    }

    /// Frames of input that the next 5 ms of output need: whoever pulls offers no more than that.
    pub fn wanted(&self) -> usize {
        match &self.filter {
            None => block_frames(self.from),
            Some(filter) => {
                let wanted = match self.begun {
                    true => filter.input_frames_next(),
                    false => MARGIN + 1,
                };
                wanted.saturating_sub(self.pending.len() / self.channels)
            }
        }
    }

    /// Takes interleaved samples and appends what became ready.
    pub fn push(&mut self, samples: &[f32], out: &mut Vec<f32>) {
        let Some(filter) = &self.filter else {
            out.extend_from_slice(samples);
            return;
        };
        let mut wanted = filter.input_frames_next() * self.channels;
        self.frames_in += (samples.len() / self.channels) as u64;
        self.pending.extend_from_slice(samples);
        self.keep_tail(samples);
        if !self.begun {
            if self.pending.len() < (MARGIN + 1) * self.channels {
                return;
            }
            self.begin();
        }
        while self.pending.len() >= wanted {
            wanted = self.run_block(u64::MAX, out);
        }
    }

    /// Appends what the filter still holds, and starts anew.
    pub fn finish(&mut self, out: &mut Vec<f32>) {
        let end = self.frames_in * u64::from(self.to) / u64::from(self.from);
        if !self.begun {
            self.begin();
        }
        let channels = self.channels;
        if let Some(last) = (self.tail.len() / channels).checked_sub(1) {
            let (tail, last) = (&self.tail, last * channels);
            let behind = (channels..=last).step_by(channels).flat_map(|back| {
                (0..channels).map(move |c| 2.0 * tail[last + c] - tail[last - back + c])
            });
            self.pending.extend(behind);
        }
        while let Some(filter) = &self.filter
            && self.frames_out < end
        {
            // What is silence here is further from the end than the filter looks.
            let wanted = filter.input_frames_next() * channels;
            self.pending.resize(wanted.max(self.pending.len()), 0.0);
            self.run_block(end, out);
        }
        self.pending.clear();
        self.tail.clear();
        self.begun = false;
        (self.frames_in, self.frames_out) = (0, 0);
        if let Some(filter) = &mut self.filter {
            filter.reset();
        }
    }

    /// Puts the mirrored sound before the first sample.
    fn begin(&mut self) {
        let channels = self.channels;
        let margin = (self.pending.len() / channels)
            .saturating_sub(1)
            .min(MARGIN);
        let first = &self.pending;
        let mut input: Vec<f32> = (1..=margin)
            .rev()
            .flat_map(|n| (0..channels).map(move |c| 2.0 * first[c] - first[n * channels + c]))
            .collect();
        input.append(&mut self.pending);
        self.pending = input;
        let (from, to) = (self.from as usize, self.to as usize);
        self.skip = ((DELAY + margin) * to + from / 2) / from;
        self.begun = true;
    }

    fn keep_tail(&mut self, samples: &[f32]) {
        let most = (MARGIN + 1) * self.channels;
        let newest = &samples[samples.len().saturating_sub(most)..];
        let older = (self.tail.len() + newest.len()).saturating_sub(most);
        self.tail.drain(..older);
        self.tail.extend_from_slice(newest);
    }

    /// One block through the filter, cut at frame `end` of the output; gives the samples the next one needs.
    fn run_block(&mut self, end: u64, out: &mut Vec<f32>) -> usize {
        let (channels, frames) = (self.channels, self.block.len() / self.channels);
        let Some(filter) = &mut self.filter else {
            return usize::MAX;
        };
        let taken = match (
            InterleavedSlice::new(&self.pending, channels, self.pending.len() / channels),
            InterleavedSlice::new_mut(&mut self.block, channels, frames),
        ) {
            (Ok(input), Ok(mut output)) => filter
                .process_into_buffer(&input, &mut output, None)
                .map_or(self.pending.len(), |(taken, _)| taken * channels),
            _ => self.pending.len(),
        };
        self.pending.drain(..taken);
        let skipped = self.skip.min(frames);
        self.skip -= skipped;
        let left = usize::try_from(end - self.frames_out).unwrap_or(usize::MAX);
        let given = (frames - skipped).min(left);
        out.extend_from_slice(&self.block[skipped * channels..(skipped + given) * channels]);
        self.frames_out += given as u64;
        filter.input_frames_next() * channels
    }
}

/// Resamples a piece of sound on its own.
pub fn resample_piece(
    samples: &[f32],
    channels: usize,
    from: u32,
    to: u32,
) -> Result<Vec<f32>, DropReason> {
    let mut resampler = Resampler::new(from, to, channels)?;
    let mut output = Vec::new();
    resampler.push(samples, &mut output);
    resampler.finish(&mut output);
    Ok(output)
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// 5 ms.
fn block_frames(rate: u32) -> usize {
    (rate as usize / 200).max(1)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The samples of a 16-bit PCM file and its rate.
    pub(crate) fn read_wav(name: &str) -> (Vec<i16>, u32) {
        let path = format!("{}/../../assets/{name}", env!("CARGO_MANIFEST_DIR"));
        let file = std::fs::read(path).unwrap();
        let rate = u32::from_le_bytes(file[24..28].try_into().unwrap());
        let data = file.windows(4).position(|tag| tag == b"data").unwrap() + 8;
        let samples = file[data..].as_chunks::<2>().0;
        (
            samples.iter().map(|&s| i16::from_le_bytes(s)).collect(),
            rate,
        )
    }

    pub(crate) fn to_bytes(samples: &[i16]) -> Vec<u8> {
        samples.iter().flat_map(|s| s.to_le_bytes()).collect()
    }

    pub(crate) fn sine(hz: f64, amplitude: f64, rate: u32, frames: usize) -> Vec<i16> {
        (0..frames)
            .map(|n| {
                let phase = std::f64::consts::TAU * hz * n as f64 / f64::from(rate);
                (amplitude * 32_767.0 * phase.sin()).round() as i16
            })
            .collect()
    }

    /// What is left, in dB below the signal, once the best fitting sine of `hz` is taken out.
    pub(crate) fn residual_db(samples: &[f32], hz: f64, rate: f64) -> f64 {
        let basis = |n: usize| (std::f64::consts::TAU * hz * n as f64 / rate).sin_cos();
        let (mut sin, mut cos, mut total) = (0.0, 0.0, 0.0);
        for (n, &sample) in samples.iter().enumerate() {
            let (s, c) = basis(n);
            sin += f64::from(sample) * s;
            cos += f64::from(sample) * c;
            total += f64::from(sample).powi(2);
        }
        let half = samples.len() as f64 / 2.0;
        let rest: f64 = samples
            .iter()
            .enumerate()
            .map(|(n, &sample)| {
                let (s, c) = basis(n);
                (f64::from(sample) - sin / half * s - cos / half * c).powi(2)
            })
            .sum();
        10.0 * (rest / total).log10()
    }

    /// The best normalised cross-correlation of `a` with `b` delayed by 0 to `most` samples.
    pub(crate) fn correlation(a: &[f32], b: &[f32], most: usize) -> (f64, usize) {
        (0..most)
            .map(|delay| {
                let (mut ab, mut aa, mut bb) = (0.0, 1e-9, 1e-9);
                for (&x, &y) in a.iter().zip(b.get(delay..).unwrap_or_default()) {
                    ab += f64::from(x * y);
                    aa += f64::from(x * x);
                    bb += f64::from(y * y);
                }
                (ab / f64::sqrt(aa * bb), delay)
            })
            .max_by(|x, y| x.0.total_cmp(&y.0))
            .unwrap()
    }

    fn chunk(data: &[u8]) -> AudioChunk<'_> {
        AudioChunk {
            data,
            sample_rate: 24_000,
            channels: 1,
            timestamp_ms: 0.0,
            format: SampleFormat::Pcm,
        }
    }

    #[test]
    fn a_chunk_is_judged_by_its_declaration() {
        let good = chunk(&[0; 960]);
        assert_eq!(check_audio(&good), Ok(()));
        let bad = |change: fn(&mut AudioChunk<'_>)| {
            let mut chunk = good;
            change(&mut chunk);
            check_audio(&chunk).unwrap_err().code()
        };
        assert_eq!(bad(|c| c.timestamp_ms = f64::NAN), "bad-timestamp");
        assert_eq!(bad(|c| c.sample_rate = 0), "bad-sample-rate");
        assert_eq!(bad(|c| c.sample_rate = 192_001), "bad-sample-rate");
        assert_eq!(bad(|c| c.channels = 0), "bad-channels");
        assert_eq!(bad(|c| c.channels = 3), "bad-channels");
        assert_eq!(bad(|c| c.data = &[]), "bad-length");
        assert_eq!(bad(|c| c.data = &[0; 3]), "bad-length");
        assert_eq!(bad(|c| (c.channels, c.data) = (2, &[0; 6])), "bad-length");
        assert_eq!(
            bad(|c| (c.format, c.data) = (SampleFormat::Opus, &[])),
            "undecodable"
        );
    }

    #[test]
    fn a_resampled_sine_stays_a_sine_at_every_usual_rate() {
        for rate in [
            8_000, 11_025, 16_000, 22_050, 24_000, 44_100, 48_000, 96_000, 23_999,
        ] {
            let input = sine(1_000.0, 0.9, rate, rate as usize);
            let input: Vec<f32> = input.iter().map(|&s| f32::from(s) / 32_768.0).collect();
            let mut resampler = Resampler::new(rate, 48_000, 1).unwrap();
            let mut output = Vec::new();
            for piece in input.chunks(311) {
                resampler.push(piece, &mut output);
            }
            let residual = residual_db(&output[4_800..43_200], 1_000.0, 48_000.0);
            assert!(residual < -80.0, "{rate} Hz: {residual} dB");
        }
    }

    #[test]
    fn a_tone_that_the_lower_rate_cannot_hold_is_taken_out() {
        let input = sine(15_000.0, 0.9, 48_000, 48_000);
        let input: Vec<f32> = input.iter().map(|&s| f32::from(s) / 32_768.0).collect();
        let mut output = Vec::new();
        Resampler::new(48_000, 16_000, 1)
            .unwrap()
            .push(&input, &mut output);
        let loudest = output[1_000..].iter().fold(0.0_f32, |m, s| m.max(s.abs()));
        assert!(loudest < 0.001, "{loudest}");
    }

    proptest! {
        #[test]
        fn time_is_kept_however_the_input_is_cut(
            from in 8_000_u32..192_000, channels in 1_usize..=2,
            cuts in proptest::collection::vec(1_usize..3_000, 1..8),
        ) {
            let mut resampler = Resampler::new(from, 48_000, channels).unwrap();
            for _again in 0..2 {
                let mut output = Vec::new();
                for &frames in &cuts {
                    resampler.push(&vec![0.5; frames * channels], &mut output);
                }
                resampler.finish(&mut output);
                let frames: usize = cuts.iter().sum();
                let expected = frames as u64 * 48_000 / u64::from(from);
                prop_assert_eq!(output.len() as u64, expected * channels as u64);
            }
        }
    }
}

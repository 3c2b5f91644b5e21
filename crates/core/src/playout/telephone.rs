//! Sound for viewers without Opus: mono at 8 kHz, companded to G.711.

use bytes::Bytes;

use super::pipeline::EncodedAudio;
use super::player::{SETTLED_TICKS, keepalive_ticks};
use super::queue::{Pulled, RATES, TICK};
use crate::codec::AudioCodec;
use crate::error::DropReason;
use crate::media::audio::{Resampler, to_i16};
use crate::media::g711::{self, Law};

/// Samples a tick: 20 ms.
const TICK_SAMPLES: usize = g711::RATE as usize / 50;

/// Resamples once for both laws.
pub struct Telephone {
    resampler: Resampler,
    /// Of the sound that it is for, in Hz.
    rate: u32,
    mono: Vec<f32>,
    /// At 8 kHz: what the resampler gave and no tick has played yet.
    ready: Vec<f32>,
    /// Ticks since the last packets went out.
    quiet_ticks: u32,
    /// Ticks since the last sound.
    silent_ticks: u32,
    /// Nothing went out in the tick before.
    paused: bool,
}

impl Telephone {
    /// One that has played nothing yet.
    pub fn new() -> Result<Self, DropReason> {
        let [rate, ..] = RATES;
        Ok(Self {
            resampler: Resampler::new(rate, g711::RATE, 1)?,
            rate,
            mono: Vec::new(),
            ready: Vec::with_capacity(2 * TICK_SAMPLES),
            quiet_ticks: 0,
            silent_ticks: 0,
            paused: true,
        })
    }

    /// Plays one tick of sound, or of silence; gives `output` a packet for each of `codecs` that are G.711. Silence is
    /// left out after half a second but for a packet now and then, as with Opus: a talk-spurt begins with the marker
    /// (RFC 3551, 4.1).
    pub fn play(
        &mut self,
        sound: Option<(Pulled, &[f32])>,
        position: u64,
        codecs: impl IntoIterator<Item = AudioCodec>,
        mut output: impl FnMut(EncodedAudio),
    ) -> Result<(), DropReason> {
        self.mono.clear();
        match sound {
            Some((pulled, samples)) => {
                if pulled.rate != self.rate {
                    self.resampler = Resampler::new(pulled.rate, g711::RATE, 1)?;
                    self.rate = pulled.rate;
                }
                let frames = samples.chunks_exact(pulled.channels.max(1));
                let mix = |frame: &[f32]| frame.iter().sum::<f32>() / frame.len() as f32;
                self.mono.extend(frames.map(mix));
                self.silent_ticks = 0;
            }
            None => {
                self.mono.resize(self.rate as usize / 50, 0.0);
                self.silent_ticks = self.silent_ticks.saturating_add(1);
            }
        }
        self.resampler.push(&self.mono, &mut self.ready);
        if self.ready.len() < TICK_SAMPLES {
            // The filter looks ahead: at the beginning something is missing, never again after that.
            let missing = TICK_SAMPLES - self.ready.len();
            self.ready.splice(..0, std::iter::repeat_n(0.0, missing));
        }
        self.quiet_ticks += 1;
        let is_silent = self.silent_ticks > SETTLED_TICKS;
        if is_silent && self.quiet_ticks < keepalive_ticks(self.silent_ticks) {
            self.paused = true;
            self.ready.drain(..TICK_SAMPLES);
            return Ok(());
        }
        self.quiet_ticks = 0;
        let spurt_start = sound.is_some() && std::mem::take(&mut self.paused);
        for codec in codecs {
            let Some(law) = Law::of(codec) else { continue };
            let samples = self.ready.iter().take(TICK_SAMPLES);
            let data: Vec<u8> = samples.map(|sample| law.encode(to_i16(*sample))).collect();
            output(EncodedAudio {
                codec,
                data: Bytes::from(data),
                position,
                length: TICK,
                is_sound: sound.is_some(),
                spurt_start,
            });
        }
        self.ready.drain(..TICK_SAMPLES);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: [AudioCodec; 2] = [AudioCodec::Pcmu, AudioCodec::Pcma];

    /// At 48 kHz.
    const TICK_FRAMES: usize = 960;

    fn tone(n: usize) -> Vec<f32> {
        let at = |k: usize| (n * TICK_FRAMES + k) as f32 / 48_000.0;
        let wave = |k| (at(k) * 440.0 * std::f32::consts::TAU).sin() * 0.5;
        (0..TICK_FRAMES).map(wave).collect()
    }

    const MONO: Pulled = Pulled {
        rate: 48_000,
        channels: 1,
        spurt_start: false,
    };

    #[test]
    fn every_tick_is_20_ms_of_each_law_and_sounds_like_what_was_pushed() {
        let mut telephone = Telephone::new().unwrap();
        let (mut mu, mut a) = (Vec::new(), Vec::new());
        for n in 0..50 {
            let samples = tone(n);
            let mut packets = Vec::new();
            let sound = Some((MONO, samples.as_slice()));
            telephone
                .play(sound, n as u64 * 960, BOTH, |packet| packets.push(packet))
                .unwrap();
            let [first, second] = &packets[..] else {
                panic!("{packets:?}")
            };
            assert_eq!((first.codec, second.codec), (BOTH[0], BOTH[1]));
            assert_eq!((first.data.len(), second.data.len()), (160, 160));
            assert_eq!(
                (first.spurt_start, first.position),
                (n == 0, n as u64 * 960)
            );
            mu.extend(first.data.iter().map(|code| Law::Mu.decode(*code)));
            a.extend(second.data.iter().map(|code| Law::A.decode(*code)));
        }
        for heard in [mu, a] {
            // Against a sine and a cosine, since the filter's delay turns the phase.
            let part = |wave: fn(f32) -> f32| {
                let products = heard[800..].iter().enumerate().map(|(n, &sample)| {
                    let angle = n as f32 / 8_000.0 * 440.0 * std::f32::consts::TAU;
                    f32::from(sample) / 32_768.0 * wave(angle)
                });
                2.0 * products.sum::<f32>() / (heard.len() - 800) as f32
            };
            let amplitude = part(f32::sin).hypot(part(f32::cos));
            assert!((amplitude - 0.5).abs() < 0.01, "{amplitude}");
        }
    }

    #[test]
    fn silence_is_left_out_after_a_while_and_sound_begins_with_the_marker() {
        let mut telephone = Telephone::new().unwrap();
        let samples = tone(0);
        let mut play = |sound: bool| {
            let mut packets = Vec::new();
            let sound = sound.then_some((MONO, samples.as_slice()));
            telephone
                .play(sound, 0, [AudioCodec::Pcmu], |packet| packets.push(packet))
                .unwrap();
            packets.first().map(|packet| packet.spurt_start)
        };
        assert_eq!(play(true), Some(true));
        assert_eq!(play(true), Some(false));
        let sent: Vec<bool> = (0..125).map(|_| play(false).is_some()).collect();
        assert!(sent[..SETTLED_TICKS as usize].iter().all(|sent| *sent));
        assert_eq!(
            sent[SETTLED_TICKS as usize..]
                .iter()
                .filter(|sent| **sent)
                .count(),
            5
        );
        assert_eq!((play(true), play(true)), (Some(true), Some(false)));
    }
}

//! Opus: one packet of 20 ms at a time.

use bytes::Bytes;
use opus::{Application, Bitrate, Channels};

use super::queue::{RATES, TICKS_A_SECOND};
use crate::media::audio::resample_piece;

/// Mono speech: transparent for a voice in full band, with room for the redundant copy of FEC.
const MONO_BPS: i32 = 32_000;
/// Stereo: music or effects may be in it.
const STEREO_BPS: i32 = 64_000;
/// The largest Opus frame, RFC 6716 section 3.2.1.
const MAX_FRAME_BYTES: usize = 1_276;

/// How hard the encoder works, and for which network.
///
/// The redundant copy (LBRR) is a second run of the quantiser, and takes a third of the bits, from loss-free viewers
/// too; so it is made while somebody reports loss. Measured on speech at 24 kHz and 32 kb/s (segmental SNR,
/// frequency-weighted, log-spectral distance): LBRR at complexity 2 8.0, 5.6 and 6.2 dB for 0.12 ms a tick; without it
/// at complexity 1 7.9, 5.5 and 5.8 dB for 0.06 ms, at 2 8.1, 5.9 and 5.8 dB for 0.09 ms, at 6 8.4, 7.2 and 3.6 dB for
/// 0.12 ms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Effort {
    /// 0 to 10.
    complexity: i32,
    /// Opus adds the redundant copy once it expects loss, RFC 6716 section 2.1.7.
    expected_loss_percent: i32,
}

const PLAIN: Effort = Effort {
    complexity: 1,
    expected_loss_percent: 0,
};
/// At complexity 1 Opus would pay for the copy with everything above 8 kHz.
const REDUNDANT: Effort = Effort {
    complexity: 2,
    expected_loss_percent: 8,
};

/// How the sound is laid out that an encoder takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Layout {
    rate: u32,
    channels: usize,
}

/// An Opus encoder that follows the sample rate and the channels of its input.
pub struct OpusEncoder {
    opus: opus::Encoder,
    layout: Layout,
    effort: Effort,
    /// The last two ticks: what an encoder of another layout has to have heard.
    last: Vec<f32>,
    packet: [u8; MAX_FRAME_BYTES],
}

impl OpusEncoder {
    /// An encoder that has heard nothing yet.
    pub fn new() -> Result<Self, opus::Error> {
        let layout = Layout {
            rate: RATES[0],
            channels: 1,
        };
        Ok(Self {
            opus: build(layout, PLAIN)?,
            layout,
            effort: PLAIN,
            last: Vec::new(),
            packet: [0; MAX_FRAME_BYTES],
        })
    }

    /// Whether each packet also has a copy of the one before, so that a lost one can be heard.
    pub fn set_redundant(&mut self, redundant: bool) -> Result<(), opus::Error> {
        let effort = if redundant { REDUNDANT } else { PLAIN };
        if effort != self.effort {
            self.effort = effort;
            apply(effort, &mut self.opus)?;
        }
        Ok(())
    }

    /// Encodes 20 ms of interleaved sound; `rate` is 16, 24 or 48 kHz. A packet of at most 2 bytes says "still
    /// silent" (DTX).
    pub fn encode(
        &mut self,
        samples: &[f32],
        rate: u32,
        channels: usize,
    ) -> Result<Bytes, opus::Error> {
        let layout = Layout { rate, channels };
        if layout != self.layout {
            self.follow(layout)?;
        }
        let length = self.opus.encode_float(samples, &mut self.packet)?;
        self.last
            .drain(..self.last.len().saturating_sub(samples.len()));
        self.last.extend_from_slice(samples);
        Ok(Bytes::copy_from_slice(
            self.packet.get(..length).unwrap_or_default(),
        ))
    }

    /// Encodes 20 ms of silence, laid out as the last sound.
    pub fn encode_silence(&mut self) -> Result<Bytes, opus::Error> {
        const SILENCE: [f32; MOST_SAMPLES] = [0.0; MOST_SAMPLES];
        let Layout { rate, channels } = self.layout;
        let samples = SILENCE.get(..self.layout.tick_samples());
        self.encode(samples.unwrap_or_default(), rate, channels)
    }

    /// Forgets what was encoded: the next packet follows a pause.
    pub fn reset(&mut self) -> Result<(), opus::Error> {
        self.last.clear();
        self.opus.reset_state()
    }

    /// Goes on with another encoder. It hears the last ticks first: it gives out each sample 6.5 ms late, so that
    /// without one it would begin with a gap, and its quantiser settles in the second one.
    fn follow(&mut self, layout: Layout) -> Result<(), opus::Error> {
        let mut opus = build(layout, self.effort)?;
        let last = with_channels(&self.last, self.layout.channels, layout.channels);
        let last = resample_piece(&last, layout.channels, self.layout.rate, layout.rate);
        for tick in last.unwrap_or_default().chunks_exact(layout.tick_samples()) {
            opus.encode_float(tick, &mut self.packet)?;
        }
        self.last.clear();
        (self.opus, self.layout) = (opus, layout);
        Ok(())
    }
}

impl Layout {
    fn tick_samples(self) -> usize {
        self.rate as usize / TICKS_A_SECOND * self.channels
    }
}

/// 20 ms at 48 kHz in stereo.
const MOST_SAMPLES: usize = 1_920;

fn build(layout: Layout, effort: Effort) -> Result<opus::Encoder, opus::Error> {
    let (channels, application, bitrate) = if layout.channels == 1 {
        (Channels::Mono, Application::Voip, MONO_BPS)
    } else {
        (Channels::Stereo, Application::Audio, STEREO_BPS)
    };
    let mut opus = opus::Encoder::new(layout.rate, channels, application)?;
    opus.set_bitrate(Bitrate::Bits(bitrate))?;
    opus.set_inband_fec(true)?;
    opus.set_dtx(true)?;
    apply(effort, &mut opus)?;
    Ok(opus)
}

fn apply(effort: Effort, opus: &mut opus::Encoder) -> Result<(), opus::Error> {
    opus.set_complexity(effort.complexity)?;
    opus.set_packet_loss_perc(effort.expected_loss_percent)
}

fn with_channels(samples: &[f32], from: usize, to: usize) -> Vec<f32> {
    match (from, to) {
        (1, 2) => samples.iter().flat_map(|&sample| [sample; 2]).collect(),
        (2, 1) => {
            let frames = samples.as_chunks::<2>().0.iter();
            frames.map(|[left, right]| (left + right) / 2.0).collect()
        }
        _ => samples.to_vec(),
    }
}

//! Opus: one packet of 20 ms at a time.

use bytes::Bytes;
use opus::{Application, Bitrate, Channels};

use super::queue::TICK_FRAMES;

/// Mono speech: transparent for a voice in full band, with room for the redundant copy of FEC.
const MONO_BPS: i32 = 32_000;
/// Stereo: music or effects may be in it.
const STEREO_BPS: i32 = 64_000;
/// 0 to 10. Measured on this codec: see `one_tick_is_cheap`; beyond it only music gains audibly.
const COMPLEXITY: i32 = 2;
/// Opus adds a redundant copy (LBRR) of speech frames once it expects loss, RFC 6716 section 2.1.7.
const EXPECTED_LOSS_PERCENT: i32 = 8;
/// The largest Opus frame, RFC 6716 section 3.2.1.
const MAX_FRAME_BYTES: usize = 1_276;

/// An Opus encoder for 48 kHz that follows the channel count of its input.
pub struct OpusEncoder {
    opus: opus::Encoder,
    channels: usize,
    packet: [u8; MAX_FRAME_BYTES],
}

impl OpusEncoder {
    /// A mono encoder.
    pub fn new() -> Result<Self, opus::Error> {
        Ok(Self {
            opus: build(1)?,
            channels: 1,
            packet: [0; MAX_FRAME_BYTES],
        })
    }

    /// Encodes 20 ms of interleaved sound. A packet of at most 2 bytes says "still silent" (DTX).
    pub fn encode(&mut self, samples: &[f32], channels: usize) -> Result<Bytes, opus::Error> {
        if channels != self.channels {
            self.opus = build(channels)?;
            self.channels = channels;
        }
        let length = self.opus.encode_float(samples, &mut self.packet)?;
        Ok(Bytes::copy_from_slice(
            self.packet.get(..length).unwrap_or_default(),
        ))
    }

    /// Encodes 20 ms of silence with the channels of the last sound.
    pub fn encode_silence(&mut self) -> Result<Bytes, opus::Error> {
        const SILENCE: [f32; TICK_FRAMES * 2] = [0.0; TICK_FRAMES * 2];
        let samples = SILENCE.get(..TICK_FRAMES * self.channels);
        self.encode(samples.unwrap_or_default(), self.channels)
    }

    /// Forgets what was encoded: the next packet follows a pause.
    pub fn reset(&mut self) -> Result<(), opus::Error> {
        self.opus.reset_state()
    }
}

fn build(channels: usize) -> Result<opus::Encoder, opus::Error> {
    let (channels, application, bitrate) = if channels == 1 {
        (Channels::Mono, Application::Voip, MONO_BPS)
    } else {
        (Channels::Stereo, Application::Audio, STEREO_BPS)
    };
    let mut opus = opus::Encoder::new(48_000, channels, application)?;
    opus.set_bitrate(Bitrate::Bits(bitrate))?;
    opus.set_complexity(COMPLEXITY)?;
    opus.set_inband_fec(true)?;
    opus.set_packet_loss_perc(EXPECTED_LOSS_PERCENT)?;
    opus.set_dtx(true)?;
    Ok(opus)
}

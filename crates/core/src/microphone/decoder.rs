//! Opus packets to PCM, whatever arrives.

use opus::Channels;

/// The rates that Opus decodes to by itself, in Hz.
const OPUS_RATES: [u32; 5] = [8_000, 12_000, 16_000, 24_000, 48_000];
/// The longest Opus packet, RFC 6716 section 3.2.5: 120 ms.
const LONGEST_PACKETS_A_SECOND: usize = 1_000 / 120;

/// A decoder that always gives sound: decoded, recovered or concealed.
pub(super) struct Decoder {
    opus: opus::Decoder,
    rate: u32,
    channels: usize,
    /// Frames of the last good packet: how long a lost one is taken to be.
    usual_frames: usize,
    scratch: Vec<i16>,
}

/// The payload was no Opus packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an Opus packet")]
pub(super) struct NotOpus;

impl Decoder {
    /// A decoder to `rate` Hz, or to 48 kHz where Opus does not know the rate; see [`Self::rate`].
    pub(super) fn new(rate: u32, channels: usize) -> Result<Self, opus::Error> {
        let rate = if OPUS_RATES.contains(&rate) {
            rate
        } else {
            48_000
        };
        let layout = if channels == 2 {
            Channels::Stereo
        } else {
            Channels::Mono
        };
        Ok(Self {
            opus: opus::Decoder::new(rate, layout)?,
            rate,
            channels: layout as usize,
            usual_frames: rate as usize / 50,
            scratch: vec![0; rate as usize / LONGEST_PACKETS_A_SECOND * layout as usize],
        })
    }

    /// Frames a second that come out.
    pub(super) fn rate(&self) -> u32 {
        self.rate
    }

    /// Decodes a packet; the samples are interleaved.
    pub(super) fn decode(&mut self, payload: &[u8]) -> Result<&[i16], NotOpus> {
        if payload.is_empty() {
            return Err(NotOpus); // to libopus an empty packet means a lost one
        }
        let frames = self
            .opus
            .decode(payload, &mut self.scratch, false)
            .map_err(|_| NotOpus)?;
        if frames > 0 {
            self.usual_frames = frames;
        }
        Ok(self.frames(frames))
    }

    /// The sound of a lost packet: from the redundant copy in the one after it, if that is here and has one,
    /// or else continued from the past.
    pub(super) fn recover(&mut self, following: Option<&[u8]>) -> &[i16] {
        let (payload, redundant) = match following {
            Some(payload) if !payload.is_empty() => (payload, true),
            _ => (&[] as &[u8], false),
        };
        let length = self.usual_frames * self.channels;
        let room = self.scratch.get_mut(..length).unwrap_or_default();
        let frames = match self.opus.decode(payload, room, redundant) {
            Ok(frames) => frames,
            Err(_) => self.opus.decode(&[], room, false).unwrap_or(0),
        };
        self.frames(frames)
    }

    fn frames(&self, frames: usize) -> &[i16] {
        self.scratch
            .get(..frames * self.channels)
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_configured_rate_has_a_decoder() {
        for (rate, opus) in [
            (16_000, 16_000),
            (44_100, 48_000),
            (22_050, 48_000),
            (48_000, 48_000),
        ] {
            for channels in 1..=2 {
                let mut decoder = Decoder::new(rate, channels).unwrap();
                assert_eq!(decoder.rate(), opus);
                assert_eq!(decoder.recover(None).len(), opus as usize / 50 * channels);
            }
        }
    }

    #[test]
    fn what_is_not_opus_is_told_apart_and_concealed() {
        let mut decoder = Decoder::new(16_000, 1).unwrap();
        assert_eq!(decoder.decode(&[]), Err(NotOpus));
        assert_eq!(decoder.decode(&[0xff]), Err(NotOpus));
        assert_eq!(decoder.recover(Some(&[0xff])).len(), 320);
    }
}

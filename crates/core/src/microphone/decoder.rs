//! Packets to PCM, whatever arrives.

use opus::Channels;

use crate::codec::AudioCodec;
use crate::media::g711::{self, Law};

/// The rates that Opus decodes to by itself, in Hz.
const OPUS_RATES: [u32; 5] = [8_000, 12_000, 16_000, 24_000, 48_000];
/// The longest packet: 120 ms (of Opus RFC 6716 section 3.2.5; of G.711 what browsers never reach).
const LONGEST_PACKETS_A_SECOND: usize = 1_000 / 120;

/// A decoder that always gives sound: decoded, recovered or concealed.
pub(super) struct Decoder {
    codec: Codec,
    rate: u32,
    channels: usize,
    /// Frames of the last good packet: how long a lost one is taken to be.
    usual_frames: usize,
    /// Interleaved; with G.711 it keeps the last packet.
    scratch: Vec<i16>,
}

enum Codec {
    Opus(opus::Decoder),
    G711(Law),
}

/// The payload was no packet of its codec.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a packet of this codec")]
pub(super) struct Undecodable;

impl Decoder {
    /// A decoder of `codec` to `rate` Hz, or to the next that the codec knows; see [`Self::rate`].
    pub(super) fn new(codec: AudioCodec, rate: u32, channels: usize) -> Result<Self, opus::Error> {
        let layout = if channels == 2 {
            Channels::Stereo
        } else {
            Channels::Mono
        };
        let (codec, rate) = match Law::of(codec) {
            Some(law) => (Codec::G711(law), g711::RATE),
            None => {
                let rate = match OPUS_RATES.contains(&rate) {
                    true => rate,
                    false => 48_000,
                };
                (Codec::Opus(opus::Decoder::new(rate, layout)?), rate)
            }
        };
        Ok(Self {
            codec,
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
    pub(super) fn decode(&mut self, payload: &[u8]) -> Result<&[i16], Undecodable> {
        let frames = match &mut self.codec {
            // To libopus an empty packet means a lost one.
            _ if payload.is_empty() => return Err(Undecodable),
            Codec::Opus(opus) => opus
                .decode(payload, &mut self.scratch, false)
                .map_err(|_| Undecodable)?,
            Codec::G711(law) => {
                if payload.len() > self.scratch.len() / self.channels {
                    return Err(Undecodable);
                }
                let frames = self.scratch.chunks_exact_mut(self.channels);
                for (frame, code) in frames.zip(payload) {
                    frame.fill(law.decode(*code));
                }
                payload.len()
            }
        };
        if frames > 0 {
            self.usual_frames = frames;
        }
        Ok(self.frames(frames))
    }

    /// The sound of a lost packet: from the redundant copy in the one after it, if that is here and has one,
    /// or else continued from the past.
    pub(super) fn recover(&mut self, following: Option<&[u8]>) -> &[i16] {
        let length = self.usual_frames * self.channels;
        let room = self.scratch.get_mut(..length).unwrap_or_default();
        let frames = match &mut self.codec {
            Codec::Opus(opus) => {
                let (payload, redundant) = match following {
                    Some(payload) if !payload.is_empty() => (payload, true),
                    _ => (&[] as &[u8], false),
                };
                match opus.decode(payload, room, redundant) {
                    Ok(frames) => frames,
                    Err(_) => opus.decode(&[], room, false).unwrap_or(0),
                }
            }
            // The last packet again, ever quieter.
            Codec::G711(_) => {
                room.iter_mut().for_each(|sample| *sample /= 2);
                self.usual_frames
            }
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
                let mut decoder = Decoder::new(AudioCodec::Opus, rate, channels).unwrap();
                assert_eq!(decoder.rate(), opus);
                assert_eq!(decoder.recover(None).len(), opus as usize / 50 * channels);
            }
        }
    }

    #[test]
    fn what_is_not_opus_is_told_apart_and_concealed() {
        let mut decoder = Decoder::new(AudioCodec::Opus, 16_000, 1).unwrap();
        assert_eq!(decoder.decode(&[]), Err(Undecodable));
        assert_eq!(decoder.decode(&[0xff]), Err(Undecodable));
        assert_eq!(decoder.recover(Some(&[0xff])).len(), 320);
    }

    #[test]
    fn g711_is_decoded_for_every_channel_and_fades_when_it_is_lost() {
        for channels in [1, 2] {
            let mut decoder = Decoder::new(AudioCodec::Pcma, 16_000, channels).unwrap();
            assert_eq!(decoder.rate(), 8_000);
            let decoded = decoder.decode(&[0xfa; 160]).unwrap().to_vec();
            assert_eq!(decoded, vec![1_008; 160 * channels]);
            assert_eq!(decoder.recover(None), vec![504; 160 * channels]);
            assert_eq!(decoder.recover(Some(&[1])), vec![252; 160 * channels]);
            assert_eq!(decoder.decode(&[]), Err(Undecodable));
            assert_eq!(decoder.decode(&[0; 8_000]), Err(Undecodable));
        }
    }

    #[test]
    fn the_redundant_copy_comes_nearer_to_what_was_lost_than_concealment() {
        let (speech, _) = crate::media::audio::tests::read_wav("speech-16k.wav");
        let packets = crate::microphone::tests::packets(&speech, 16_000, false);
        let error = |redundant: bool| {
            let mut whole = Decoder::new(AudioCodec::Opus, 16_000, 1).unwrap();
            let mut holed = Decoder::new(AudioCodec::Opus, 16_000, 1).unwrap();
            let mut error = 0.0;
            for (n, packet) in packets.iter().enumerate() {
                let truth = whole.decode(packet).unwrap().to_vec();
                if n % 6 == 5 && n + 1 < packets.len() {
                    let following = redundant.then_some(packets[n + 1].as_slice());
                    let guess = holed.recover(following);
                    error += (truth.iter().zip(guess))
                        .map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2))
                        .sum::<f64>();
                } else {
                    holed.decode(packet).unwrap();
                }
            }
            error
        };
        assert!(
            error(true) < 0.5 * error(false),
            "{} {}",
            error(true),
            error(false)
        );
    }
}

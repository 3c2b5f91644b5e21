//! What viewers say: encoded once, shared by all.

use std::sync::Arc;

use super::options::Microphone;

/// A recording of speech, 16 kHz mono.
const SPEECH: &[u8] = include_bytes!("../../../../assets/speech-16k.wav");
const SAMPLE_RATE: u32 = 16_000;
/// 20 ms.
const PACKET_SAMPLES: usize = 320;
/// 20 ms of RTP's 48 kHz.
pub(super) const TIMESTAMP_STEP: u32 = 960;
/// Of silence and noise.
const LOOP_PACKETS: usize = 100;
/// Root mean square of noise at -50 dBov.
const NOISE_RMS: f64 = 32_768.0 * 0.003_162;
/// The longest Opus packet that is asked for; 32 kb/s makes 80 bytes.
const MAX_PACKET: usize = 400;
/// Louder than this (-dBov) counts as voice in the recording.
const VOICE_LEVEL: u8 = 45;

/// One Opus packet of 20 ms.
#[derive(Debug)]
pub(super) struct OpusPacket {
    pub(super) data: Box<[u8]>,
    /// RFC 6464: 0 to 127, in -dBov.
    pub(super) level: u8,
    /// RFC 6464's V bit.
    pub(super) voice: bool,
}

/// Encodes what a microphone picks up, to be played in a loop.
pub(super) fn encode(microphone: Microphone) -> Result<Arc<[OpusPacket]>, opus::Error> {
    let samples: Vec<i16> = match microphone {
        Microphone::Silent => vec![0; PACKET_SAMPLES * LOOP_PACKETS],
        Microphone::Noise => noise().take(PACKET_SAMPLES * LOOP_PACKETS).collect(),
        Microphone::Speech => speech(),
    };
    let mut encoder =
        opus::Encoder::new(SAMPLE_RATE, opus::Channels::Mono, opus::Application::Voip)?;
    let mut packet = [0; MAX_PACKET];
    samples
        .chunks_exact(PACKET_SAMPLES)
        .map(|chunk| {
            let level = level(chunk);
            let length = encoder.encode(chunk, &mut packet)?;
            Ok(OpusPacket {
                data: packet.get(..length).unwrap_or_default().into(),
                level,
                voice: microphone == Microphone::Speech && level <= VOICE_LEVEL,
            })
        })
        .collect()
}

/// RFC 6464, 3: the root mean square in -dBov, 127 for silence.
fn level(samples: &[i16]) -> u8 {
    let squares: f64 = samples
        .iter()
        .map(|sample| f64::from(*sample).powi(2))
        .sum();
    let rms = (squares / samples.len().max(1) as f64).sqrt() / 32_768.0;
    (-20.0 * rms.log10()).clamp(0.0, 127.0).round() as u8
}

/// White noise of one level: SplitMix64, spread evenly.
fn noise() -> impl Iterator<Item = i16> {
    let mut state = 0u64;
    // An even spread from -a to a has the root mean square a / sqrt 3.
    let amplitude = NOISE_RMS * 3f64.sqrt();
    std::iter::from_fn(move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let unit = ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64;
        Some((amplitude * (2.0 * unit - 1.0)) as i16)
    })
}

/// The samples behind the `data` chunk's header of the WAV file.
fn speech() -> Vec<i16> {
    let begin = SPEECH
        .windows(4)
        .position(|window| window == b"data")
        .map_or(0, |at| at + 8);
    SPEECH
        .get(begin..)
        .unwrap_or_default()
        .chunks_exact(2)
        .map(|pair| i16::from_le_bytes([pair[0], pair[1]]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_has_level_127_and_noise_about_50() {
        let silence = encode(Microphone::Silent).unwrap();
        assert!(
            silence
                .iter()
                .all(|packet| packet.level == 127 && !packet.voice)
        );
        let noise = encode(Microphone::Noise).unwrap();
        assert!(
            noise
                .iter()
                .all(|packet| (49..=51).contains(&packet.level) && !packet.voice)
        );
        assert_eq!((silence.len(), noise.len()), (LOOP_PACKETS, LOOP_PACKETS));
    }

    #[test]
    fn speech_is_loud_and_pauses_and_can_be_decoded() {
        let packets = encode(Microphone::Speech).unwrap();
        let voiced = packets.iter().filter(|packet| packet.voice).count();
        assert!(
            voiced > packets.len() / 2 && voiced < packets.len(),
            "{voiced} of {}",
            packets.len()
        );
        assert!(packets.iter().any(|packet| packet.level < 25));
        let samples = crate::decode_opus(packets.iter().map(|packet| &packet.data)).unwrap();
        assert_eq!(samples.len(), packets.len() * TIMESTAMP_STEP as usize);
    }
}

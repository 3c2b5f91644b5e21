//! G.711: 8-bit companding of samples at 8 kHz (ITU-T G.711; the code follows ITU-T G.191).

use crate::codec::AudioCodec;

/// Samples a second.
pub const RATE: u32 = 8_000;

/// Which of the two curves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Law {
    /// µ-law: North America, Japan.
    Mu,
    /// A-law: elsewhere.
    A,
}

/// Added to a magnitude in µ-law, so that its exponent can be read off its highest bit.
const MU_BIAS: u16 = 132;
/// The loudest magnitude of µ-law.
const MU_CLIP: u16 = 32_635;
/// What A-law's bytes are combined with on the wire: every other bit is turned.
const A_MASK: u8 = 0x55;

impl Law {
    /// The curve of a codec, if that is G.711.
    pub fn of(codec: AudioCodec) -> Option<Self> {
        match codec {
            AudioCodec::Opus => None,
            AudioCodec::Pcmu => Some(Self::Mu),
            AudioCodec::Pcma => Some(Self::A),
        }
    }

    /// The code of a sample.
    pub fn encode(self, sample: i16) -> u8 {
        match self {
            Self::Mu => {
                let sign = if sample < 0 { 0x80 } else { 0 };
                let magnitude = sample.unsigned_abs().min(MU_CLIP) + MU_BIAS;
                // 7 is the position of the bias's highest bit.
                let exponent = 15 - magnitude.leading_zeros() - 7;
                let mantissa = (magnitude >> (exponent + 3)) as u8 & 0x0f;
                !(sign | (exponent as u8) << 4 | mantissa)
            }
            Self::A => {
                let sign = if sample < 0 { 0 } else { 0x80 };
                let magnitude = if sample < 0 { !sample } else { sample } as u16 >> 4;
                let code = match magnitude {
                    0..=15 => magnitude as u8,
                    _ => {
                        let exponent = 16 - magnitude.leading_zeros() - 4;
                        let mantissa = (magnitude >> (exponent - 1)) as u8 & 0x0f;
                        (exponent as u8) << 4 | mantissa
                    }
                };
                (sign | code) ^ A_MASK
            }
        }
    }

    /// The sample of a code.
    pub fn decode(self, code: u8) -> i16 {
        match self {
            Self::Mu => {
                let code = !code;
                let magnitude = (i16::from(code & 0x0f) << 3) + MU_BIAS as i16;
                let magnitude = (magnitude << (code >> 4 & 7)) - MU_BIAS as i16;
                if code & 0x80 != 0 {
                    -magnitude
                } else {
                    magnitude
                }
            }
            Self::A => {
                let code = code ^ A_MASK;
                let (exponent, mantissa) = (code >> 4 & 7, i16::from(code & 0x0f));
                let magnitude = match exponent {
                    0 => (mantissa << 4) + 8,
                    _ => (((mantissa + 16) << 4) + 8) << (exponent - 1),
                };
                if code & 0x80 != 0 {
                    magnitude
                } else {
                    -magnitude
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_the_recommendation() {
        let codes = |law: Law| [0, 1_000, -1_000, 32_767, -32_768].map(|sample| law.encode(sample));
        assert_eq!(codes(Law::Mu), [0xff, 0xce, 0x4e, 0x80, 0x00]);
        assert_eq!(codes(Law::A), [0xd5, 0xfa, 0x7a, 0xaa, 0x2a]);
        assert_eq!(Law::A.encode(-1), 0x55);
    }

    #[test]
    fn every_code_is_that_of_its_sample() {
        for law in [Law::Mu, Law::A] {
            for code in 0..=255 {
                let again = law.encode(law.decode(code));
                // µ-law has two zeros.
                let zero = law == Law::Mu && code == 0x7f;
                assert!(again == code || zero, "{law:?} {code:#x}");
            }
        }
    }

    #[test]
    fn a_sample_comes_back_within_a_step_of_its_size() {
        for law in [Law::Mu, Law::A] {
            for sample in i16::MIN..=i16::MAX {
                let error = i32::from(law.decode(law.encode(sample))) - i32::from(sample);
                let size = i32::from(sample).abs();
                assert!(
                    error.abs() <= size / 16 + 10 || size > 32_000,
                    "{law:?} {sample}: {error}"
                );
            }
        }
    }
}

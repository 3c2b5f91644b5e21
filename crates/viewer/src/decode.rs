//! From frames to pictures, and from packets to samples.

use openh264::formats::YUVSource;

use crate::VideoCodec;
use crate::report::AccessUnit;

pub use avatar_vpx::Picture;

/// Why a frame cannot be decoded.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// openh264 said no.
    #[error(transparent)]
    OpenH264(#[from] openh264::Error),
    /// libvpx said no.
    #[error(transparent)]
    Vpx(#[from] avatar_vpx::Error),
}

/// Decodes access units in order; one picture for each that gives one.
pub fn decode<'a>(
    units: impl IntoIterator<Item = &'a AccessUnit>,
) -> Result<Vec<Picture>, DecodeError> {
    let mut decoder: Option<(VideoCodec, Decoder)> = None;
    let mut pictures = Vec::new();
    for unit in units {
        let (_, decoder) = match &mut decoder {
            Some(known) if known.0 == unit.codec => known,
            other => other.insert((unit.codec, Decoder::new(unit.codec)?)),
        };
        pictures.extend(decoder.decode(&unit.data)?);
    }
    Ok(pictures)
}

/// A decoder of any codec.
pub(crate) enum Decoder {
    OpenH264(openh264::decoder::Decoder),
    Vpx(avatar_vpx::Decoder),
}

impl Decoder {
    pub(crate) fn new(codec: VideoCodec) -> Result<Self, DecodeError> {
        Ok(match codec {
            VideoCodec::H264 => Self::OpenH264(openh264::decoder::Decoder::new()?),
            VideoCodec::Vp8 => Self::Vpx(avatar_vpx::Decoder::new(avatar_vpx::Codec::Vp8)?),
            VideoCodec::Vp9 => Self::Vpx(avatar_vpx::Decoder::new(avatar_vpx::Codec::Vp9)?),
        })
    }

    pub(crate) fn decode(&mut self, frame: &[u8]) -> Result<Option<Picture>, DecodeError> {
        Ok(match self {
            Self::OpenH264(decoder) => decoder.decode(frame)?.map(|picture| copy(&picture)),
            Self::Vpx(decoder) => decoder.decode(frame)?,
        })
    }
}

fn copy(picture: &impl YUVSource) -> Picture {
    let (width, height) = picture.dimensions();
    let (chroma_width, chroma_height) = (width.div_ceil(2), height.div_ceil(2));
    let (y_stride, u_stride, v_stride) = picture.strides();
    Picture {
        width,
        height,
        y: without_padding(picture.y(), y_stride, width, height),
        u: without_padding(picture.u(), u_stride, chroma_width, chroma_height),
        v: without_padding(picture.v(), v_stride, chroma_width, chroma_height),
    }
}

fn without_padding(plane: &[u8], stride: usize, width: usize, height: usize) -> Vec<u8> {
    plane
        .chunks(stride.max(1))
        .take(height)
        .flat_map(|row| row.iter().take(width).copied())
        .collect()
}

/// Decodes Opus packets in order to 48 kHz mono; no packet is taken as lost.
pub fn decode_opus(
    packets: impl IntoIterator<Item = impl AsRef<[u8]>>,
) -> Result<Vec<i16>, opus::Error> {
    /// 120 ms, the longest packet (RFC 6716, 2.1.4).
    const MAX_SAMPLES: usize = 5760;
    let mut decoder = opus::Decoder::new(48_000, opus::Channels::Mono)?;
    let mut samples = Vec::new();
    let mut buffer = [0; MAX_SAMPLES];
    for packet in packets {
        let count = decoder.decode(packet.as_ref(), &mut buffer, false)?;
        samples.extend(buffer.iter().take(count));
    }
    Ok(samples)
}

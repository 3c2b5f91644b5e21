//! What all encoders have in common.

use super::h264::H264Encoder;
use super::vpx::VpxEncoder;
use crate::codec::VideoCodec;
use crate::media::I420;

/// What a layer is encoded as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LayerSettings {
    /// How.
    pub codec: VideoCodec,
    /// Pixels a row, even.
    pub width: u32,
    /// Rows, even.
    pub height: u32,
    /// Pictures a second that the source means to push.
    pub fps: u32,
    /// The rate to hold.
    pub bitrate_bps: u32,
}

/// Why a picture was not encoded.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// Larger than every codec encodes.
    #[error("the stream is {width}x{height}: up to 3840x2160 or 2160x3840 is encoded")]
    TooLarge {
        /// Width of the stream in pixels.
        width: u32,
        /// Height of the stream in pixels.
        height: u32,
    },
    /// openh264 said no.
    #[error("the H.264 encoder failed: {0}")]
    OpenH264(#[from] openh264::Error),
    /// libvpx said no.
    #[error("the {0} encoder failed: {1}")]
    Vpx(VideoCodec, #[source] avatar_vpx::Error),
}

/// What a picture became.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoded {
    /// A viewer can begin here.
    Keyframe,
    /// It needs the pictures before.
    Delta,
    /// Nothing: there is no payload to send.
    Skipped,
}

/// An encoder of one layer. Its first picture is a keyframe; later ones only when they are asked for.
pub trait VideoEncoder: Send {
    /// Encodes `picture`, appending the frame to `out` (H.264 in Annex B, with SPS and PPS before each IDR slice).
    /// `elapsed_ms` is counted from its first picture, and should rise: the rate control reads it.
    fn encode(
        &mut self,
        picture: &I420,
        elapsed_ms: f64,
        force_keyframe: bool,
        out: &mut Vec<u8>,
    ) -> Result<Encoded, EncodeError>;
}

impl LayerSettings {
    /// Makes the encoder.
    pub fn encoder(self) -> Result<Box<dyn VideoEncoder>, EncodeError> {
        self.check()?;
        Ok(match self.codec {
            VideoCodec::H264 => Box::new(H264Encoder::new(self)?),
            VideoCodec::Vp8 | VideoCodec::Vp9 => Box::new(VpxEncoder::new(self)?),
        })
    }

    /// Whether every codec encodes this size: openh264's bounds are the narrowest.
    pub(super) fn check(self) -> Result<(), EncodeError> {
        let Self { width, height, .. } = self;
        let (long, short) = (width.max(height), width.min(height));
        match long > 3840 || short > 2160 {
            true => Err(EncodeError::TooLarge { width, height }),
            false => Ok(()),
        }
    }
}

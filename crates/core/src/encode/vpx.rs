//! VP8 and VP9 by libvpx.

use avatar_vpx::{Codec, Encoder, Frame, Planes, Settings};
use openh264::formats::YUVSource;

use super::encoder::{EncodeError, Encoded, LayerSettings, VideoEncoder};
use crate::codec::VideoCodec;
use crate::media::I420;

/// Of libvpx's clock.
const TICKS_A_MS: f64 = 90.0;

/// One of libvpx's encoders.
pub struct VpxEncoder {
    codec: VideoCodec,
    libvpx: Encoder,
    last_ticks: i64,
}

impl VpxEncoder {
    /// An encoder of VP9, if `settings` say so, and otherwise of VP8.
    pub fn new(settings: LayerSettings) -> Result<Self, EncodeError> {
        let codec = settings.codec;
        let libvpx = Encoder::new(Settings {
            codec: match codec {
                VideoCodec::Vp9 => Codec::Vp9,
                _ => Codec::Vp8,
            },
            width: settings.width,
            height: settings.height,
            fps: settings.fps,
            bitrate_bps: settings.bitrate_bps,
        });
        Ok(Self {
            codec,
            libvpx: libvpx.map_err(|error| EncodeError::Vpx(codec, error))?,
            last_ticks: -1,
        })
    }
}

impl VideoEncoder for VpxEncoder {
    fn encode(
        &mut self,
        picture: &I420,
        elapsed_ms: f64,
        force_keyframe: bool,
        out: &mut Vec<u8>,
    ) -> Result<Encoded, EncodeError> {
        // A float cast saturates; libvpx refuses a time that is not after the last.
        let ticks = (elapsed_ms * TICKS_A_MS).min(1e15) as i64;
        self.last_ticks = ticks.max(self.last_ticks + 1);
        let planes = Planes {
            y: picture.y(),
            u: picture.u(),
            v: picture.v(),
            strides: picture.strides(),
        };
        let frame = self
            .libvpx
            .encode(planes, self.last_ticks, force_keyframe, out)
            .map_err(|error| EncodeError::Vpx(self.codec, error))?;
        Ok(match frame {
            Frame::Key => Encoded::Keyframe,
            Frame::Inter => Encoded::Delta,
            Frame::None => Encoded::Skipped,
        })
    }
}

//! A layer while somebody watches it: its encoder, and when that makes keyframes.

use std::time::Instant;

use super::encoder::{EncodeError, Encoded, LayerSettings, VideoEncoder};
use super::keyframe::KeyframePolicy;
use crate::codec::{KeyframeReason, VideoCodec};
use crate::media::I420;

/// One encoded picture.
#[derive(Debug, Clone, PartialEq)]
pub struct EncodedFrame {
    /// Of which layer.
    pub codec: VideoCodec,
    /// What a decoder takes: H.264 in Annex B, with SPS and PPS at each keyframe; VP8 and VP9 as they are.
    pub data: Vec<u8>,
    /// In ms of the media clock, larger than that of the picture before. Layers of one picture share it.
    pub timestamp_ms: f64,
    /// Whether a viewer can begin here.
    pub keyframe: bool,
    /// Why, if so.
    pub reason: Option<KeyframeReason>,
}

/// An encoder, made when it is first needed. It goes with its last viewer.
pub(super) struct LayerEncoder {
    settings: LayerSettings,
    /// `None` before the first picture, and after a failure: the next picture gets a new one.
    encoder: Option<Begun>,
    policy: KeyframePolicy,
    frame: EncodedFrame,
}

struct Begun {
    encoder: Box<dyn VideoEncoder>,
    /// The time of its first picture.
    first_ms: f64,
}

impl LayerEncoder {
    pub(super) fn new(settings: LayerSettings) -> Self {
        Self {
            settings,
            encoder: None,
            policy: KeyframePolicy::new(settings.fps),
            frame: EncodedFrame {
                codec: settings.codec,
                data: Vec::new(),
                timestamp_ms: 0.0,
                keyframe: false,
                reason: None,
            },
        }
    }

    /// Somebody wanted a keyframe at `asked`.
    pub(super) fn request_keyframe(&mut self, asked: Instant, reason: KeyframeReason) {
        self.policy.request(asked, reason);
    }

    /// When the last picture is to be encoded again, as a keyframe, if no new one comes until then.
    pub(super) fn repeat_at(&self) -> Option<Instant> {
        self.policy.repeat_at()
    }

    /// Encodes a picture; `None` if the encoder skipped it.
    pub(super) fn encode(
        &mut self,
        picture: &I420,
        timestamp_ms: f64,
        now: Instant,
    ) -> Result<Option<&EncodedFrame>, EncodeError> {
        let keyframe_due = self.policy.is_due(now);
        let encoded = self.try_encode(picture, timestamp_ms, keyframe_due);
        let is_keyframe = matches!(encoded, Ok(Encoded::Keyframe));
        self.frame.reason = is_keyframe.then(|| self.policy.encoded(now));
        if !is_keyframe && keyframe_due {
            self.policy.failed(now);
        }
        match encoded {
            Ok(Encoded::Keyframe | Encoded::Delta) => {
                self.frame.timestamp_ms = timestamp_ms;
                self.frame.keyframe = is_keyframe;
                Ok(Some(&self.frame))
            }
            Ok(Encoded::Skipped) => Ok(None),
            Err(error) => {
                self.encoder = None;
                Err(error)
            }
        }
    }

    fn try_encode(
        &mut self,
        picture: &I420,
        timestamp_ms: f64,
        force_keyframe: bool,
    ) -> Result<Encoded, EncodeError> {
        let Begun { encoder, first_ms } = match &mut self.encoder {
            Some(begun) => begun,
            none => none.insert(Begun {
                encoder: self.settings.encoder()?,
                first_ms: timestamp_ms,
            }),
        };
        let data = &mut self.frame.data;
        data.clear();
        encoder.encode(picture, timestamp_ms - *first_ms, force_keyframe, data)
    }
}

//! The video encoder: one task of the media pool, one latest-frame slot, one keyframe policy.

mod clock;
mod h264;
mod keyframe;
mod pipeline;
mod slot;

pub use h264::{EncodeError, Encoded, H264Encoder};
pub use keyframe::KeyframePolicy;
pub use pipeline::{EncodedFrame, Output, VideoPipeline, Warn};
pub use slot::VideoStats;

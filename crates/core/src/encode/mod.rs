//! The video encoders: one task of the media pool and one latest-frame slot a stream, and in it one encoder with its
//! keyframe policy for each layer that somebody watches.
//!
//! ```text
//! push ─copy─► slot ─► convert, once ─► layer (H.264): encoder, keyframe policy ─┬─► output
//!                                    └► layer (VP8):   encoder, keyframe policy ─┘
//! ```

mod encoder;
mod h264;
mod idle;
mod keyframe;
mod layer;
mod pipeline;
mod slot;
mod vpx;

pub use encoder::{EncodeError, Encoded, LayerSettings, VideoEncoder};
pub use h264::H264Encoder;
pub use keyframe::KeyframePolicy;
pub use layer::EncodedFrame;
pub use pipeline::{Output, VideoPipeline, Warn};
pub use slot::VideoStats;
pub use vpx::VpxEncoder;

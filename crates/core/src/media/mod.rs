//! Frames and chunks as the caller pushes them, and their way to what encoders take.

pub mod audio;

use crate::error::DropReason;

/// The widest and highest picture that is accepted, in pixels. Larger ones would need more than 64 MiB each.
pub const MAX_DIMENSION: u32 = 4096;

/// How a pushed picture is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PixelFormat {
    /// Four bytes a pixel, rows without padding.
    #[default]
    Rgba,
    /// A JFIF or Exif file.
    Jpeg,
    /// Planar YUV 4:2:0.
    I420,
    /// Two-plane YUV 4:2:0.
    Nv12,
    /// A PNG file.
    Png,
}

impl PixelFormat {
    /// The format that the API calls `name`.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "RGBA" => Some(Self::Rgba),
            "JPEG" => Some(Self::Jpeg),
            "YUV" | "I420" => Some(Self::I420),
            "NV12" => Some(Self::Nv12),
            "PNG" => Some(Self::Png),
            _ => None,
        }
    }
}

/// One picture, borrowed for the length of a push.
#[derive(Debug, Clone, Copy)]
pub struct VideoFrame<'a> {
    /// The picture.
    pub data: &'a [u8],
    /// Pixels a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// When it is to be seen, in ms of the Unix clock.
    pub timestamp_ms: f64,
    /// How `data` is laid out.
    pub format: PixelFormat,
}

/// How pushed sound is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SampleFormat {
    /// Signed 16-bit little-endian, interleaved.
    #[default]
    Pcm,
    /// One Opus packet.
    Opus,
    /// MP3 frames.
    Mp3,
}

impl SampleFormat {
    /// The format that the API calls `name`.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "PCM" => Some(Self::Pcm),
            "OPUS" => Some(Self::Opus),
            "MP3" => Some(Self::Mp3),
            _ => None,
        }
    }
}

/// A piece of sound, borrowed for the length of a push: 20 ms or a whole utterance.
#[derive(Debug, Clone, Copy)]
pub struct AudioChunk<'a> {
    /// The samples.
    pub data: &'a [u8],
    /// Samples a second and channel.
    pub sample_rate: u32,
    /// Channels, interleaved.
    pub channels: u32,
    /// When its first sample is to be heard, in ms of the Unix clock.
    pub timestamp_ms: f64,
    /// How `data` is laid out.
    pub format: SampleFormat,
}

/// What became of a push.
#[derive(Debug, Clone, PartialEq)]
pub enum PushOutcome {
    /// It will be sent (a frame may still be superseded by a newer one).
    Queued,
    /// It will not be sent.
    Dropped(DropReason),
}

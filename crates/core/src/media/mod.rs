//! Frames and chunks as the caller pushes them, and their way to what encoders take.

pub mod audio;
mod canvas;
mod convert;
pub mod g711;
mod jpeg;
pub mod mp3;
pub mod opus_packet;
mod picture;
mod planar;
mod png;
mod rgba;
mod scale;
#[cfg(test)]
mod tests;

pub use convert::Converter;
pub use picture::I420;

use crate::error::DropReason;

/// The widest and highest picture that is accepted, in pixels. Larger ones would need more than 64 MiB each.
pub const MAX_DIMENSION: u32 = 4096;

/// The furthest from 1970 that a timestamp may be, in ms: what a JavaScript `Date` can hold (ECMA-262,
/// "Time Values and Time Range"). Up to here an `f64` still tells one millisecond from the next.
const MAX_TIMESTAMP_MS: f64 = 8.64e15;

/// How a pushed picture is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PixelFormat {
    /// Four bytes a pixel, rows without padding.
    #[default]
    Rgba,
    /// A JFIF or Exif file.
    Jpeg,
    /// YUV 4:2:0, BT.601 in limited range: a plane of Y, one of U, one of V; those of an odd picture rounded up.
    I420,
    /// The same with U and V interleaved in one plane.
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

    /// Whether it is without compression.
    pub(crate) fn is_raw(self) -> bool {
        matches!(self, Self::Rgba | Self::I420 | Self::Nv12)
    }

    /// What the API calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rgba => "RGBA",
            Self::Jpeg => "JPEG",
            Self::I420 => "YUV",
            Self::Nv12 => "NV12",
            Self::Png => "PNG",
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

/// A picture that is kept.
#[derive(Clone, PartialEq, Eq)]
pub struct OwnedFrame {
    /// The picture.
    pub data: Vec<u8>,
    /// Pixels a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// How `data` is laid out.
    pub format: PixelFormat,
}

impl OwnedFrame {
    /// The same as a frame to be seen at `timestamp_ms`.
    pub fn at(&self, timestamp_ms: f64) -> VideoFrame<'_> {
        VideoFrame {
            data: &self.data,
            width: self.width,
            height: self.height,
            timestamp_ms,
            format: self.format,
        }
    }
}

impl std::fmt::Debug for OwnedFrame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (width, height) = (self.width, self.height);
        write!(f, "{:?} of {width}x{height}", self.format)
    }
}

/// How pushed sound is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SampleFormat {
    /// Signed 16-bit little-endian, interleaved.
    #[default]
    Pcm,
    /// One Opus packet.
    Opus,
    /// MP3: into a [`Source`](crate::source::Source) a file or any piece of one, further on whole frames.
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

/// Whether a `Date` can hold it.
pub(crate) fn check_timestamp(timestamp_ms: f64) -> Result<(), DropReason> {
    // Also false for NaN.
    match timestamp_ms.abs() <= MAX_TIMESTAMP_MS {
        true => Ok(()),
        false => Err(DropReason::BadTimestamp),
    }
}

/// Whether `frame` can be shown, as far as its header tells: cheap enough for the pushing thread.
///
/// A JPEG or PNG that is broken behind its header is found out when it is decoded.
pub fn check_video(frame: &VideoFrame<'_>) -> Result<(), DropReason> {
    check_timestamp(frame.timestamp_ms)?;
    match frame.format {
        PixelFormat::Rgba | PixelFormat::I420 | PixelFormat::Nv12 => frame.raw_bytes().map(|_| ()),
        PixelFormat::Jpeg => jpeg::check(frame.data),
        PixelFormat::Png => png::check(frame.data),
    }
}

fn check_dimensions(width: u32, height: u32) -> Result<(), DropReason> {
    let accepted = 1..=MAX_DIMENSION;
    if accepted.contains(&width) && accepted.contains(&height) {
        Ok(())
    } else {
        Err(DropReason::BadDimensions { width, height })
    }
}

impl<'a> VideoFrame<'a> {
    /// The bytes of `data` that belong to the picture: all but what follows a raw one.
    pub(crate) fn payload(&self) -> &'a [u8] {
        match self.format.is_raw() {
            true => self.raw_bytes().unwrap_or(self.data),
            false => self.data,
        }
    }

    /// The bytes of a picture without compression. More may follow RGBA, as in buffers that are reused; more YUV than
    /// the picture has is another layout, such as padded rows, and would be shown as garbage.
    fn raw_bytes(&self) -> Result<&'a [u8], DropReason> {
        let (width, height, received) = (self.width, self.height, self.data.len());
        check_dimensions(width, height)?;
        let expected = match self.format {
            PixelFormat::Rgba => width as usize * height as usize * 4,
            _ => planar::planar_len((width, height)),
        };
        if received > expected && self.format != PixelFormat::Rgba {
            return Err(DropReason::ExcessBytes { expected, received });
        }
        let bytes = self.data.get(..expected);
        bytes.ok_or(DropReason::ShortBuffer { expected, received })
    }
}

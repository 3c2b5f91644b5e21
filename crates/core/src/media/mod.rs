//! Frames and chunks as the caller pushes them, and their way to what encoders take.

pub mod audio;
mod convert;
pub mod g711;
mod jpeg;
mod picture;
mod rgba;
mod scale;

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

/// Whether `frame` can be shown, as far as its header tells: cheap enough for the pushing thread.
///
/// A JPEG that is broken behind its header is found out when it is decoded.
pub fn check_video(frame: &VideoFrame<'_>) -> Result<(), DropReason> {
    // Also false for NaN.
    let in_range = frame.timestamp_ms.abs() <= MAX_TIMESTAMP_MS;
    if !in_range {
        return Err(DropReason::BadTimestamp);
    }
    match frame.format {
        PixelFormat::Rgba => rgba_len(frame.width, frame.height, frame.data).map(|_| ()),
        PixelFormat::Jpeg => jpeg::check(frame.data),
        PixelFormat::I420 => Err(DropReason::UnsupportedFormat("YUV")),
        PixelFormat::Nv12 => Err(DropReason::UnsupportedFormat("NV12")),
        PixelFormat::Png => Err(DropReason::UnsupportedFormat("PNG")),
    }
}

/// Bytes of `data` that the RGBA picture takes.
fn rgba_len(width: u32, height: u32, data: &[u8]) -> Result<usize, DropReason> {
    check_dimensions(width, height)?;
    let expected = width as usize * height as usize * 4;
    if data.len() < expected {
        return Err(DropReason::ShortBuffer {
            expected,
            received: data.len(),
        });
    }
    Ok(expected)
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
        match self.format {
            PixelFormat::Rgba => rgba_len(self.width, self.height, self.data)
                .ok()
                .and_then(|len| self.data.get(..len))
                .unwrap_or(self.data),
            _ => self.data,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(data: &[u8], width: u32, height: u32, format: PixelFormat) -> VideoFrame<'_> {
        VideoFrame {
            data,
            width,
            height,
            timestamp_ms: 1.0,
            format,
        }
    }

    #[test]
    fn a_raw_picture_needs_its_bytes_and_may_have_more() {
        let data = vec![0; 4 * 3 * 5 + 7];
        let good = frame(&data, 3, 5, PixelFormat::Rgba);
        assert_eq!(check_video(&good), Ok(()));
        assert_eq!(good.payload().len(), 60);
        assert_eq!(
            check_video(&frame(&data[..59], 3, 5, PixelFormat::Rgba)),
            Err(DropReason::ShortBuffer {
                expected: 60,
                received: 59
            })
        );
    }

    #[test]
    fn dimensions_are_bounded_before_anything_is_computed_from_them() {
        for (width, height) in [(0, 5), (5, 0), (4097, 1), (u32::MAX, u32::MAX)] {
            assert_eq!(
                check_video(&frame(&[0; 64], width, height, PixelFormat::Rgba)),
                Err(DropReason::BadDimensions { width, height })
            );
        }
    }

    #[test]
    fn a_timestamp_is_a_number_that_a_date_can_hold() {
        for timestamp_ms in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e16] {
            let frame = VideoFrame {
                timestamp_ms,
                ..frame(&[0; 4], 1, 1, PixelFormat::Rgba)
            };
            assert_eq!(check_video(&frame), Err(DropReason::BadTimestamp));
        }
    }

    #[test]
    fn formats_of_a_later_release_are_refused_by_name() {
        for (format, name) in [
            (PixelFormat::I420, "YUV"),
            (PixelFormat::Nv12, "NV12"),
            (PixelFormat::Png, "PNG"),
        ] {
            assert_eq!(
                check_video(&frame(&[0; 64], 2, 2, format)),
                Err(DropReason::UnsupportedFormat(name))
            );
        }
    }
}

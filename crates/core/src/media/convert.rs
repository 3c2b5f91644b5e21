//! Pushed frames into the picture that is encoded.

use turbojpeg::{Subsamp, YuvImage};

use super::canvas::{Canvas, Planar, Plane};
use super::jpeg::{JpegDecoder, Layout};
use super::planar::{chroma_size, deinterleave, i420_planes, nv12_planes};
use super::rgba::rgba_to_planes;
use super::{I420, PixelFormat, VideoFrame, png};
use crate::config::VideoFit;
use crate::error::DropReason;

/// Turns frames of any accepted size and format into pictures of the stream's size: BT.601, limited
/// range, aspect ratio kept (between black bars, or cropped). Owns every buffer that this takes.
///
/// A picture that is one pixel wider or higher than the stream (which is even) loses its last column or
/// row rather than its sharpness.
pub struct Converter {
    canvas: Canvas,
    jpeg: JpegDecoder,
    /// The last PNG as RGBA.
    png_pixels: Vec<u8>,
    unscaled: Unscaled,
}

/// Planes of a raw frame at its own size, on their way to be scaled.
#[derive(Default)]
struct Unscaled {
    y: Vec<u8>,
    u: Vec<u8>,
    v: Vec<u8>,
}

impl Converter {
    /// A converter to `width` x `height` pixels, rounded down to even. Its picture is black.
    pub fn new(width: u32, height: u32) -> Self {
        Self {
            canvas: Canvas::new(width, height),
            jpeg: JpegDecoder::default(),
            png_pixels: Vec::new(),
            unscaled: Unscaled::default(),
        }
    }

    /// The same with pictures of another shape shown so.
    pub fn with_fit(mut self, fit: VideoFit) -> Self {
        self.canvas.fit = fit;
        self
    }

    /// The last picture; black before the first.
    pub fn picture(&self) -> &I420 {
        &self.canvas.picture
    }

    /// Shows `picture`, which was drawn elsewhere in the stream's size; what is left in it may be drawn over.
    pub fn show(&mut self, picture: &mut I420) {
        let shown = &mut self.canvas.picture;
        if picture.size() == shown.size() {
            std::mem::swap(picture, shown);
            self.canvas.filled();
        }
    }

    /// Converts `frame`. When it cannot be read, the last picture stays.
    pub fn convert(&mut self, frame: &VideoFrame<'_>) -> Result<&I420, DropReason> {
        let Self {
            canvas,
            jpeg,
            png_pixels,
            unscaled,
        } = self;
        match frame.format {
            PixelFormat::Rgba | PixelFormat::I420 | PixelFormat::Nv12 => {
                draw_raw(canvas, unscaled, frame)?;
            }
            PixelFormat::Jpeg => {
                let decoded = jpeg.decode(frame.data)?;
                // Bounded by the check of the header.
                let size = (decoded.width as u32, decoded.height as u32);
                match decoded.layout {
                    Layout::Planes(subsamp) => draw_jpeg(canvas, size, subsamp, &mut jpeg.pixels)
                        .ok_or(frame.undecodable())?,
                    Layout::Rgba => {
                        draw_raw(canvas, unscaled, &frame.as_rgba(&jpeg.pixels, size))?;
                    }
                }
            }
            PixelFormat::Png => {
                let size = png::decode(frame.data, png_pixels)?;
                draw_raw(canvas, unscaled, &frame.as_rgba(png_pixels, size))?;
            }
        }
        Ok(&self.canvas.picture)
    }
}

impl VideoFrame<'_> {
    fn undecodable(&self) -> DropReason {
        DropReason::Undecodable(self.format.name())
    }

    /// What a file was decoded to.
    fn as_rgba<'a>(&self, data: &'a [u8], (width, height): (u32, u32)) -> VideoFrame<'a> {
        VideoFrame {
            data,
            width,
            height,
            timestamp_ms: self.timestamp_ms,
            format: PixelFormat::Rgba,
        }
    }
}

fn draw_raw(
    canvas: &mut Canvas,
    unscaled: &mut Unscaled,
    frame: &VideoFrame<'_>,
) -> Result<(), DropReason> {
    frame.raw_bytes()?;
    if canvas.picture.draw(frame) {
        canvas.filled();
        return Ok(());
    }
    let planar = unscaled.planes(frame);
    planar
        .and_then(|planar| canvas.draw(&planar))
        .ok_or(frame.undecodable())
}

impl Unscaled {
    /// The planes of `frame`: in its own data where that has them, otherwise in the buffers.
    fn planes<'a>(&'a mut self, frame: &VideoFrame<'a>) -> Option<Planar<'a>> {
        let size = (frame.width, frame.height);
        let (columns, rows) = chroma_size(size);
        let Self { y, u, v } = self;
        let mut resize_chroma = || {
            u.resize(columns as usize * rows as usize, 0);
            v.resize(columns as usize * rows as usize, 0);
        };
        let [y, u, v] = match frame.format {
            PixelFormat::Rgba => {
                resize_chroma();
                y.resize(size.0 as usize * size.1 as usize, 0);
                rgba_to_planes(frame.data, size.0 * 4, size, [y, u, v])?;
                [&y[..], &u[..], &v[..]]
            }
            PixelFormat::I420 => i420_planes(frame.data, size)?,
            PixelFormat::Nv12 => {
                resize_chroma();
                let (luma, pairs) = nv12_planes(frame.data, size)?;
                deinterleave(pairs, columns, [u, v], columns);
                [luma, &u[..], &v[..]]
            }
            PixelFormat::Jpeg | PixelFormat::Png => return None,
        };
        let chroma = |samples| Plane {
            samples,
            stride: columns,
            rows,
        };
        Some(Planar {
            size,
            y: Plane {
                samples: y,
                stride: size.0,
                rows: size.1,
            },
            uv: Some([chroma(u), chroma(v)]),
            subsampling: (2, 2),
        })
    }
}

/// JFIF: BT.601 in full range. Planes that need no scaling become the picture as they are, and `pixels` what
/// was the picture.
fn draw_jpeg(
    canvas: &mut Canvas,
    size: (u32, u32),
    subsamp: Subsamp,
    pixels: &mut Vec<u8>,
) -> Option<()> {
    let picture = &mut canvas.picture;
    let is_whole = subsamp == Subsamp::Sub2x2 && size == picture.size();
    if is_whole && pixels.len() == picture.samples.len() {
        std::mem::swap(pixels, &mut picture.samples);
        canvas.filled();
    } else {
        canvas.draw(&jpeg_planes(size, subsamp, pixels)?)?;
    }
    canvas.limit_range();
    Some(())
}

fn jpeg_planes(size: (u32, u32), subsamp: Subsamp, pixels: &[u8]) -> Option<Planar<'_>> {
    let image = YuvImage {
        pixels,
        width: size.0 as usize,
        align: 1,
        height: size.1 as usize,
        subsamp,
    };
    let plane = |samples, (stride, rows): (usize, usize)| Plane {
        samples,
        stride: stride as u32,
        rows: rows as u32,
    };
    let (luma, chroma) = (image.y_size(), image.uv_size());
    let (y, uv) = pixels.split_at_checked(luma.0 * luma.1)?;
    let uv = match subsamp {
        Subsamp::Gray => None,
        _ => {
            let (u, v) = uv.split_at_checked(chroma.0 * chroma.1)?;
            Some([plane(u, chroma), plane(v, chroma)])
        }
    };
    let (across, down) = subsamp.size();
    Some(Planar {
        size,
        y: plane(y, luma),
        uv,
        subsampling: (across as u32, down as u32),
    })
}

//! Pushed frames into the picture that is encoded.

use fast_image_resize::Resizer;
use turbojpeg::{Subsamp, YuvImage};

use super::jpeg::{JpegDecoder, Layout};
use super::picture::NEUTRAL_CHROMA;
use super::rgba::rgba_to_planes;
use super::scale::{Rect, Source, Target, letterbox, scale};
use super::{I420, PixelFormat, VideoFrame, rgba_len};
use crate::error::DropReason;

/// Turns frames of any accepted size and format into pictures of the stream's size: BT.601, limited
/// range, aspect ratio kept between black bars, alpha ignored. Owns every buffer that this takes.
///
/// A picture that is one pixel wider or higher than the stream (which is even) loses its last column or
/// row rather than its sharpness.
pub struct Converter {
    canvas: Canvas,
    jpeg: JpegDecoder,
    /// A raw frame at its own size, on its way to be scaled.
    unscaled: Unscaled,
}

/// The picture, and what it takes to draw on it.
struct Canvas {
    picture: I420,
    /// What of `picture` is not bars.
    placed: Rect,
    resizer: Resizer,
}

#[derive(Default)]
struct Unscaled {
    y: Vec<u8>,
    u: Vec<u8>,
    v: Vec<u8>,
}

const UNREADABLE_RGBA: DropReason = DropReason::Undecodable("RGBA");
const UNREADABLE_JPEG: DropReason = DropReason::Undecodable("JPEG");

impl Converter {
    /// A converter to `width` x `height` pixels, rounded down to even. Its picture is black.
    pub fn new(width: u32, height: u32) -> Self {
        let picture = I420::black(width, height);
        let size = (picture.width(), picture.height());
        Self {
            canvas: Canvas {
                picture,
                placed: letterbox(size, size),
                resizer: Resizer::new(),
            },
            jpeg: JpegDecoder::default(),
            unscaled: Unscaled::default(),
        }
    }

    /// The last picture; black before the first.
    pub fn picture(&self) -> &I420 {
        &self.canvas.picture
    }

    /// Shows `picture`, which was drawn elsewhere in the stream's size; what is left in it may be drawn over.
    pub fn show(&mut self, picture: &mut I420) {
        let Canvas {
            picture: shown,
            placed,
            ..
        } = &mut self.canvas;
        if picture.has_size_of(shown) {
            std::mem::swap(picture, shown);
            let size = (shown.width(), shown.height());
            *placed = letterbox(size, size);
        }
    }

    /// Converts `frame`. When it cannot be read, the last picture stays.
    pub fn convert(&mut self, frame: &VideoFrame<'_>) -> Result<&I420, DropReason> {
        let Self {
            canvas,
            jpeg,
            unscaled,
        } = self;
        match frame.format {
            PixelFormat::Rgba => {
                canvas.draw_rgba(frame.width, frame.height, frame.data, unscaled)?;
            }
            PixelFormat::Jpeg => {
                let decoded = jpeg.decode(frame.data)?;
                // Bounded by the check of the header.
                let (width, height) = (decoded.width as u32, decoded.height as u32);
                let pixels = &mut jpeg.pixels;
                match decoded.layout {
                    Layout::Planes(subsamp) => canvas
                        .draw_jpeg(width, height, subsamp, pixels)
                        .ok_or(UNREADABLE_JPEG)?,
                    Layout::Rgba => canvas.draw_rgba(width, height, pixels, unscaled)?,
                }
            }
            PixelFormat::I420 => return Err(DropReason::UnsupportedFormat("YUV")),
            PixelFormat::Nv12 => return Err(DropReason::UnsupportedFormat("NV12")),
            PixelFormat::Png => return Err(DropReason::UnsupportedFormat("PNG")),
        }
        Ok(&self.canvas.picture)
    }
}

impl Canvas {
    fn draw_rgba(
        &mut self,
        width: u32,
        height: u32,
        rgba: &[u8],
        unscaled: &mut Unscaled,
    ) -> Result<(), DropReason> {
        rgba_len(width, height, rgba)?;
        let stride = width * 4;
        let (width, height) = self.place(width, height);
        if (width, height) == self.size() {
            let planes = self.picture.planes_mut();
            return rgba_to_planes(rgba, stride, (width, height), planes).ok_or(UNREADABLE_RGBA);
        }
        let (columns, rows) = (width.div_ceil(2), height.div_ceil(2));
        let Unscaled { y, u, v } = unscaled;
        y.resize(width as usize * height as usize, 0);
        u.resize(columns as usize * rows as usize, 0);
        v.resize(columns as usize * rows as usize, 0);
        let chroma = |samples| Source {
            samples,
            stride: columns,
            rows,
            width: f64::from(width) / 2.0,
            height: f64::from(height) / 2.0,
        };
        rgba_to_planes(rgba, stride, (width, height), [y, u, v])
            .and_then(|()| {
                let luma = Source {
                    samples: y,
                    stride: width,
                    rows: height,
                    width: f64::from(width),
                    height: f64::from(height),
                };
                self.draw_planes(&luma, Some([chroma(u), chroma(v)]))
            })
            .ok_or(UNREADABLE_RGBA)
    }

    /// JFIF: BT.601 in full range. Planes that need no scaling become the picture as they are, and `pixels` what
    /// was the picture.
    fn draw_jpeg(
        &mut self,
        width: u32,
        height: u32,
        subsamp: Subsamp,
        pixels: &mut Vec<u8>,
    ) -> Option<()> {
        let shown = self.place(width, height);
        let is_whole = subsamp == Subsamp::Sub2x2 && (width, height) == self.size();
        if is_whole && pixels.len() == self.picture.samples.len() {
            std::mem::swap(pixels, &mut self.picture.samples);
            self.limit_range();
            return Some(());
        }
        let image = YuvImage {
            pixels: pixels.as_slice(),
            width: width as usize,
            align: 1,
            height: height as usize,
            subsamp,
        };
        let (width, height) = shown;
        let (y_stride, y_rows) = image.y_size();
        let (uv_stride, uv_rows) = image.uv_size();
        let (across, down) = subsamp.size();
        let (y, uv) = image.pixels.split_at_checked(y_stride * y_rows)?;
        let luma = Source {
            samples: y,
            stride: y_stride as u32,
            rows: y_rows as u32,
            width: f64::from(width),
            height: f64::from(height),
        };
        let chroma = |samples| Source {
            samples,
            stride: uv_stride as u32,
            rows: uv_rows as u32,
            width: f64::from(width) / across as f64,
            height: f64::from(height) / down as f64,
        };
        if subsamp == Subsamp::Gray {
            self.draw_planes(&luma, None)?;
        } else {
            let (u, v) = uv.split_at_checked(uv_stride * uv_rows)?;
            self.draw_planes(&luma, Some([chroma(u), chroma(v)]))?;
        }
        self.limit_range();
        Some(())
    }

    /// Finds the place of a picture within the stream, and gives the part of the picture that is shown.
    fn place(&mut self, width: u32, height: u32) -> (u32, u32) {
        let even = (width & !1, height & !1);
        let shown = if even == self.size() {
            even
        } else {
            (width, height)
        };
        let placed = letterbox(shown, self.size());
        if placed != self.placed {
            self.picture.blacken();
            self.placed = placed;
        }
        shown
    }

    /// Fills the place, each plane scaled from its own size.
    fn draw_planes(&mut self, luma: &Source<'_>, chroma: Option<[Source<'_>; 2]>) -> Option<()> {
        let (width, height) = self.size();
        let Self {
            picture,
            placed,
            resizer,
        } = self;
        let mut draw = |source: &Source<'_>, samples: &mut [u8], width, height, rect| {
            let target = Target {
                samples,
                width,
                height,
                rect,
            };
            scale(resizer, source, target)
        };
        let [y, u, v] = picture.planes_mut();
        draw(luma, y, width, height, *placed)?;
        let (width, height, rect) = (width / 2, height / 2, placed.chroma());
        match chroma {
            Some([from_u, from_v]) => {
                draw(&from_u, u, width, height, rect)?;
                draw(&from_v, v, width, height, rect)
            }
            None => {
                u.fill(NEUTRAL_CHROMA);
                v.fill(NEUTRAL_CHROMA);
                Some(())
            }
        }
    }

    /// Full range (0 to 255) into limited (16 to 235, chroma 16 to 240), in the place: `x / 255` for 16 bits
    /// is `(x + 128 + ((x + 128) >> 8)) >> 8`, exactly rounded.
    fn limit_range(&mut self) {
        let (stride, place) = (self.picture.width() as usize, self.placed);
        let [y, u, v] = self.picture.planes_mut();
        each_row(y, stride, place, |y| {
            let x = u16::from(y) * 219 + 128;
            16 + ((x + (x >> 8)) >> 8) as u8
        });
        // 128 + (c - 128) * 224 / 255, without negative numbers.
        let chroma = |c: u8| {
            let x = u16::from(c) * 224 + 128 * 31 + 128;
            ((x + (x >> 8)) >> 8) as u8
        };
        each_row(u, stride / 2, place.chroma(), chroma);
        each_row(v, stride / 2, place.chroma(), chroma);
    }

    fn size(&self) -> (u32, u32) {
        (self.picture.width(), self.picture.height())
    }
}

fn each_row(samples: &mut [u8], stride: usize, rect: Rect, map: impl Fn(u8) -> u8) {
    let columns = rect.x as usize..(rect.x + rect.width) as usize;
    let rows = samples.chunks_exact_mut(stride);
    for row in rows.skip(rect.y as usize).take(rect.height as usize) {
        if let Some(row) = row.get_mut(columns.clone()) {
            for sample in row {
                *sample = map(*sample);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use openh264::formats::YUVSource;

    const PATCHES: [[u8; 3]; 8] = [
        [0, 0, 0],
        [255, 255, 255],
        [128, 128, 128],
        [255, 0, 0],
        [0, 255, 0],
        [0, 0, 255],
        [255, 220, 180],
        [20, 90, 60],
    ];

    /// ITU-R BT.601, 8 bits, limited range.
    fn bt601([r, g, b]: [u8; 3]) -> [f64; 3] {
        let [r, g, b] = [r, g, b].map(|c| f64::from(c) / 255.0);
        let y = 0.299 * r + 0.587 * g + 0.114 * b;
        [
            16.0 + 219.0 * y,
            128.0 + 224.0 * (b - y) / 1.772,
            128.0 + 224.0 * (r - y) / 1.402,
        ]
    }

    fn flat(width: u32, height: u32, [r, g, b]: [u8; 3]) -> Vec<u8> {
        // Alpha 0: it must not matter.
        [r, g, b, 0].repeat(width as usize * height as usize)
    }

    fn rgba(data: &[u8], width: u32, height: u32) -> VideoFrame<'_> {
        VideoFrame {
            data,
            width,
            height,
            timestamp_ms: 0.0,
            format: PixelFormat::Rgba,
        }
    }

    fn jpeg(data: &[u8]) -> VideoFrame<'_> {
        VideoFrame {
            // What is declared is not what counts.
            format: PixelFormat::Jpeg,
            ..rgba(data, 3, 9)
        }
    }

    fn compress(rgba: &[u8], width: u32, height: u32, subsamp: Subsamp) -> Vec<u8> {
        let mut compressor = turbojpeg::Compressor::new().unwrap();
        compressor.set_quality(98).unwrap();
        compressor.set_subsamp(subsamp).unwrap();
        let image = turbojpeg::Image {
            pixels: rgba,
            width: width as usize,
            pitch: width as usize * 4,
            height: height as usize,
            format: turbojpeg::PixelFormat::RGBA,
        };
        compressor.compress_to_vec(image).unwrap()
    }

    /// The sample of each plane at a luma position.
    fn at(picture: &I420, x: usize, y: usize) -> [u8; 3] {
        let width = picture.width() as usize;
        let chroma = y / 2 * (width / 2) + x / 2;
        [
            picture.y()[y * width + x],
            picture.u()[chroma],
            picture.v()[chroma],
        ]
    }

    fn assert_colour(picture: &I420, (x, y): (usize, usize), expected: [f64; 3]) {
        let found = at(picture, x, y);
        for (found, expected) in found.iter().zip(expected) {
            assert!(
                (f64::from(*found) - expected).abs() <= 2.0,
                "{found} for {expected} at {x},{y}"
            );
        }
    }

    #[test]
    fn flat_colours_come_out_as_bt601_limited_range() {
        let mut converter = Converter::new(64, 48);
        for patch in PATCHES {
            for (w, h) in [(64, 48), (65, 49), (640, 480), (31, 23)] {
                let data = flat(w, h, patch);
                let picture = converter.convert(&rgba(&data, w, h)).unwrap();
                for spot in [(33, 24), (2, 24), (61, 24)] {
                    assert_colour(picture, spot, bt601(patch));
                }
            }
        }
    }

    #[test]
    fn a_jpeg_of_any_subsampling_and_size_has_the_same_colours() {
        let mut converter = Converter::new(64, 48);
        for patch in PATCHES {
            for subsamp in [
                Subsamp::None,
                Subsamp::Sub2x1,
                Subsamp::Sub2x2,
                Subsamp::Sub1x2,
                Subsamp::Sub4x1,
                Subsamp::Sub1x4,
                Subsamp::Gray,
            ] {
                for (w, h) in [(64, 48), (65, 49), (131, 99), (40, 30)] {
                    let file = compress(&flat(w, h, patch), w, h, subsamp);
                    let picture = converter.convert(&jpeg(&file)).unwrap();
                    let [y, u, v] = bt601(patch);
                    let expected = match subsamp {
                        Subsamp::Gray => [y, 128.0, 128.0],
                        _ => [y, u, v],
                    };
                    for spot in [(33, 24), (3, 20), (60, 44)] {
                        assert_colour(picture, spot, expected);
                    }
                }
            }
        }
    }

    #[test]
    fn a_picture_that_was_drawn_elsewhere_is_the_one_that_would_be_drawn_here() {
        let mut converter = Converter::new(64, 48);
        let pixels: Vec<u8> = (0..65 * 49 * 4u32).map(|n| ((n * n) >> 7) as u8).collect();
        let mut drawn = I420::black(64, 48);
        let black = drawn.clone();
        for (w, h) in [(63, 48), (64, 50), (128, 96)] {
            assert!(!drawn.draw(&rgba(&pixels, w, h)));
            assert_eq!(drawn, black);
        }
        let white = [255, 255, 255];
        for (w, h) in [(64, 48), (65, 48), (64, 49), (65, 49)] {
            let wide = flat(100, 10, white);
            converter.convert(&rgba(&wide, 100, 10)).unwrap();
            assert!(drawn.draw(&rgba(&pixels, w, h)));
            let expected = Converter::new(64, 48)
                .convert(&rgba(&pixels, w, h))
                .unwrap()
                .clone();
            converter.show(&mut drawn);
            assert_eq!(converter.picture(), &expected);
            let picture = converter.convert(&rgba(&wide, 100, 10)).unwrap();
            assert_eq!(at(picture, 32, 2), [16, 128, 128], "the bars are back");
        }
    }

    #[test]
    fn another_aspect_ratio_gets_black_bars_which_go_when_it_does() {
        let mut converter = Converter::new(64, 64);
        let white = [255, 255, 255];
        let wide = flat(100, 50, white);
        let picture = converter.convert(&rgba(&wide, 100, 50)).unwrap();
        assert_eq!(at(picture, 32, 2), [16, 128, 128]);
        assert_colour(picture, (1, 32), bt601(white));
        assert_colour(picture, (62, 46), bt601(white));
        let high = compress(&flat(50, 100, white), 50, 100, Subsamp::None);
        let picture = converter.convert(&jpeg(&high)).unwrap();
        assert_eq!(at(picture, 1, 32), [16, 128, 128]);
        assert_colour(picture, (32, 2), bt601(white));
        let square = flat(64, 64, white);
        let picture = converter.convert(&rgba(&square, 64, 64)).unwrap();
        assert_colour(picture, (1, 32), bt601(white));
    }

    #[test]
    fn a_picture_that_is_one_pixel_too_large_stays_sharp() {
        let mut pixels = Vec::new();
        for y in 0..511u32 {
            for x in 0..513u32 {
                let level = if (x / 2 + y / 2) % 2 == 0 { 0 } else { 255 };
                pixels.extend([level, level, level, 255]);
            }
        }
        let mut converter = Converter::new(513, 511);
        assert_eq!(converter.picture().dimensions(), (512, 510));
        let picture = converter.convert(&rgba(&pixels, 513, 511)).unwrap();
        for (x, y) in [(0, 0), (300, 401), (511, 509)] {
            let level = if (x / 2 + y / 2) % 2 == 0 { 16 } else { 235 };
            assert!(at(picture, x, y)[0].abs_diff(level) <= 1, "{x},{y}");
        }
    }

    #[test]
    fn the_smallest_and_the_longest_pictures_are_converted() {
        let mut converter = Converter::new(512, 512);
        for (w, h) in [(1, 1), (4096, 1), (1, 4096), (2, 3), (4095, 4096)] {
            let data = flat(w, h, [255, 255, 255]);
            let picture = converter.convert(&rgba(&data, w, h)).unwrap();
            assert_colour(picture, (255, 255), [235.0, 128.0, 128.0]);
        }
    }

    #[test]
    fn a_file_that_breaks_off_leaves_the_last_picture() {
        let mut converter = Converter::new(64, 64);
        let file = compress(&flat(64, 64, [200, 10, 10]), 64, 64, Subsamp::Sub2x2);
        let good = converter.convert(&jpeg(&file)).unwrap().clone();
        let broken = &file[..file.len() - 40];
        assert_eq!(
            converter.convert(&jpeg(broken)).err(),
            Some(DropReason::Undecodable("JPEG"))
        );
        assert_eq!(converter.picture(), &good);
    }
}

//! The picture that encoders take.

use openh264::formats::YUVSource;

use super::planar::{copy_i420, copy_nv12};
use super::rgba::rgba_to_planes;
use super::{PixelFormat, VideoFrame};

/// Black in limited range (ITU-R BT.601).
const BLACK_LUMA: u8 = 16;
/// No colour.
pub(super) const NEUTRAL_CHROMA: u8 = 128;

/// A planar YUV 4:2:0 picture of an even size: BT.601, limited range (16 to 235), rows without padding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct I420 {
    width: u32,
    height: u32,
    /// The luma plane, `width` x `height` bytes, and behind it the chroma planes, each a quarter of it.
    pub(super) samples: Vec<u8>,
}

impl I420 {
    /// A black picture; odd sizes are rounded down to even, and up to 2.
    pub fn black(width: u32, height: u32) -> Self {
        let (width, height) = ((width & !1).max(2), (height & !1).max(2));
        let luma = width as usize * height as usize;
        let mut samples = vec![NEUTRAL_CHROMA; luma / 2 * 3];
        samples[..luma].fill(BLACK_LUMA);
        Self {
            width,
            height,
            samples,
        }
    }

    /// Width of the luma plane in pixels, even.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Height of the luma plane in pixels, even.
    pub fn height(&self) -> u32 {
        self.height
    }

    pub(super) fn size(&self) -> (u32, u32) {
        (self.width, self.height)
    }

    /// Draws `frame` if that needs neither decoding nor scaling: a raw one of this size, or one pixel wider or higher
    /// (which is cut off, as [`Converter`](super::Converter) does). Tells whether it did; if not, the picture is as it
    /// was.
    pub fn draw(&mut self, frame: &VideoFrame<'_>) -> bool {
        let size = (frame.width, frame.height);
        let even = (size.0 & !1, size.1 & !1);
        if even != self.size() {
            return false;
        }
        let Ok(data) = frame.raw_bytes() else {
            return false;
        };
        let drawn = match frame.format {
            PixelFormat::Rgba => rgba_to_planes(data, size.0 * 4, even, self.planes_mut()),
            PixelFormat::I420 => copy_i420(data, size, self),
            PixelFormat::Nv12 => copy_nv12(data, size, self),
            PixelFormat::Jpeg | PixelFormat::Png => None,
        };
        drawn.is_some()
    }

    /// Luma and both chroma planes.
    pub(super) fn planes(&self) -> [&[u8]; 3] {
        let (y, uv) = self.samples.split_at(self.luma());
        let (u, v) = uv.split_at(uv.len() / 2);
        [y, u, v]
    }

    pub(super) fn planes_mut(&mut self) -> [&mut [u8]; 3] {
        let luma = self.luma();
        let (y, uv) = self.samples.split_at_mut(luma);
        let (u, v) = uv.split_at_mut(luma / 4);
        [y, u, v]
    }

    pub(super) fn blacken(&mut self) {
        let [y, u, v] = self.planes_mut();
        y.fill(BLACK_LUMA);
        u.fill(NEUTRAL_CHROMA);
        v.fill(NEUTRAL_CHROMA);
    }

    /// Bytes of the luma plane.
    fn luma(&self) -> usize {
        self.width as usize * self.height as usize
    }
}

impl YUVSource for I420 {
    fn dimensions(&self) -> (usize, usize) {
        (self.width as usize, self.height as usize)
    }

    fn strides(&self) -> (usize, usize, usize) {
        let width = self.width as usize;
        (width, width / 2, width / 2)
    }

    fn y(&self) -> &[u8] {
        self.planes()[0]
    }

    fn u(&self) -> &[u8] {
        self.planes()[1]
    }

    fn v(&self) -> &[u8] {
        self.planes()[2]
    }
}

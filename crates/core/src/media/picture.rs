//! The picture that encoders take.

use openh264::formats::YUVSource;

/// Black in limited range (ITU-R BT.601).
const BLACK_LUMA: u8 = 16;
/// No colour.
const NEUTRAL_CHROMA: u8 = 128;

/// A planar YUV 4:2:0 picture of an even size: BT.601, limited range (16 to 235), rows without padding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct I420 {
    width: u32,
    height: u32,
    /// `width` x `height` bytes.
    pub(super) y: Vec<u8>,
    /// A quarter of it.
    pub(super) u: Vec<u8>,
    /// A quarter of it.
    pub(super) v: Vec<u8>,
}

impl I420 {
    /// A black picture; odd sizes are rounded down to even, and up to 2.
    pub fn black(width: u32, height: u32) -> Self {
        let (width, height) = ((width & !1).max(2), (height & !1).max(2));
        let luma = width as usize * height as usize;
        Self {
            width,
            height,
            y: vec![BLACK_LUMA; luma],
            u: vec![NEUTRAL_CHROMA; luma / 4],
            v: vec![NEUTRAL_CHROMA; luma / 4],
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

    pub(super) fn blacken(&mut self) {
        self.y.fill(BLACK_LUMA);
        self.remove_colour();
    }

    pub(super) fn remove_colour(&mut self) {
        self.u.fill(NEUTRAL_CHROMA);
        self.v.fill(NEUTRAL_CHROMA);
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
        &self.y
    }

    fn u(&self) -> &[u8] {
        &self.u
    }

    fn v(&self) -> &[u8] {
        &self.v
    }
}

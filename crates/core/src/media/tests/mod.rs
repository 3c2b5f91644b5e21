//! All formats together: that they look the same, and that nothing which comes as one of them does harm.

use super::{PixelFormat, VideoFrame};

mod chart;
mod check;
mod convert;
mod hostile;

/// Corners of the cube, and what skin and cloth are like.
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

fn frame(format: PixelFormat, data: &[u8], (width, height): (u32, u32)) -> VideoFrame<'_> {
    VideoFrame {
        data,
        width,
        height,
        timestamp_ms: 0.0,
        format,
    }
}

/// RGBA as a JPEG.
fn compress(rgba: &[u8], (width, height): (u32, u32), subsamp: turbojpeg::Subsamp) -> Vec<u8> {
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

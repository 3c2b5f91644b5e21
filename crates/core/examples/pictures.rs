//! The talking head as raw pictures of 512x512, one after the other on standard output: planar YUV 4:2:0 for
//! servers that cannot read JPEG, for a comparison with the same pictures; RGBA as a renderer has it.
//!
//! `cargo run --release -p avatar-core --example pictures -- i420|rgba > FILE`

#![allow(
    clippy::unwrap_used,
    reason = "a measurement that cannot run has nothing to say"
)]

use std::io::Write;
use std::path::PathBuf;

use avatar_core::media::{Converter, PixelFormat, VideoFrame};
use openh264::formats::YUVSource;

const SIZE: u32 = 512;

fn main() {
    let is_rgba = match std::env::args().nth(1).as_deref() {
        Some("i420") => false,
        Some("rgba") => true,
        _ => panic!("i420 or rgba"),
    };
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../assets/talking-head");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    let mut converter = Converter::new(SIZE, SIZE);
    let mut out = std::io::stdout().lock();
    for file in files {
        let jpeg = std::fs::read(file).unwrap();
        if is_rgba {
            let image = turbojpeg::decompress(&jpeg, turbojpeg::PixelFormat::RGBA).unwrap();
            out.write_all(&image.pixels).unwrap();
            continue;
        }
        let frame = VideoFrame {
            data: &jpeg,
            width: SIZE,
            height: SIZE,
            timestamp_ms: 0.0,
            format: PixelFormat::Jpeg,
        };
        let picture = converter.convert(&frame).unwrap();
        for plane in [picture.y(), picture.u(), picture.v()] {
            out.write_all(plane).unwrap();
        }
    }
}

//! The talking head as raw pictures: 512x512, planar YUV 4:2:0, one after the other on standard output. It
//! feeds servers that cannot read JPEG, for a comparison with the same pictures.
//!
//! `cargo run --release -p avatar-core --example i420 > FILE`

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
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../assets/talking-head");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    let mut converter = Converter::new(SIZE, SIZE);
    let mut out = std::io::stdout().lock();
    for file in files {
        let frame = VideoFrame {
            data: &std::fs::read(file).unwrap(),
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

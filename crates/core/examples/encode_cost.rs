//! What a frame costs before the network: conversion and encode of the talking head, 512x512 at 30 fps and
//! 1 Mb/s, at the pace of a stream (so that caches are as cold as they are there). Prints JSON.
//!
//! `cargo run --release -p avatar-core --example encode_cost -- [seconds] [H264|VP8|VP9]`

#![allow(
    clippy::unwrap_used,
    reason = "a measurement that cannot run has nothing to say"
)]

use std::thread::sleep;
use std::time::{Duration, Instant};

use avatar_core::codec::VideoCodec;
use avatar_core::encode::LayerSettings;
use avatar_core::media::{Converter, PixelFormat, VideoFrame};

const SIZE: u32 = 512;
const FPS: u32 = 30;
const BITRATE_BPS: u32 = 1_000_000;

fn main() {
    let seconds: u32 = std::env::args()
        .nth(1)
        .map_or(8, |text| text.parse().unwrap());
    let name = std::env::args().nth(2).unwrap_or("H264".to_owned());
    let mut codecs = VideoCodec::ALL.into_iter();
    let codec = codecs.find(|codec| codec.name() == name).unwrap();
    let jpegs = talking_head();
    let rgba: Vec<Vec<u8>> = jpegs.iter().map(|jpeg| decode(jpeg)).collect();
    println!(
        "{{\"jpeg\":{},\"rgba\":{}}}",
        measure(codec, PixelFormat::Jpeg, &jpegs, seconds * FPS),
        measure(codec, PixelFormat::Rgba, &rgba, seconds * FPS),
    );
}

fn measure(codec: VideoCodec, format: PixelFormat, pictures: &[Vec<u8>], frames: u32) -> String {
    let interval = Duration::from_secs(1) / FPS;
    let mut converter = Converter::new(SIZE, SIZE);
    let settings = LayerSettings {
        codec,
        width: SIZE,
        height: SIZE,
        fps: FPS,
        bitrate_bps: BITRATE_BPS,
    };
    let mut encoder = settings.encoder().unwrap();
    let (mut convert, mut encode, mut total) = (Vec::new(), Vec::new(), Vec::new());
    let mut out = Vec::new();
    let mut bytes = 0;
    let start = Instant::now();
    for (n, data) in (0..frames).zip(pictures.iter().cycle()) {
        sleep((start + interval * n).saturating_duration_since(Instant::now()));
        let timestamp_ms = f64::from(n) * 1_000.0 / f64::from(FPS);
        let began = Instant::now();
        let frame = VideoFrame {
            data,
            width: SIZE,
            height: SIZE,
            timestamp_ms,
            format,
        };
        let picture = converter.convert(&frame).unwrap();
        let converted = began.elapsed();
        out.clear();
        encoder
            .encode(picture, timestamp_ms, false, &mut out)
            .unwrap();
        let all = began.elapsed();
        bytes += out.len();
        convert.push(converted);
        encode.push(all - converted);
        total.push(all);
    }
    let bps = bytes as f64 * 8.0 * f64::from(FPS) / f64::from(frames);
    format!(
        "{{\"convert\":{},\"encode\":{},\"total\":{},\"bps\":{bps:.0}}}",
        quantiles(convert),
        quantiles(encode),
        quantiles(total)
    )
}

fn quantiles(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let at = |share: f64| {
        let index = ((times.len() - 1) as f64 * share).round() as usize;
        times[index].as_secs_f64() * 1_000.0
    };
    format!("{{\"p50\":{:.4},\"p99\":{:.4}}}", at(0.5), at(0.99))
}

fn talking_head() -> Vec<Vec<u8>> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../assets/talking-head");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files
        .iter()
        .map(|file| std::fs::read(file).unwrap())
        .collect()
}

fn decode(jpeg: &[u8]) -> Vec<u8> {
    turbojpeg::decompress(jpeg, turbojpeg::PixelFormat::RGBA)
        .unwrap()
        .pixels
}

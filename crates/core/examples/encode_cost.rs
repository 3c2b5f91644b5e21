//! What a frame costs before the network: conversion and encode of the talking head, 512x512 at 30 fps and
//! 1 Mb/s, at the pace of a stream (so that caches are as cold as they are there). Prints JSON.
//!
//! Every format into H.264, and RGBA into every codec.
//!
//! `cargo run --release -p avatar-core --example encode_cost -- [seconds]`

#![allow(
    clippy::unwrap_used,
    reason = "a measurement that cannot run has nothing to say"
)]

use std::thread::sleep;
use std::time::{Duration, Instant};

use avatar_core::codec::VideoCodec;
use avatar_core::encode::LayerSettings;
use avatar_core::media::{Converter, I420, PixelFormat, VideoFrame};
use openh264::formats::YUVSource;

const SIZE: u32 = 512;
const FPS: u32 = 30;
const BITRATE_BPS: u32 = 1_000_000;

fn main() {
    let seconds: u32 = std::env::args()
        .nth(1)
        .map_or(8, |text| text.parse().unwrap());
    let jpeg = talking_head();
    let rgba: Vec<Vec<u8>> = jpeg.iter().map(|jpeg| decode(jpeg)).collect();
    let yuv: Vec<Vec<u8>> = rgba.iter().map(|rgba| planes(rgba)).collect();
    let nv12: Vec<Vec<u8>> = yuv.iter().map(|yuv| interleave(yuv)).collect();
    let png: Vec<Vec<u8>> = rgba.iter().take(30).map(|rgba| encode_png(rgba)).collect();
    let formats = [
        ("JPEG", PixelFormat::Jpeg, &jpeg),
        ("YUV", PixelFormat::I420, &yuv),
        ("NV12", PixelFormat::Nv12, &nv12),
        ("PNG", PixelFormat::Png, &png),
    ];
    let formats = formats.map(|(name, format, pictures)| {
        let measured = measure(VideoCodec::H264, format, pictures, seconds * FPS);
        format!("\"{name} into H264\":{measured}")
    });
    let codecs = VideoCodec::ALL.map(|codec| {
        let measured = measure(codec, PixelFormat::Rgba, &rgba, seconds * FPS);
        format!("\"RGBA into {codec}\":{measured}")
    });
    println!("{{{},{}}}", formats.join(","), codecs.join(","));
}

fn planes(rgba: &[u8]) -> Vec<u8> {
    let mut converter = Converter::new(SIZE, SIZE);
    let frame = VideoFrame {
        data: rgba,
        width: SIZE,
        height: SIZE,
        timestamp_ms: 0.0,
        format: PixelFormat::Rgba,
    };
    let picture = converter.convert(&frame).unwrap();
    [picture.y(), picture.u(), picture.v()].concat()
}

fn interleave(yuv: &[u8]) -> Vec<u8> {
    let (y, uv) = yuv.split_at((SIZE * SIZE) as usize);
    let (u, v) = uv.split_at(uv.len() / 2);
    let pairs = u.iter().zip(v).flat_map(|(u, v)| [*u, *v]);
    y.iter().copied().chain(pairs).collect()
}

fn encode_png(rgba: &[u8]) -> Vec<u8> {
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, SIZE, SIZE);
    encoder.set_color(png::ColorType::Rgba);
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(rgba).unwrap();
    drop(writer);
    file
}

fn measure(codec: VideoCodec, format: PixelFormat, pictures: &[Vec<u8>], frames: u32) -> String {
    // What the pool's slot does with raw pictures of the stream's size: see `I420::draw`.
    let is_drawn = !matches!(format, PixelFormat::Jpeg | PixelFormat::Png);
    let mut drawn = I420::black(SIZE, SIZE);
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
        let picture = match is_drawn && drawn.draw(&frame) {
            true => &drawn,
            false => converter.convert(&frame).unwrap(),
        };
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

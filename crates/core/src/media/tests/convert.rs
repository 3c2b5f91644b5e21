//! What a frame looks like in the stream.

use openh264::formats::YUVSource;
use turbojpeg::Subsamp;

use super::chart::in_every_format;
use super::{PATCHES, bt601, compress, frame};
use crate::config::VideoFit;
use crate::error::DropReason;
use crate::media::{Converter, I420, PixelFormat, VideoFrame};

fn flat(width: u32, height: u32, [r, g, b]: [u8; 3]) -> Vec<u8> {
    // Alpha 0: it must not matter.
    [r, g, b, 0].repeat(width as usize * height as usize)
}

fn rgba(data: &[u8], width: u32, height: u32) -> VideoFrame<'_> {
    frame(PixelFormat::Rgba, data, (width, height))
}

fn jpeg(data: &[u8]) -> VideoFrame<'_> {
    // What is declared is not what counts.
    frame(PixelFormat::Jpeg, data, (3, 9))
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
                let file = compress(&flat(w, h, patch), (w, h), subsamp);
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
fn another_aspect_ratio_gets_black_bars_which_go_when_it_does() {
    let mut converter = Converter::new(64, 64);
    let white = [255, 255, 255];
    let wide = flat(100, 50, white);
    let picture = converter.convert(&rgba(&wide, 100, 50)).unwrap();
    assert_eq!(at(picture, 32, 2), [16, 128, 128]);
    assert_colour(picture, (1, 32), bt601(white));
    assert_colour(picture, (62, 46), bt601(white));
    let high = compress(&flat(50, 100, white), (50, 100), Subsamp::None);
    let picture = converter.convert(&jpeg(&high)).unwrap();
    assert_eq!(at(picture, 1, 32), [16, 128, 128]);
    assert_colour(picture, (32, 2), bt601(white));
    let square = flat(64, 64, white);
    let picture = converter.convert(&rgba(&square, 64, 64)).unwrap();
    assert_colour(picture, (1, 32), bt601(white));
}

#[test]
fn a_picture_that_covers_the_stream_loses_its_sides_in_every_format() {
    // Two squares of the stream's height side by side, each half of it in the middle; red beside them.
    let (red, white) = ([255, 0, 0], [255, 255, 255]);
    for size in [(128, 64), (129, 63), (256, 128), (61, 31)] {
        let quarter = size.0 / 4;
        let pixel = |at: u32| match (quarter..size.0 - quarter).contains(&(at % size.0)) {
            true => white,
            false => red,
        };
        let pixels: Vec<[u8; 3]> = (0..size.0 * size.1).map(pixel).collect();
        for (what, format, data) in in_every_format(&pixels, size) {
            for (fit, expected) in [(VideoFit::Cover, white), (VideoFit::Contain, red)] {
                let mut converter = Converter::new(64, 64).with_fit(fit);
                let picture = converter.convert(&frame(format, &data, size)).unwrap();
                for x in [5, 58] {
                    let found = at(picture, x, 32);
                    for (found, expected) in found.into_iter().zip(bt601(expected)) {
                        assert!(
                            (f64::from(found) - expected).abs() <= 3.0,
                            "{what} {size:?} {fit:?}: {found} for {expected} at {x}"
                        );
                    }
                }
                let edge = at(picture, 32, 1)[0];
                assert_eq!(
                    edge > 200,
                    fit == VideoFit::Cover,
                    "{what} {size:?} {fit:?}"
                );
            }
        }
    }
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
    let file = compress(&flat(64, 64, [200, 10, 10]), (64, 64), Subsamp::Sub2x2);
    let good = converter.convert(&jpeg(&file)).unwrap().clone();
    let broken = &file[..file.len() - 40];
    assert_eq!(
        converter.convert(&jpeg(broken)).err(),
        Some(DropReason::Undecodable("JPEG"))
    );
    assert_eq!(converter.picture(), &good);
}

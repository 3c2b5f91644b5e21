//! PNG, by the `png` crate.

use std::io::Cursor;

use png::{BitDepth, ColorType, Decoder, Limits, Transformations};

use super::check_dimensions;
use crate::error::DropReason;

const UNDECODABLE: DropReason = DropReason::Undecodable("PNG");

/// What a decoder may take for a row and for what files hold beside the picture.
const MAX_EXTRA_BYTES: usize = 4 << 20;

/// No deflate stream grows by more (RFC 1951: 258 bytes from 2 bits).
const MAX_DEFLATE_RATIO: usize = 1032;

/// Whether the header is readable, its dimensions are accepted, and the file is long enough to hold such a picture.
pub(super) fn check(data: &[u8]) -> Result<(), DropReason> {
    let mut decoder = decoder(data);
    let info = decoder.read_header_info().map_err(|_| UNDECODABLE)?;
    check_dimensions(info.width, info.height)?;
    let bits = info.color_type.samples() * info.bit_depth as usize;
    let len = info.width as usize * info.height as usize * bits / 8;
    match len / MAX_DEFLATE_RATIO <= data.len() {
        true => Ok(()),
        false => Err(UNDECODABLE),
    }
}

fn decoder(data: &[u8]) -> Decoder<Cursor<&[u8]>> {
    let limits = Limits {
        bytes: MAX_EXTRA_BYTES,
    };
    let mut decoder = Decoder::new_with_limits(Cursor::new(data), limits);
    // Palettes, fewer bits, transparent colours and 16 bits: all to 8 bits, with alpha.
    decoder.set_transformations(Transformations::ALPHA | Transformations::STRIP_16);
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    decoder
}

/// Decodes `data` to RGBA in `pixels`, laid on black, and tells its width and height. Of an animation it is the first
/// picture.
pub(super) fn decode(data: &[u8], pixels: &mut Vec<u8>) -> Result<(u32, u32), DropReason> {
    check(data)?;
    read(data, pixels).ok_or(UNDECODABLE)
}

fn read(data: &[u8], pixels: &mut Vec<u8>) -> Option<(u32, u32)> {
    let mut reader = decoder(data).read_info().ok()?;
    let palette = reader.info().palette.as_deref().unwrap_or_default();
    if !palette.len().is_multiple_of(3) {
        // The crate takes each colour to have three bytes, and panics.
        return None;
    }
    let size = reader.info().size();
    pixels.resize(size.0 as usize * size.1 as usize * 4, 0);
    let decoded = reader.next_frame(pixels).ok()?;
    let is_whole = decoded.bit_depth == BitDepth::Eight && (decoded.width, decoded.height) == size;
    match decoded.color_type {
        ColorType::Rgba if is_whole => {}
        ColorType::GrayscaleAlpha if is_whole => widen(pixels),
        _ => return None,
    }
    lay_on_black(pixels);
    Some(size)
}

/// Grey and alpha, which fill the first half, become RGBA: from the last pixel on, in the place.
fn widen(pixels: &mut [u8]) {
    for at in (0..pixels.len() / 4).rev() {
        let (grey, alpha) = (pixels[at * 2], pixels[at * 2 + 1]);
        pixels[at * 4..at * 4 + 4].copy_from_slice(&[grey, grey, grey, alpha]);
    }
}

/// What is seen through a transparent pixel is black; what colour it hides is of no account.
fn lay_on_black(rgba: &mut [u8]) {
    for [r, g, b, alpha] in rgba.as_chunks_mut::<4>().0 {
        for level in [r, g, b] {
            // Exactly rounded, as in `limit_range`.
            let x = u16::from(*level) * u16::from(*alpha) + 128;
            *level = ((x + (x >> 8)) >> 8) as u8;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `size` pixels of `pixel` in the given layout.
    fn flat(color: ColorType, depth: BitDepth, pixel: &[u8], palette: &[u8]) -> Vec<u8> {
        let mut file = Vec::new();
        let mut encoder = png::Encoder::new(&mut file, 3, 5);
        encoder.set_color(color);
        encoder.set_depth(depth);
        if !palette.is_empty() {
            encoder.set_palette(palette.to_vec());
            encoder.set_trns(vec![255, 51]);
        }
        let row = match (depth as usize) < 8 {
            true => vec![pixel[0]],
            false => pixel.repeat(3),
        };
        let mut writer = encoder.write_header().unwrap();
        writer.write_image_data(&row.repeat(5)).unwrap();
        drop(writer);
        file
    }

    #[test]
    fn a_palette_that_ends_in_a_part_of_a_colour_is_refused() {
        let file = include_bytes!("../../../fuzz/seeds/png/palette-of-a-colour-and-a-third");
        let mut pixels = Vec::new();
        assert_eq!(check(file), Ok(()));
        assert_eq!(decode(file, &mut pixels), Err(UNDECODABLE));
    }

    #[test]
    fn every_kind_of_png_becomes_rgb_on_black() {
        use BitDepth::{Eight, One, Sixteen, Two};
        use ColorType::{Grayscale, GrayscaleAlpha, Indexed, Rgb, Rgba};
        let palette = [9, 8, 7, 250, 100, 5];
        for (file, expected) in [
            (flat(Rgb, Eight, &[1, 2, 3], &[]), [1, 2, 3]),
            (flat(Rgb, Sixteen, &[1, 255, 2, 0, 3, 9], &[]), [1, 2, 3]),
            (flat(Rgba, Eight, &[250, 100, 5, 255], &[]), [250, 100, 5]),
            (flat(Rgba, Eight, &[250, 100, 5, 51], &[]), [50, 20, 1]),
            (flat(Rgba, Eight, &[250, 100, 5, 0], &[]), [0, 0, 0]),
            (flat(Grayscale, Eight, &[77], &[]), [77; 3]),
            (flat(Grayscale, Sixteen, &[77, 200], &[]), [77; 3]),
            (flat(Grayscale, One, &[0xff], &[]), [255; 3]),
            (flat(Grayscale, Two, &[0b0101_0101], &[]), [85; 3]),
            (flat(GrayscaleAlpha, Eight, &[100, 51], &[]), [20; 3]),
            (flat(Indexed, Eight, &[0], &palette), [9, 8, 7]),
            (flat(Indexed, One, &[0xff], &palette), [50, 20, 1]),
        ] {
            let mut pixels = vec![3; 999];
            assert_eq!(check(&file), Ok(()));
            assert_eq!(decode(&file, &mut pixels), Ok((3, 5)));
            assert_eq!(pixels.len(), 60);
            for pixel in pixels.as_chunks::<4>().0 {
                assert_eq!(pixel[..3], expected);
            }
        }
    }

    /// A chunk as it stands in a file (RFC 2083, 3.2).
    fn chunk(name: &[u8; 4], content: &[u8]) -> Vec<u8> {
        let named = [&name[..], content].concat();
        let sum = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC).checksum(&named);
        let len = (content.len() as u32).to_be_bytes();
        [&len[..], &named, &sum.to_be_bytes()].concat()
    }

    fn claiming(width: u32, height: u32, rest: &[u8]) -> Vec<u8> {
        let sides = [width.to_be_bytes(), height.to_be_bytes()].concat();
        let header = chunk(b"IHDR", &[&sides[..], &[8, 6, 0, 0, 0]].concat());
        [b"\x89PNG\r\n\x1a\n", &header[..], rest].concat()
    }

    #[test]
    fn a_png_that_claims_to_be_huge_is_refused_by_its_header() {
        let mut pixels = Vec::new();
        for (width, height) in [(4097, 1), (1, 4097), (0x7fff_ffff, 0x7fff_ffff)] {
            let file = claiming(width, height, &[]);
            let refused = DropReason::BadDimensions { width, height };
            assert_eq!(check(&file), Err(refused.clone()));
            assert_eq!(decode(&file, &mut pixels), Err(refused));
        }
        let file = claiming(4096, 4096, &chunk(b"IDAT", &[0; 1000]));
        assert_eq!(
            check(&file),
            Err(UNDECODABLE),
            "1000 bytes cannot be 64 MiB"
        );
        assert_eq!(decode(&file, &mut pixels), Err(UNDECODABLE));
        assert_eq!(pixels.capacity(), 0, "and no memory is taken for them");
    }

    #[test]
    fn what_stands_beside_the_picture_is_passed_over() {
        let file = flat(ColorType::Rgb, BitDepth::Eight, &[1, 2, 3], &[]);
        let (header, rest) = file.split_at(33);
        let mut pixels = Vec::new();
        for name in [b"tEXt", b"iTXt", b"zTXt", b"iCCP", b"prIV"] {
            let file = [header, &chunk(name, &vec![7; 9 << 20]), rest].concat();
            assert_eq!(decode(&file, &mut pixels), Ok((3, 5)), "{name:?}");
        }
        let critical = [header, &chunk(b"PRIV", &[7; 9]), rest].concat();
        assert_eq!(decode(&critical, &mut pixels), Err(UNDECODABLE));
    }
}

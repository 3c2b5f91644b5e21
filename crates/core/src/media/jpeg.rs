//! JPEG, by libjpeg-turbo.

use turbojpeg::{Colorspace, DecompressHeader, Decompressor, Image, Subsamp, YuvImage};

use super::check_dimensions;
use crate::error::DropReason;

const UNDECODABLE: DropReason = DropReason::Undecodable("JPEG");

/// Progressive files may repeat scans without end and keep a decoder busy for minutes; real ones have
/// about ten (libjpeg-turbo, "Two issues with the JPEG standard").
const MAX_SCANS: u32 = 64;

/// Whether the header is readable and its dimensions are accepted.
pub(super) fn check(data: &[u8]) -> Result<(), DropReason> {
    let header = turbojpeg::read_header(data).map_err(|_| UNDECODABLE)?;
    accept(&header)
}

/// What a JPEG became, in the decoder's `pixels`.
pub(super) struct Decoded {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) layout: Layout,
}

pub(super) enum Layout {
    /// Full-range YCbCr planes, rows without padding (and without chroma when it is `Gray`).
    Planes(Subsamp),
    /// For the rare file whose colours are not YCbCr, or are subsampled in an unusual way.
    Rgba,
}

/// A decoder and its buffer, both reused.
#[derive(Default)]
pub(super) struct JpegDecoder {
    turbo: Option<Decompressor>,
    /// The last file that could be decoded. It may be taken, or swapped for another buffer.
    pub(super) pixels: Vec<u8>,
}

impl JpegDecoder {
    /// Decodes `data`; a file that breaks off in its scan is an error.
    pub(super) fn decode(&mut self, data: &[u8]) -> Result<Decoded, DropReason> {
        // A decoder that failed is not used again: nothing of a broken file can reach the next one.
        let mut turbo = match self.turbo.take() {
            Some(turbo) => turbo,
            None => new_decompressor().map_err(|_| UNDECODABLE)?,
        };
        let header = turbo.read_header(data).map_err(|_| UNDECODABLE)?;
        accept(&header)?;
        let (width, height, subsamp) = (header.width, header.height, header.subsamp);
        let layout = if is_planar(&header) {
            let len = turbojpeg::yuv_pixels_len(width, 1, height, subsamp);
            self.pixels.resize(len.map_err(|_| UNDECODABLE)?, 0);
            let image = YuvImage {
                pixels: self.pixels.as_mut_slice(),
                width,
                align: 1,
                height,
                subsamp,
            };
            turbo
                .decompress_to_yuv(data, image)
                .map_err(|_| UNDECODABLE)?;
            Layout::Planes(subsamp)
        } else {
            self.pixels.resize(width * height * 4, 0);
            let image = Image {
                pixels: self.pixels.as_mut_slice(),
                width,
                pitch: width * 4,
                height,
                format: turbojpeg::PixelFormat::RGBA,
            };
            turbo.decompress(data, image).map_err(|_| UNDECODABLE)?;
            Layout::Rgba
        };
        self.turbo = Some(turbo);
        Ok(Decoded {
            width,
            height,
            layout,
        })
    }
}

fn new_decompressor() -> turbojpeg::Result<Decompressor> {
    let mut turbo = Decompressor::new()?;
    turbo.set_scan_limit(MAX_SCANS)?;
    Ok(turbo)
}

fn accept(header: &DecompressHeader) -> Result<(), DropReason> {
    let side = |pixels: usize| u32::try_from(pixels).unwrap_or(u32::MAX);
    check_dimensions(side(header.width), side(header.height))?;
    match header.colorspace {
        // They need a colour profile to become RGB.
        Colorspace::CMYK | Colorspace::YCCK => Err(UNDECODABLE),
        _ => Ok(()),
    }
}

fn is_planar(header: &DecompressHeader) -> bool {
    matches!(header.colorspace, Colorspace::YCbCr | Colorspace::Gray)
        && header.subsamp != Subsamp::Unknown
        && !header.is_lossless
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    fn talking_head() -> Vec<u8> {
        std::fs::read(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../assets/talking-head/000.jpg"
        ))
        .unwrap()
    }

    #[test]
    fn a_jpeg_that_claims_to_be_huge_is_refused_by_its_header() {
        let mut jpeg = talking_head();
        // SOF0: marker, length, precision, height, width (ITU-T T.81, B.2.2).
        let sof = jpeg.windows(2).position(|w| w == [0xff, 0xc0]).unwrap();
        jpeg[sof + 5..sof + 9].copy_from_slice(&[0xff, 0xdc, 0xff, 0xdc]);
        let refused = DropReason::BadDimensions {
            width: 0xffdc,
            height: 0xffdc,
        };
        assert_eq!(check(&jpeg), Err(refused.clone()));
        assert_eq!(
            JpegDecoder::default().decode(&jpeg).err(),
            Some(refused),
            "and no memory is taken for it"
        );
    }

    #[test]
    fn garbage_is_undecodable_and_the_next_file_is_not_hurt() {
        let jpeg = talking_head();
        let mut decoder = JpegDecoder::default();
        for garbage in [&[][..], &[0xff, 0xd8, 0xff], &[7; 900], &jpeg[..20_000]] {
            assert_eq!(decoder.decode(garbage).err(), Some(UNDECODABLE));
            assert!(decoder.decode(&jpeg).is_ok());
        }
        assert_eq!(check(&[]), Err(UNDECODABLE));
        assert_eq!(check(b"\xff\xd8 not a picture"), Err(UNDECODABLE));
    }

    #[test]
    fn a_header_is_checked_well_within_a_tenth_of_a_millisecond() {
        let jpeg = talking_head();
        let best = (0..50)
            .map(|_| {
                let start = Instant::now();
                check(&jpeg).unwrap();
                start.elapsed()
            })
            .min()
            .unwrap();
        assert!(best.as_micros() < 100, "{best:?}");
    }
}

//! Planes from one size to another, and where a picture lies within the stream.

use fast_image_resize::images::{CroppedImageMut, Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};

/// A part of a plane, in its samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rect {
    pub(super) x: u32,
    pub(super) y: u32,
    pub(super) width: u32,
    pub(super) height: u32,
}

impl Rect {
    /// The same part of the chroma planes; exact, since every number is even.
    pub(super) fn chroma(self) -> Self {
        Self {
            x: self.x / 2,
            y: self.y / 2,
            width: self.width / 2,
            height: self.height / 2,
        }
    }
}

/// Where a picture of `source` (width, height) lies in a stream of an even size: as large as fits with
/// its aspect ratio kept, centred, on even coordinates.
pub(super) fn letterbox(source: (u32, u32), stream: (u32, u32)) -> Rect {
    let (w, h) = (f64::from(source.0.max(1)), f64::from(source.1.max(1)));
    let factor = (f64::from(stream.0) / w).min(f64::from(stream.1) / h);
    let even = |length: f64, most: u32| (((length / 2.0).round() as u32) * 2).clamp(2, most);
    let (width, height) = (even(w * factor, stream.0), even(h * factor, stream.1));
    Rect {
        x: ((stream.0 - width) / 2) & !1,
        y: ((stream.1 - height) / 2) & !1,
        width,
        height,
    }
}

/// A plane to read.
pub(super) struct Source<'a> {
    /// `rows` rows of `stride` samples.
    pub(super) samples: &'a [u8],
    pub(super) stride: u32,
    pub(super) rows: u32,
    /// Samples of a row that belong to the picture: with odd pictures and subsampled chroma, not whole.
    pub(super) width: f64,
    /// Rows that belong to the picture.
    pub(super) height: f64,
}

/// A plane to write, of which `rect` is filled.
pub(super) struct Target<'a> {
    pub(super) samples: &'a mut [u8],
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) rect: Rect,
}

/// Fills `target.rect` with `source`, scaled where their sizes differ; `None` when the planes are
/// smaller than they say.
pub(super) fn scale(resizer: &mut Resizer, source: &Source<'_>, target: Target<'_>) -> Option<()> {
    let Rect {
        x,
        y,
        width,
        height,
    } = target.rect;
    let from = ImageRef::new(source.stride, source.rows, source.samples, PixelType::U8).ok()?;
    let mut plane =
        Image::from_slice_u8(target.width, target.height, target.samples, PixelType::U8).ok()?;
    let mut to = CroppedImageMut::new(&mut plane, x, y, width, height).ok()?;
    // Bilinear: neither ringing (which limited range would have to clip) nor, shrinking, aliasing.
    let options = ResizeOptions::new()
        .resize_alg(ResizeAlg::Convolution(FilterType::Bilinear))
        .crop(0.0, 0.0, source.width, source.height);
    resizer.resize(&from, &mut to, &options).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn aspect_ratio_is_kept_and_the_picture_is_centred() {
        let rect = |x, y, width, height| Rect {
            x,
            y,
            width,
            height,
        };
        assert_eq!(letterbox((512, 512), (512, 512)), rect(0, 0, 512, 512));
        assert_eq!(letterbox((1280, 720), (512, 512)), rect(0, 112, 512, 288));
        assert_eq!(letterbox((300, 600), (640, 480)), rect(200, 0, 240, 480));
        assert_eq!(letterbox((4096, 1), (512, 512)), rect(0, 254, 512, 2));
    }

    proptest! {
        #[test]
        fn a_letterbox_is_even_and_inside_the_stream(
            w in 1u32..=4096, h in 1u32..=4096, sw in 8u32..=2048, sh in 8u32..=2048,
        ) {
            let stream = (sw * 2, sh * 2);
            let r = letterbox((w, h), stream);
            prop_assert!([r.x, r.y, r.width, r.height].iter().all(|n| n % 2 == 0));
            prop_assert!(r.x + r.width <= stream.0 && r.y + r.height <= stream.1);
            prop_assert!(r.width == stream.0 || r.height == stream.1);
        }
    }
}

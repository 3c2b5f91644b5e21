//! Planes from one size to another, and where a picture lies within the stream.

use fast_image_resize::images::{CroppedImageMut, Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};

use crate::config::VideoFit;

/// A part of a plane, in its samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rect {
    pub(super) x: u32,
    pub(super) y: u32,
    pub(super) width: u32,
    pub(super) height: u32,
}

impl Rect {
    pub(super) fn whole((width, height): (u32, u32)) -> Self {
        Self {
            x: 0,
            y: 0,
            width,
            height,
        }
    }

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

/// A part of a picture or a plane, in its pixels or samples, not always whole ones.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Crop {
    pub(super) left: f64,
    pub(super) top: f64,
    pub(super) width: f64,
    pub(super) height: f64,
}

/// What of a picture of `source` (width, height) is shown, and where in a stream of an even size: with its aspect
/// ratio kept, centred, on even coordinates.
pub(super) fn place(source: (u32, u32), stream: (u32, u32), fit: VideoFit) -> (Crop, Rect) {
    let (w, h) = (f64::from(source.0.max(1)), f64::from(source.1.max(1)));
    let (across, down) = (f64::from(stream.0) / w, f64::from(stream.1) / h);
    let factor = match fit {
        VideoFit::Contain => across.min(down),
        VideoFit::Cover => across.max(down),
    };
    // What of the picture the stream has room for.
    let seen = |length: f64, stream: u32| match fit {
        VideoFit::Contain => length,
        VideoFit::Cover => length.min(f64::from(stream) / factor),
    };
    let even = |length: f64, most: u32| (((length / 2.0).round() as u32) * 2).clamp(2, most);
    let (shown_width, shown_height) = (seen(w, stream.0), seen(h, stream.1));
    let width = even(shown_width * factor, stream.0);
    let height = even(shown_height * factor, stream.1);
    let crop = Crop {
        left: (w - shown_width) / 2.0,
        top: (h - shown_height) / 2.0,
        width: shown_width,
        height: shown_height,
    };
    let rect = Rect {
        x: ((stream.0 - width) / 2) & !1,
        y: ((stream.1 - height) / 2) & !1,
        width,
        height,
    };
    (crop, rect)
}

/// A plane to read.
pub(super) struct Source<'a> {
    /// `rows` rows of `stride` samples.
    pub(super) samples: &'a [u8],
    pub(super) stride: u32,
    pub(super) rows: u32,
    /// What is read.
    pub(super) shown: Crop,
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
    let Crop {
        left,
        top,
        width,
        height,
    } = source.shown;
    let options = ResizeOptions::new()
        .resize_alg(ResizeAlg::Convolution(FilterType::Bilinear))
        .crop(left, top, width, height);
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
        let placed = |source, stream| place(source, stream, VideoFit::Contain).1;
        assert_eq!(placed((512, 512), (512, 512)), rect(0, 0, 512, 512));
        assert_eq!(placed((1280, 720), (512, 512)), rect(0, 112, 512, 288));
        assert_eq!(placed((300, 600), (640, 480)), rect(200, 0, 240, 480));
        assert_eq!(placed((4096, 1), (512, 512)), rect(0, 254, 512, 2));
    }

    #[test]
    fn what_covers_the_stream_is_cut_off_evenly() {
        let shown = |source, stream| {
            let (crop, rect) = place(source, stream, VideoFit::Cover);
            assert_eq!(rect, Rect::whole(stream));
            [crop.left, crop.top, crop.width, crop.height]
        };
        assert_eq!(shown((512, 512), (512, 512)), [0.0, 0.0, 512.0, 512.0]);
        assert_eq!(shown((1280, 720), (512, 512)), [280.0, 0.0, 720.0, 720.0]);
        assert_eq!(shown((300, 600), (640, 480)), [0.0, 187.5, 300.0, 225.0]);
        assert_eq!(shown((4096, 1), (512, 512)), [2047.5, 0.0, 1.0, 1.0]);
    }

    proptest! {
        #[test]
        fn a_place_is_even_and_inside_the_stream(
            w in 1u32..=4096, h in 1u32..=4096, sw in 8u32..=2048, sh in 8u32..=2048,
            covers in any::<bool>(),
        ) {
            let stream = (sw * 2, sh * 2);
            let fit = if covers { VideoFit::Cover } else { VideoFit::Contain };
            let (crop, r) = place((w, h), stream, fit);
            prop_assert!([r.x, r.y, r.width, r.height].iter().all(|n| n % 2 == 0));
            prop_assert!(r.x + r.width <= stream.0 && r.y + r.height <= stream.1);
            prop_assert!(r.width == stream.0 || r.height == stream.1);
            prop_assert!(!covers || r == Rect::whole(stream));
            prop_assert!(covers || (crop.width, crop.height) == (f64::from(w), f64::from(h)));
            prop_assert!(crop.left >= 0.0 && crop.left + crop.width <= f64::from(w));
            prop_assert!(crop.top >= 0.0 && crop.top + crop.height <= f64::from(h));
        }
    }
}

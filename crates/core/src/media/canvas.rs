//! The stream's picture, and drawing planes of any size on it.

use fast_image_resize::Resizer;

use super::I420;
use super::picture::NEUTRAL_CHROMA;
use super::scale::{Crop, Rect, Source, Target, place, scale};
use crate::config::VideoFit;

/// A planar picture to draw.
pub(super) struct Planar<'a> {
    /// Width and height in pixels.
    pub(super) size: (u32, u32),
    pub(super) y: Plane<'a>,
    /// None: grey.
    pub(super) uv: Option<[Plane<'a>; 2]>,
    /// How many pixels a chroma sample is wide and high.
    pub(super) subsampling: (u32, u32),
}

/// `rows` rows of `stride` samples.
pub(super) struct Plane<'a> {
    pub(super) samples: &'a [u8],
    pub(super) stride: u32,
    pub(super) rows: u32,
}

/// The picture, and what it takes to draw on it.
pub(super) struct Canvas {
    pub(super) picture: I420,
    /// What of `picture` is not bars.
    placed: Rect,
    /// How pictures of another shape are shown.
    pub(super) fit: VideoFit,
    resizer: Resizer,
}

impl Canvas {
    pub(super) fn new(width: u32, height: u32) -> Self {
        let picture = I420::black(width, height);
        let placed = Rect::whole(picture.size());
        Self {
            picture,
            placed,
            fit: VideoFit::default(),
            resizer: Resizer::new(),
        }
    }

    /// Says that the picture was drawn as a whole.
    pub(super) fn filled(&mut self) {
        self.placed = Rect::whole(self.picture.size());
    }

    /// Draws `from` in its place, each plane scaled from its own size; `None` when they are smaller than they say.
    pub(super) fn draw(&mut self, from: &Planar<'_>) -> Option<()> {
        let (width, height) = self.picture.size();
        let (columns, rows) = (from.size.0 & !1, from.size.1 & !1);
        let shown = match (columns, rows) == (width, height) {
            true => (columns, rows),
            false => from.size,
        };
        let (shown, placed) = place(shown, (width, height), self.fit);
        if placed != self.placed {
            self.picture.blacken();
            self.placed = placed;
        }
        let resizer = &mut self.resizer;
        let mut draw = |plane: &Plane<'_>, (across, down): (u32, u32), target: Target<'_>| {
            let source = Source {
                samples: plane.samples,
                stride: plane.stride,
                rows: plane.rows,
                shown: Crop {
                    left: shown.left / f64::from(across),
                    top: shown.top / f64::from(down),
                    width: shown.width / f64::from(across),
                    height: shown.height / f64::from(down),
                },
            };
            scale(resizer, &source, target)
        };
        let [y, u, v] = self.picture.planes_mut();
        let luma = Target {
            samples: y,
            width,
            height,
            rect: placed,
        };
        draw(&from.y, (1, 1), luma)?;
        for (at, samples) in [u, v].into_iter().enumerate() {
            let Some(plane) = from.uv.as_ref().and_then(|planes| planes.get(at)) else {
                samples.fill(NEUTRAL_CHROMA);
                continue;
            };
            let chroma = Target {
                samples,
                width: width / 2,
                height: height / 2,
                rect: placed.chroma(),
            };
            draw(plane, from.subsampling, chroma)?;
        }
        Some(())
    }

    /// Full range (0 to 255) into limited (16 to 235, chroma 16 to 240), in the place: `x / 255` for 16 bits
    /// is `(x + 128 + ((x + 128) >> 8)) >> 8`, exactly rounded.
    pub(super) fn limit_range(&mut self) {
        let (stride, place) = (self.picture.width() as usize, self.placed);
        let [y, u, v] = self.picture.planes_mut();
        each_row(y, stride, place, |y| {
            let x = u16::from(y) * 219 + 128;
            16 + ((x + (x >> 8)) >> 8) as u8
        });
        // 128 + (c - 128) * 224 / 255, without negative numbers.
        let chroma = |c: u8| {
            let x = u16::from(c) * 224 + 128 * 31 + 128;
            ((x + (x >> 8)) >> 8) as u8
        };
        each_row(u, stride / 2, place.chroma(), chroma);
        each_row(v, stride / 2, place.chroma(), chroma);
    }
}

fn each_row(samples: &mut [u8], stride: usize, rect: Rect, map: impl Fn(u8) -> u8) {
    let columns = rect.x as usize..(rect.x + rect.width) as usize;
    let rows = samples.chunks_exact_mut(stride);
    for row in rows.skip(rect.y as usize).take(rect.height as usize) {
        if let Some(row) = row.get_mut(columns.clone()) {
            for sample in row {
                *sample = map(*sample);
            }
        }
    }
}

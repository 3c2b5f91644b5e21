//! The same chart in every format gives the same picture.

use turbojpeg::Subsamp;

use super::{PATCHES, bt601, compress, frame};
use crate::media::{Converter, I420, PixelFormat, check_video};

/// Two rows of four patches, 32x48 pixels each.
const STREAM: (u32, u32) = (128, 96);
/// The stream's own size, odd ones beside it, smaller and larger ones.
const SIZES: [(u32, u32); 7] = [
    STREAM,
    (129, 96),
    (128, 97),
    (129, 97),
    (255, 191),
    (67, 50),
    (333, 250),
];

/// The chart's pixels as RGB, row by row.
pub(super) fn chart(size: (u32, u32)) -> Vec<[u8; 3]> {
    let (width, height) = size;
    let patch = |x, y| PATCHES[(y * 2 / height * 4 + x * 4 / width) as usize];
    (0..height)
        .flat_map(|y| (0..width).map(move |x| patch(x, y)))
        .collect()
}

/// A picture of RGB `pixels` in every format and what there is of each: `(what, format, data)`.
pub(super) fn in_every_format(
    pixels: &[[u8; 3]],
    size: (u32, u32),
) -> Vec<(&'static str, PixelFormat, Vec<u8>)> {
    let rgba: Vec<u8> = pixels
        .iter()
        .flat_map(|[r, g, b]| [*r, *g, *b, 9])
        .collect();
    let [y, u, v] = planes(pixels, size);
    let pairs = u.iter().zip(&v).flat_map(|(u, v)| [*u, *v]);
    let nv12 = y.iter().copied().chain(pairs).collect();
    let jpeg = |subsamp| compress(&rgba, size, subsamp);
    vec![
        ("I420", PixelFormat::I420, [&y[..], &u, &v].concat()),
        ("NV12", PixelFormat::Nv12, nv12),
        ("JPEG 4:4:4", PixelFormat::Jpeg, jpeg(Subsamp::None)),
        ("JPEG 4:2:2", PixelFormat::Jpeg, jpeg(Subsamp::Sub2x1)),
        ("JPEG 4:2:0", PixelFormat::Jpeg, jpeg(Subsamp::Sub2x2)),
        ("PNG", PixelFormat::Png, png(&pixels.concat(), size)),
        ("RGBA", PixelFormat::Rgba, rgba),
    ]
}

fn png(rgb: &[u8], (width, height): (u32, u32)) -> Vec<u8> {
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, width, height);
    encoder.set_color(png::ColorType::Rgb);
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(rgb).unwrap();
    drop(writer);
    file
}

/// By the formulas, and a chroma sample as the mean of the pixels that it covers.
fn planes(pixels: &[[u8; 3]], (width, height): (u32, u32)) -> [Vec<u8>; 3] {
    let (width, height) = (width as usize, height as usize);
    let yuv: Vec<[f64; 3]> = pixels.iter().map(|rgb| bt601(*rgb)).collect();
    let chroma = |plane: usize| {
        let mean = |x: usize, y: usize| {
            let rows =
                (y..height.min(y + 2)).flat_map(|y| (x..width.min(x + 2)).map(move |x| (x, y)));
            let covered: Vec<f64> = rows.map(|(x, y)| yuv[y * width + x][plane]).collect();
            (covered.iter().sum::<f64>() / covered.len() as f64).round() as u8
        };
        let rows = (0..height).step_by(2);
        rows.flat_map(|y| (0..width).step_by(2).map(move |x| (x, y)))
            .map(|(x, y)| mean(x, y))
            .collect()
    };
    let luma = yuv.iter().map(|yuv| yuv[0].round() as u8).collect();
    [luma, chroma(1), chroma(2)]
}

/// The largest difference inside the patches, in levels; edges are as soft as scaling makes them, and ring as far as a
/// block of JPEG.
fn levels_off(picture: &I420) -> f64 {
    let (width, height) = (STREAM.0 as usize, STREAM.1 as usize);
    let (patch_width, patch_height, edge) = (width / 4, height / 2, 12);
    let mut off = 0.0f64;
    for (index, patch) in PATCHES.into_iter().enumerate() {
        let (left, top) = (index % 4 * patch_width, index / 4 * patch_height);
        for y in top + edge..top + patch_height - edge {
            for x in left + edge..left + patch_width - edge {
                let [luma, u, v] = picture.planes();
                let chroma = y / 2 * (width / 2) + x / 2;
                let found = [luma[y * width + x], u[chroma], v[chroma]];
                for (found, expected) in found.into_iter().zip(bt601(patch)) {
                    off = off.max((f64::from(found) - expected).abs());
                }
            }
        }
    }
    off
}

#[test]
fn a_chart_looks_the_same_in_every_format_and_size() {
    for size in SIZES {
        for (what, format, data) in in_every_format(&chart(size), size) {
            let frame = frame(format, &data, size);
            assert_eq!(check_video(&frame), Ok(()), "{what} {size:?}");
            let mut converter = Converter::new(STREAM.0, STREAM.1);
            let off = levels_off(converter.convert(&frame).unwrap());
            assert!(off <= 2.0, "{what} {size:?} is {off:.1} levels off");
        }
    }
}

#[test]
fn what_needs_no_scaling_is_drawn_in_the_push_to_the_same_picture() {
    for size in [
        (128, 96),
        (129, 96),
        (128, 97),
        (129, 97),
        (130, 96),
        (67, 50),
    ] {
        for (what, format, data) in in_every_format(&chart(size), size) {
            let frame = frame(format, &data, size);
            let mut pushed = I420::black(STREAM.0, STREAM.1);
            let is_as_large = size.0 <= 129 && size.0 >= 128;
            assert_eq!(
                pushed.draw(&frame),
                is_as_large && format.is_raw(),
                "{what} {size:?}"
            );
            if pushed.draw(&frame) {
                let mut converter = Converter::new(STREAM.0, STREAM.1);
                assert_eq!(converter.convert(&frame), Ok(&pushed), "{what} {size:?}");
            }
        }
    }
}

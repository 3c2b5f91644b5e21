//! What is accepted, as far as a push looks.

use crate::error::DropReason;
use crate::media::{PixelFormat, VideoFrame, check_video};

fn frame(data: &[u8], width: u32, height: u32, format: PixelFormat) -> VideoFrame<'_> {
    super::frame(format, data, (width, height))
}

#[test]
fn a_raw_picture_needs_its_bytes_and_may_have_more() {
    let data = vec![0; 4 * 3 * 5 + 7];
    let good = frame(&data, 3, 5, PixelFormat::Rgba);
    assert_eq!(check_video(&good), Ok(()));
    assert_eq!(good.payload().len(), 60);
    assert_eq!(
        check_video(&frame(&data[..59], 3, 5, PixelFormat::Rgba)),
        Err(DropReason::ShortBuffer {
            expected: 60,
            received: 59
        })
    );
}

#[test]
fn dimensions_are_bounded_before_anything_is_computed_from_them() {
    for (width, height) in [(0, 5), (5, 0), (4097, 1), (u32::MAX, u32::MAX)] {
        assert_eq!(
            check_video(&frame(&[0; 64], width, height, PixelFormat::Rgba)),
            Err(DropReason::BadDimensions { width, height })
        );
    }
}

#[test]
fn a_timestamp_is_a_number_that_a_date_can_hold() {
    for timestamp_ms in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e16] {
        let frame = VideoFrame {
            timestamp_ms,
            ..frame(&[0; 4], 1, 1, PixelFormat::Rgba)
        };
        assert_eq!(check_video(&frame), Err(DropReason::BadTimestamp));
    }
}

#[test]
fn a_planar_picture_has_exactly_its_bytes() {
    let data = vec![0; 18];
    for format in [PixelFormat::I420, PixelFormat::Nv12] {
        assert_eq!(check_video(&frame(&data[..17], 3, 3, format)), Ok(()));
        let short = check_video(&frame(&data[..16], 3, 3, format)).unwrap_err();
        assert_eq!(
            (short.code(), short.to_string().as_str()),
            (
                "short-buffer",
                "`data` has 16 bytes: the declared picture needs 17"
            )
        );
        let long = check_video(&frame(&data, 3, 3, format)).unwrap_err();
        assert_eq!(
            (long.code(), long.to_string().as_str()),
            (
                "bad-length",
                "`data` has 18 bytes: the declared picture is 17, rows without padding"
            )
        );
    }
}

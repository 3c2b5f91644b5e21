//! What a fuzz target does with a picture.

use std::cell::RefCell;

use avatar_core::media::{Converter, PixelFormat, VideoFrame, check_video};

thread_local! {
    static CONVERTER: RefCell<Converter> = RefCell::new(Converter::new(64, 48));
}

/// Pushes `data` as a picture, and shows it: what was refused at the push must be refused when it is shown, and leave no
/// trace.
pub fn show(format: PixelFormat, data: &[u8], (width, height): (u32, u32)) {
    let frame = VideoFrame {
        data,
        width,
        height,
        timestamp_ms: 0.0,
        format,
    };
    CONVERTER.with_borrow_mut(|converter| {
        let before = converter.picture().clone();
        let checked = check_video(&frame);
        let shown = converter.convert(&frame).map(|_| ());
        assert!(checked.is_ok() || shown == checked);
        if shown.is_err() {
            assert!(converter.picture() == &before);
        }
    });
}

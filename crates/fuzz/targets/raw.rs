//! Raw pictures of any size, with any number of bytes.
#![no_main]

use avatar_core::media::PixelFormat;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((&[format, width, more_width, height, more_height], pixels)) =
        data.split_first_chunk()
    else {
        return;
    };
    let formats = [PixelFormat::Rgba, PixelFormat::I420, PixelFormat::Nv12];
    let format = formats[usize::from(format) % formats.len()];
    let side = |low, high| u32::from(u16::from_le_bytes([low, high]));
    let size = (side(width, more_width), side(height, more_height));
    avatar_fuzz::show(format, pixels, size);
});

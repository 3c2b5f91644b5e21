//! Whatever comes as a PNG.
#![no_main]

use avatar_core::media::PixelFormat;

libfuzzer_sys::fuzz_target!(|data: &[u8]| avatar_fuzz::show(PixelFormat::Png, data, (3, 9)));

//! Whatever comes as an Opus packet, and is decoded for listeners without Opus.
#![no_main]

use std::cell::RefCell;

use avatar_core::media::opus_packet::{MAX_BYTES, frames};
use opus::{Channels, Decoder};

thread_local! {
    static DECODER: RefCell<Option<Decoder>> = RefCell::new(Decoder::new(16_000, Channels::Mono).ok());
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Ok(frames) = frames(data) else { return };
    assert!(data.len() <= MAX_BYTES && (120..=5_760).contains(&frames));
    let mut samples = vec![0.0; frames / 3];
    DECODER.with_borrow_mut(|decoder| {
        if let Some(decoder) = decoder
            && let Ok(decoded) = decoder.decode_float(data, &mut samples, false)
        {
            assert_eq!(decoded, samples.len());
        }
    });
});

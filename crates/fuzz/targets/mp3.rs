//! Whatever comes as MP3, in pieces.
#![no_main]

use avatar_core::media::mp3::{Decoder, Framer, runs};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((&size, data)) = data.split_first() else {
        return;
    };
    let (mut framer, mut decoder, mut samples) =
        (Framer::default(), Decoder::default(), Vec::new());
    for piece in data.chunks(16 * usize::from(size) + 1) {
        let Some((frames, next)) = framer.split(piece) else {
            continue;
        };
        framer = next;
        for run in runs(&frames) {
            let mut rest = run.data;
            samples.clear();
            while let Some((bytes, _)) = decoder.decode(rest, &mut samples) {
                rest = &rest[bytes..];
            }
            assert!(rest.is_empty());
            assert_eq!(
                samples.len() as u64,
                run.frames * run.layout.channels as u64
            );
        }
    }
});

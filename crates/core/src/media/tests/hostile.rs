//! Whatever comes as any format is shown or dropped with a reason: soon, and in little memory.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::chart::{chart, in_every_format};
use super::frame;
use crate::error::DropReason;
use crate::media::{Converter, PixelFormat, VideoFrame, check_video};

const FORMATS: [PixelFormat; 5] = [
    PixelFormat::Rgba,
    PixelFormat::I420,
    PixelFormat::Nv12,
    PixelFormat::Jpeg,
    PixelFormat::Png,
];
const FILES: [PixelFormat; 2] = [PixelFormat::Jpeg, PixelFormat::Png];
const SIZE: (u32, u32) = (67, 50);
const BOUND: Duration = Duration::from_millis(100);

/// What the push and then the media thread make of a frame. The last picture is there before and after.
fn push(converter: &mut Converter, frame: &VideoFrame<'_>) -> Result<(), DropReason> {
    let before = converter.picture().clone();
    // Whoever else uses the processor may make it longer, once.
    let mut took = Vec::new();
    let (checked, shown) = loop {
        let start = Instant::now();
        let done = (check_video(frame), converter.convert(frame).map(|_| ()));
        took.push(start.elapsed());
        if took.last() < Some(&BOUND) || took.len() == 5 {
            break done;
        }
    };
    assert!(took.last() < Some(&BOUND), "took {took:?}");
    if let Err(reason) = &shown {
        assert!(!reason.to_string().is_empty());
        assert_eq!(
            converter.picture(),
            &before,
            "a dropped frame leaves no trace"
        );
    }
    match checked {
        Ok(()) => shown,
        // The check is a part of the conversion.
        Err(reason) => {
            assert_eq!(shown, Err(reason.clone()));
            Err(reason)
        }
    }
}

/// Where the picture of a PNG ends: behind the content of its last IDAT.
fn end_of_picture(format: PixelFormat, data: &[u8]) -> usize {
    // IDAT's sum and IEND; EOI.
    data.len() - if format == PixelFormat::Png { 16 } else { 2 }
}

#[test]
fn a_frame_that_breaks_off_anywhere_is_dropped_and_the_next_one_is_shown() {
    let mut converter = Converter::new(64, 48);
    for (what, format, data) in in_every_format(&chart(SIZE), SIZE) {
        let end = match FILES.contains(&format) {
            true => end_of_picture(format, &data),
            false => data.len(),
        };
        let step = (end / 400).max(1);
        for len in (0..end).step_by(step).chain(end.saturating_sub(40)..end) {
            let broken = frame(format, &data[..len], SIZE);
            let dropped = push(&mut converter, &broken);
            assert!(dropped.is_err(), "{what}: {len} of {} bytes", data.len());
        }
        assert_eq!(
            push(&mut converter, &frame(format, &data, SIZE)),
            Ok(()),
            "{what}"
        );
    }
}

#[test]
fn one_format_under_the_name_of_another_is_dropped() {
    let mut converter = Converter::new(64, 48);
    for (what, format, data) in in_every_format(&chart(SIZE), SIZE) {
        for other in FORMATS.into_iter().filter(|other| *other != format) {
            let dropped = push(&mut converter, &frame(other, &data, SIZE));
            let fits = |format| match format {
                // Bytes are bytes: only their number tells.
                PixelFormat::Rgba => data.len() >= 67 * 50 * 4,
                PixelFormat::I420 | PixelFormat::Nv12 => data.len() == 67 * 50 + 2 * 34 * 25,
                PixelFormat::Jpeg | PixelFormat::Png => false,
            };
            assert_eq!(dropped.is_ok(), fits(other), "{what} as {}", other.name());
        }
    }
}

#[test]
fn sizes_that_are_not_those_of_the_data_are_dropped() {
    let mut converter = Converter::new(64, 48);
    for (what, format, data) in in_every_format(&chart(SIZE), SIZE) {
        if FILES.contains(&format) {
            // What is declared beside a file does not count.
            assert_eq!(
                push(&mut converter, &frame(format, &data, (0, 9999))),
                Ok(()),
                "{what}"
            );
            continue;
        }
        for size in [
            (0, 0),
            (0, 50),
            (4096, 4096),
            (4097, 1),
            (u32::MAX, u32::MAX),
            (69, 50),
        ] {
            let dropped = push(&mut converter, &frame(format, &data, size));
            assert!(dropped.is_err(), "{what} {size:?}");
        }
    }
}

#[test]
fn a_small_file_that_claims_to_be_as_large_as_is_accepted_is_dropped_soon() {
    let mut converter = Converter::new(64, 48);
    for (what, format, mut data) in in_every_format(&chart(SIZE), SIZE) {
        let largest = 4096u16.to_be_bytes();
        match format {
            PixelFormat::Jpeg => {
                // SOF0: marker, length, precision, height, width (ITU-T T.81, B.2.2).
                let sof = data.windows(2).position(|w| w == [0xff, 0xc0]).unwrap();
                data[sof + 5..sof + 9].copy_from_slice(&[largest, largest].concat());
            }
            PixelFormat::Png => {
                // IHDR: width, height, five bytes more, sum (RFC 2083, 4.1.1).
                for at in [18, 22] {
                    data[at..at + 2].copy_from_slice(&largest);
                }
                let sum = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC).checksum(&data[12..29]);
                data[29..33].copy_from_slice(&sum.to_be_bytes());
            }
            _ => continue,
        }
        let dropped = push(&mut converter, &frame(format, &data, SIZE));
        assert_eq!(
            dropped,
            Err(DropReason::Undecodable(format.name())),
            "{what}"
        );
    }
}

#[test]
fn every_byte_of_a_files_head_may_be_anything() {
    let mut converter = Converter::new(64, 48);
    for (_, format, data) in in_every_format(&chart(SIZE), SIZE) {
        if !FILES.contains(&format) {
            continue;
        }
        let mut bent = data.clone();
        for at in 0..data.len().min(700) {
            for value in [0, 1, 0x7f, 0xff, data[at] ^ 0x10] {
                bent[at] = value;
                let _shown_or_dropped = push(&mut converter, &frame(format, &bent, SIZE));
            }
            bent[at] = data[at];
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn random_bytes_are_no_picture_file(
        bytes in prop::collection::vec(any::<u8>(), 0..3000),
        starts_well in any::<bool>(),
    ) {
        let mut converter = Converter::new(64, 48);
        for (format, signature) in [
            (PixelFormat::Jpeg, &b"\xff\xd8\xff"[..]),
            (PixelFormat::Png, b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR"),
        ] {
            let head = if starts_well { signature } else { &[] };
            let data = [head, &bytes].concat();
            prop_assert!(push(&mut converter, &frame(format, &data, SIZE)).is_err());
        }
    }

    #[test]
    fn bytes_changed_at_random_do_no_harm(
        which in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..30),
    ) {
        let all = in_every_format(&chart((33, 25)), (33, 25));
        let (_, format, mut data) = all[which.index(all.len())].clone();
        for (at, value) in changes {
            let at = at.index(data.len());
            data[at] = value;
        }
        let _shown_or_dropped = push(&mut Converter::new(64, 48), &frame(format, &data, (33, 25)));
    }

    #[test]
    fn raw_bytes_of_any_number_and_size_are_shown_or_dropped(
        len in 0usize..20_000,
        width in 0u32..200,
        height in 0u32..200,
    ) {
        let data = vec![7; len];
        for format in [PixelFormat::Rgba, PixelFormat::I420, PixelFormat::Nv12] {
            let _shown_or_dropped =
                push(&mut Converter::new(64, 48), &frame(format, &data, (width, height)));
        }
    }
}

//! MP3: its frames, found in pieces of a stream that may be cut anywhere, and decoded by Symphonia.

use symphonia_bundle_mp3::MpaDecoder;
use symphonia_core::codecs::audio::well_known::CODEC_ID_MP3;
use symphonia_core::codecs::audio::{AudioCodecParameters, AudioDecoder, AudioDecoderOptions};
use symphonia_core::packet::PacketRef;
use symphonia_core::units::{Duration, Timestamp};

/// Bytes in a row that belong to no frame, after which a piece is given up.
const MAX_JUNK: usize = 64 * 1024;
/// What begins a tag at the end of a file, and how long it is.
const ID3V1: &[u8] = b"TAG";
const ID3V1_BYTES: usize = 128;
/// What begins a tag at the beginning of a file.
const ID3V2: &[u8] = b"ID3";
const ID3V2_HEADER_BYTES: usize = 10;

/// What a frame says of itself (ISO/IEC 11172-3, 2.4.1.3; 13818-3, 2.4.2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Header {
    layout: Layout,
    /// Samples of each channel.
    frames: usize,
    /// The whole frame, this header included.
    bytes: usize,
    /// Where an encoder's notes are, in the place of sound.
    notes_at: usize,
}

/// How decoded sound is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Samples a second and channel.
    pub rate: u32,
    /// 1 or 2.
    pub channels: usize,
}

impl Header {
    const BYTES: usize = 4;

    fn parse(data: &[u8]) -> Option<Self> {
        const MPEG_1: [usize; 15] = [
            0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320,
        ];
        const MPEG_2: [usize; 15] = [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160];
        let [sync, kind, rates, mode] = *data.first_chunk()?;
        if sync != 0xff || kind & 0xe6 != 0xe2 {
            return None;
        }
        // 3: MPEG-1; 2: MPEG-2, of half the rates; 0: "MPEG-2.5", of a quarter.
        let (kilobits, divisor) = match kind >> 3 & 3 {
            3 => (MPEG_1, 1),
            2 => (MPEG_2, 2),
            0 => (MPEG_2, 4),
            _ => return None,
        };
        let rate = [44_100, 48_000, 32_000].get(usize::from(rates >> 2 & 3))? / divisor;
        let kilobits = *kilobits.get(usize::from(rates >> 4)).filter(|k| **k > 0)?;
        let channels = if mode >> 6 == 3 { 1 } else { 2 };
        let frames = if divisor == 1 { 1_152 } else { 576 };
        let side_information = match (divisor, channels) {
            (1, 2) => 32,
            (1, _) | (_, 2) => 17,
            _ => 9,
        };
        Some(Self {
            layout: Layout { rate, channels },
            frames,
            bytes: frames / 8 * kilobits * 1_000 / rate as usize + usize::from(rates >> 1 & 1),
            notes_at: Self::BYTES + side_information,
        })
    }
}

/// Frames of one layout, one behind the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run<'a> {
    /// Of all of them.
    pub layout: Layout,
    /// Samples of each channel.
    pub frames: u64,
    /// The frames.
    pub data: &'a [u8],
}

/// The runs that whole frames are; what is not ends them.
pub fn runs(data: &[u8]) -> impl Iterator<Item = Run<'_>> {
    let mut rest = data;
    std::iter::from_fn(move || {
        let Header { layout, .. } = Header::parse(rest)?;
        let (mut bytes, mut frames) = (0, 0);
        while let Some(header) = rest.get(bytes..).and_then(Header::parse)
            && header.layout == layout
            && bytes + header.bytes <= rest.len()
        {
            bytes += header.bytes;
            frames += header.frames as u64;
        }
        let (data, behind) = rest.split_at_checked(bytes)?;
        rest = behind;
        (bytes > 0).then_some(Run {
            layout,
            frames,
            data,
        })
    })
}

/// Finds the frames of a stream that comes in pieces: files as a whole, or cut anywhere.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Framer {
    /// What begins a frame or a tag that the next piece ends.
    begun: Vec<u8>,
    /// Bytes of a tag that are still to come.
    tag_left: usize,
}

impl Framer {
    /// The frames that are whole with `piece`, and the framer for the next one. None: `piece` is no MP3.
    pub fn split(&self, piece: &[u8]) -> Option<(Vec<u8>, Self)> {
        if !self.begun.is_empty() {
            let joined = [&self.begun, piece].concat();
            if let Some(split) = Walk::over(&joined, 0) {
                return Some(split);
            }
        }
        // It may also begin anew, even within a tag, whose length may be wrong.
        let begins_anew = piece.starts_with(ID3V2) || first_frame(piece).is_some();
        Walk::over(piece, if begins_anew { 0 } else { self.tag_left })
    }
}

/// On the way through a piece.
#[derive(Default)]
struct Walk {
    frames: Vec<u8>,
    next: Framer,
    /// A frame or a tag was.
    found: bool,
    junk: usize,
}

impl Walk {
    fn over(data: &[u8], tag_left: usize) -> Option<(Vec<u8>, Framer)> {
        let mut walk = Self::default();
        let mut rest = match tag_left {
            0 => data,
            bytes => walk.skip(data, bytes),
        };
        while !rest.is_empty() {
            rest = walk.step(rest);
        }
        let is_mp3 = walk.found || walk.next != Framer::default();
        is_mp3.then_some((walk.frames, walk.next))
    }

    /// Takes what `rest` begins with; gives what is behind it.
    fn step<'a>(&mut self, rest: &'a [u8]) -> &'a [u8] {
        if self.junk == 0
            && let Some(bytes) = tag_bytes(rest)
        {
            return self.skip(rest, bytes);
        }
        if let Some((header, frame, behind)) = first_frame(rest) {
            self.take(header, frame);
            return behind;
        }
        // What is cut off is believed where a frame is due: behind another one, or at the beginning.
        let is_cut_off = Header::parse(rest).is_some_and(|header| header.bytes > rest.len())
            || (rest.len() < ID3V2_HEADER_BYTES && may_begin(rest));
        if is_cut_off && self.junk == 0 {
            self.next.begun = rest.to_vec();
            return &[];
        }
        self.junk += 1;
        if self.junk >= MAX_JUNK {
            return &[];
        }
        rest.get(1..).unwrap_or_default()
    }

    fn take(&mut self, header: Header, frame: &[u8]) {
        self.junk = 0;
        self.found = true;
        let notes = frame.get(header.notes_at..).unwrap_or_default();
        if notes.starts_with(b"Xing") || notes.starts_with(b"Info") {
            return;
        }
        self.frames.extend_from_slice(frame);
    }

    fn skip<'a>(&mut self, rest: &'a [u8], bytes: usize) -> &'a [u8] {
        self.found = true;
        self.next.tag_left = bytes.saturating_sub(rest.len());
        rest.get(bytes..).unwrap_or_default()
    }
}

/// The frame that `data` begins with, if the next one, a tag or nothing follows; and what is behind it.
fn first_frame(data: &[u8]) -> Option<(Header, &[u8], &[u8])> {
    let header = Header::parse(data)?;
    let (frame, behind) = data.split_at_checked(header.bytes)?;
    may_begin(behind).then_some((header, frame, behind))
}

/// Bytes of the tag that `data` begins with.
fn tag_bytes(data: &[u8]) -> Option<usize> {
    if data.starts_with(ID3V1) {
        return Some(ID3V1_BYTES);
    }
    if !data.starts_with(ID3V2) {
        return None;
    }
    let [_, _, _, _, _, flags, size @ ..] = *data.first_chunk::<ID3V2_HEADER_BYTES>()?;
    // Seven bits of each byte count; a footer repeats the header.
    let size = size
        .iter()
        .fold(0, |size, byte| size << 7 | usize::from(byte & 0x7f));
    let footer = if flags & 0x10 == 0 {
        0
    } else {
        ID3V2_HEADER_BYTES
    };
    Some(ID3V2_HEADER_BYTES + size + footer)
}

/// Whether a frame, a tag or nothing begins here, as far as there is anything.
fn may_begin(data: &[u8]) -> bool {
    let begins = |with: &[u8]| data.starts_with(with) || with.starts_with(data);
    let is_frame = match *data {
        [sync] => sync == 0xff,
        [sync, kind] | [sync, kind, _] => sync == 0xff && kind & 0xe6 == 0xe2,
        _ => Header::parse(data).is_some(),
    };
    is_frame || begins(ID3V1) || begins(ID3V2)
}

/// A decoder of the frames of one stream, each of which may need the ones before.
#[derive(Default)]
pub struct Decoder {
    /// And what it was made for.
    mpeg: Option<(MpaDecoder, Layout)>,
    samples: Vec<f32>,
}

impl Decoder {
    /// Decodes the frame that `data` begins with and appends its interleaved samples, or silence when it is damaged.
    /// Gives its bytes and its samples a channel; `None`: there is no frame.
    pub fn decode(&mut self, data: &[u8], out: &mut Vec<f32>) -> Option<(usize, usize)> {
        let header = Header::parse(data)?;
        let frame = data.get(..header.bytes)?;
        let mut samples = std::mem::take(&mut self.samples);
        samples.clear();
        if let Some(mpeg) = self.mpeg_for(header.layout) {
            let packet = PacketRef::new(0, Timestamp::ZERO, Duration::ZERO, frame);
            if let Ok(decoded) = mpeg.decode_ref(&packet) {
                decoded.copy_to_vec_interleaved(&mut samples);
            }
        }
        samples.resize(header.frames * header.layout.channels, 0.0);
        out.extend_from_slice(&samples);
        self.samples = samples;
        Some((header.bytes, header.frames))
    }

    fn mpeg_for(&mut self, layout: Layout) -> Option<&mut MpaDecoder> {
        if self
            .mpeg
            .as_ref()
            .is_none_or(|(_, made_for)| *made_for != layout)
        {
            let mut parameters = AudioCodecParameters::new();
            parameters.for_codec(CODEC_ID_MP3);
            let made = MpaDecoder::try_new(&parameters, &AudioDecoderOptions::default()).ok()?;
            self.mpeg = Some((made, layout));
        }
        self.mpeg.as_mut().map(|(mpeg, _)| mpeg)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::media::audio::tests::correlation;
    use proptest::prelude::*;

    /// Three seconds of a tone that rises from 200 to 3,500 Hz, as LAME made it: with tags and a frame of notes; of
    /// MPEG-2; of MPEG-2.5.
    pub(crate) const FILES: [(&[u8], Layout); 3] = [
        (
            include_bytes!("../../../../assets/sweep/44k-joint-vbr.mp3"),
            Layout {
                rate: 44_100,
                channels: 2,
            },
        ),
        (
            include_bytes!("../../../../assets/sweep/24k-mono.mp3"),
            Layout {
                rate: 24_000,
                channels: 1,
            },
        ),
        (
            include_bytes!("../../../../assets/sweep/11k-mono.mp3"),
            Layout {
                rate: 11_025,
                channels: 1,
            },
        ),
    ];

    /// The tone from `from` on, in seconds.
    pub(crate) fn sweep(rate: u32, from: f64, frames: usize) -> Vec<f32> {
        let at = |n: usize| from + n as f64 / f64::from(rate);
        let wave = |t: f64| (std::f64::consts::TAU * (200.0 * t + 550.0 * t * t)).sin();
        (0..frames).map(|n| 0.4 * wave(at(n)) as f32).collect()
    }

    fn split(file: &[u8]) -> Vec<u8> {
        Framer::default().split(file).unwrap().0
    }

    fn one_run(data: &[u8]) -> Run<'_> {
        let [run] = runs(data).collect::<Vec<_>>()[..] else {
            panic!("{} runs", runs(data).count())
        };
        assert_eq!(run.data, data);
        run
    }

    fn decode(mut data: &[u8]) -> Vec<f32> {
        let (mut decoder, mut samples) = (Decoder::default(), Vec::new());
        while !data.is_empty() {
            let (bytes, frames) = decoder.decode(data, &mut samples).unwrap();
            assert!(frames > 0);
            data = &data[bytes..];
        }
        samples
    }

    #[test]
    fn a_file_is_one_run_that_sounds_as_what_it_was_made_from() {
        for (file, layout) in FILES {
            let frames = split(file);
            let run = one_run(&frames);
            assert_eq!(run.layout, layout);
            let samples = decode(run.data);
            assert_eq!(samples.len() as u64, run.frames * layout.channels as u64);
            let seconds = run.frames as f64 / f64::from(layout.rate);
            assert!((3.0..3.2).contains(&seconds), "{seconds}");
            let rate = layout.rate as usize;
            for channel in 0..layout.channels {
                let heard: Vec<f32> = (samples.iter().skip(channel))
                    .step_by(layout.channels)
                    .copied()
                    .collect();
                for from in [0.3, 1.0, 2.0, 2.6] {
                    let expected = sweep(layout.rate, from, rate / 5);
                    let begun = (from * f64::from(layout.rate)) as usize;
                    let (best, delay) = correlation(&expected, &heard[begun..], rate / 8);
                    assert!(
                        best > 0.95,
                        "{layout:?} {channel} {from}: {best} at {delay}"
                    );
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_stream_may_be_cut_anywhere(
            which in 0..FILES.len(),
            sizes in prop::collection::vec(1usize..2_000, 1..40),
        ) {
            let (file, _) = FILES[which];
            let (mut framer, mut data) = (Framer::default(), Vec::new());
            let (mut rest, mut sizes) = (file, sizes.into_iter().cycle());
            while let Some(size) = sizes.next().filter(|_| !rest.is_empty()) {
                let (piece, later) = rest.split_at(size.min(rest.len()));
                let (frames, next) = framer.split(piece).unwrap();
                data.extend(frames);
                prop_assert!(next.begun.len() < 1_500);
                (framer, rest) = (next, later);
            }
            prop_assert!(data == split(file));
        }

        #[test]
        fn whatever_comes_is_refused_or_decoded(
            which in 0..FILES.len(),
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..200),
            from in 0usize..4_000,
        ) {
            let mut file = FILES[which].0[from..].to_vec();
            for (at, value) in changes {
                let at = at.index(file.len());
                file[at] = value;
            }
            if let Some((frames, _)) = Framer::default().split(&file) {
                prop_assert_eq!(runs(&frames).map(|run| run.data.len()).sum::<usize>(), frames.len());
                for run in runs(&frames) {
                    let samples = decode(run.data);
                    let expected = run.frames * run.layout.channels as u64;
                    prop_assert_eq!(samples.len() as u64, expected);
                }
            }
        }
    }

    #[test]
    fn what_is_no_mp3_is_refused() {
        let mut state = 1_u32;
        let noise: Vec<u8> = (0..100_000)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8
            })
            .collect();
        let pcm: Vec<u8> = (0..20_000_i32)
            .flat_map(|n| ((n % 400 - 200) as i16).to_le_bytes())
            .collect();
        let wav = [&b"RIFF\0\0\0\0WAVEfmt "[..], &pcm].concat();
        let jpeg = include_bytes!("../../../../assets/talking-head/000.jpg");
        for (what, data) in [
            ("nothing", &[][..]),
            ("noise", &noise),
            ("zeros", &[0; 5_000]),
            ("ones", &[0xff; 5_000]),
            ("PCM", &pcm),
            ("WAV", &wav),
            ("JPEG", jpeg),
            ("Ogg", b"OggS\0\x02\0\0\0\0\0\0\0\0"),
        ] {
            assert_eq!(Framer::default().split(data), None, "{what}");
        }
    }

    #[test]
    fn a_damaged_frame_takes_its_time_in_silence_and_the_next_ones_are_heard() {
        let (file, layout) = FILES[1];
        let whole = split(file);
        let (frame, middle) = (144, 60 * 144);
        let mut data = whole.clone();
        // All that follows the header.
        data[middle + 4..middle + frame].fill(0xff);
        let (samples, whole) = (decode(&data), decode(&whole));
        assert_eq!(samples.len(), whole.len());
        let behind = 64 * 576;
        let rate = layout.rate as usize;
        let (best, _) = correlation(&whole[behind..behind + rate / 4], &samples[behind..], 1);
        assert!(best > 0.99, "{best}");
    }

    #[test]
    fn a_stream_begins_anew_behind_one_that_was_cut_off() {
        let (file, _) = FILES[1];
        let whole = split(file);
        let (first, framer) = Framer::default().split(&file[..1_000]).unwrap();
        assert!(!first.is_empty());
        assert_ne!(framer, Framer::default());
        assert_eq!(framer.split(file).unwrap().0, whole);
        // A tag that claims to be longer than everything.
        let tag = b"ID3\x03\0\0\x7f\x7f\x7f\x7fTIT2";
        let (none, within) = Framer::default().split(tag).unwrap();
        assert!(none.is_empty());
        assert!(within.split(&[7; 2_000]).unwrap().0.is_empty());
        assert_eq!(within.split(file).unwrap().0, whole);
    }
}

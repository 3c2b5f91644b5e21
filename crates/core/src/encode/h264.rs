//! H.264 by openh264: constrained baseline, one slice a picture, Annex B.

use openh264::encoder::{
    BitRate, ColorPrimaries, Complexity, Encoder, EncoderConfig, FrameRate, FrameType,
    IntraFramePeriod, Level, Profile, RateControlMode, SpsPpsStrategy, TransferCharacteristics,
    UsageType, VuiConfig,
};
use openh264::{OpenH264API, Timestamp};
use openh264_sys2::{ENCODER_OPTION_TRACE_LEVEL, WELS_LOG_QUIET};

use super::encoder::{EncodeError, Encoded, LayerSettings, VideoEncoder};
use crate::media::I420;

/// openh264's encoder.
pub struct H264Encoder {
    openh264: Encoder,
}

impl H264Encoder {
    /// An encoder of `settings`, whatever their codec.
    pub fn new(settings: LayerSettings) -> Result<Self, EncodeError> {
        let LayerSettings {
            width,
            height,
            fps,
            bitrate_bps,
            ..
        } = settings;
        let config = EncoderConfig::new()
            .profile(Profile::Baseline)
            .level(level(width, height, fps))
            .usage_type(UsageType::CameraVideoRealTime)
            .complexity(Complexity::Low)
            .rate_control_mode(RateControlMode::Bitrate)
            .bitrate(BitRate::from_bps(bitrate_bps))
            .max_frame_rate(FrameRate::from_hz(fps as f32))
            .skip_frames(false)
            // Keyframes come from the policy alone.
            .intra_frame_period(IntraFramePeriod::from_num_frames(0))
            .scene_change_detect(false)
            .sps_pps_strategy(SpsPpsStrategy::ConstantId)
            // Many systems share the machine: a core each is not there to be had.
            .num_threads(1)
            // What canvases, JPEGs and renderers give is sRGB; only the matrix is BT.601.
            .vui(
                VuiConfig::bt601()
                    .color_primaries(ColorPrimaries::Bt709)
                    .transfer_characteristics(TransferCharacteristics::Bt709),
            );
        let mut openh264 = Encoder::with_api_config(OpenH264API::from_source(), config)?;
        silence(&mut openh264);
        Ok(Self { openh264 })
    }
}

impl VideoEncoder for H264Encoder {
    fn encode(
        &mut self,
        picture: &I420,
        elapsed_ms: f64,
        force_keyframe: bool,
        out: &mut Vec<u8>,
    ) -> Result<Encoded, EncodeError> {
        if force_keyframe {
            self.openh264.force_intra_frame();
        }
        // A float cast saturates: a time before the first is 0.
        let elapsed = elapsed_ms.min(1e12) as u64;
        let stream = self
            .openh264
            .encode_at(picture, Timestamp::from_millis(elapsed))?;
        match stream.frame_type() {
            FrameType::IDR => {
                stream.write_vec(out);
                Ok(Encoded::Keyframe)
            }
            FrameType::I | FrameType::P | FrameType::IPMixed => {
                stream.write_vec(out);
                Ok(Encoded::Delta)
            }
            FrameType::Skip | FrameType::Invalid => Ok(Encoded::Skipped),
        }
    }
}

/// Keeps openh264 from writing to stderr that no frames are skipped, which is what we ask of it. The crate
/// sets its log level only after the first picture.
#[allow(
    unsafe_code,
    reason = "the safe interface has no log level before the first picture"
)]
fn silence(encoder: &mut Encoder) {
    let mut level = WELS_LOG_QUIET;
    // SAFETY: the encoder exists, and this option reads one `int` during the call, before initialisation too
    // (codec/encoder/plus/src/welsEncoderExt.cpp, `SetOption`).
    unsafe {
        encoder
            .raw_api()
            .set_option(ENCODER_OPTION_TRACE_LEVEL, (&raw mut level).cast());
    }
}

/// The lowest level, from the offered 3.1 on, that allows this many macroblocks a picture and a second
/// (ITU-T H.264, Table A-1).
fn level(width: u32, height: u32, fps: u32) -> Level {
    const LEVELS: [(u32, u32, Level); 6] = [
        (3_600, 108_000, Level::Level_3_1),
        (5_120, 216_000, Level::Level_3_2),
        (8_192, 245_760, Level::Level_4_0),
        (8_704, 522_240, Level::Level_4_2),
        (22_080, 589_824, Level::Level_5_0),
        (36_864, 983_040, Level::Level_5_1),
    ];
    let blocks = width.div_ceil(16) * height.div_ceil(16);
    LEVELS
        .into_iter()
        .find(|(a_picture, a_second, _)| blocks <= *a_picture && blocks * fps <= *a_second)
        .map_or(Level::Level_5_2, |(_, _, level)| level)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::VideoCodec;
    use crate::media::{Converter, PixelFormat, VideoFrame};
    use openh264::decoder::Decoder;
    use openh264::formats::YUVSource;

    /// A moving picture: a gradient that drifts under a turning disc.
    fn moving(n: u32, width: u32, height: u32) -> Vec<u8> {
        let mut rgba = Vec::with_capacity((width * height * 4) as usize);
        let angle = f64::from(n) * 0.12;
        let (cx, cy) = (
            f64::from(width) * (0.5 + 0.25 * angle.cos()),
            f64::from(height) * (0.5 + 0.25 * angle.sin()),
        );
        for y in 0..height {
            for x in 0..width {
                let far = (f64::from(x) - cx).hypot(f64::from(y) - cy);
                if far < f64::from(height) / 8.0 {
                    rgba.extend([230, 180, 150, 255]);
                } else {
                    rgba.extend([
                        ((x + 2 * n) / 2) as u8,
                        ((y + n) / 3) as u8,
                        ((x + y) / 4) as u8,
                        255,
                    ]);
                }
            }
        }
        rgba
    }

    fn rgba(data: &[u8], width: u32, height: u32) -> VideoFrame<'_> {
        VideoFrame {
            data,
            width,
            height,
            timestamp_ms: 0.0,
            format: PixelFormat::Rgba,
        }
    }

    fn talking_head(n: usize) -> Vec<u8> {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../assets/talking-head");
        std::fs::read(format!("{folder}/{:03}.jpg", n % 90)).unwrap()
    }

    fn settings(width: u32, height: u32, bitrate_bps: u32) -> LayerSettings {
        LayerSettings {
            codec: VideoCodec::H264,
            width,
            height,
            fps: 30,
            bitrate_bps,
        }
    }

    fn luma_psnr(a: &impl YUVSource, b: &I420) -> f64 {
        assert_eq!(a.dimensions(), b.dimensions());
        let (width, height) = b.dimensions();
        let mut squares = 0.0;
        for row in 0..height {
            let a = &a.y()[row * a.strides().0..][..width];
            let b = &b.y()[row * width..][..width];
            for (a, b) in a.iter().zip(b) {
                squares += (f64::from(*a) - f64::from(*b)).powi(2);
            }
        }
        10.0 * (255.0f64.powi(2) * (width * height) as f64 / squares.max(1e-9)).log10()
    }

    /// Encodes 3 s at 30 fps; gives mean luma PSNR after the first half second, and the rate.
    fn quality_and_rate(pictures: impl Fn(usize) -> I420, bitrate_bps: u32) -> (f64, f64) {
        let first = pictures(0);
        let mut encoder =
            H264Encoder::new(settings(first.width(), first.height(), bitrate_bps)).unwrap();
        let mut decoder = Decoder::new().unwrap();
        let (mut psnr, mut bytes) = (Vec::new(), 0);
        for n in 0..90 {
            let picture = pictures(n);
            let mut out = Vec::new();
            let timestamp = 1.7e12 + n as f64 * 1000.0 / 30.0;
            let encoded = encoder
                .encode(&picture, timestamp, false, &mut out)
                .unwrap();
            assert_eq!(encoded == Encoded::Keyframe, n == 0);
            bytes += out.len();
            let decoded = decoder.decode(&out).unwrap().unwrap();
            psnr.push(luma_psnr(&decoded, &picture));
        }
        let settled = &psnr[15..];
        (
            settled.iter().sum::<f64>() / settled.len() as f64,
            bytes as f64 * 8.0 / 3.0,
        )
    }

    #[test]
    fn a_talking_head_is_seen_as_it_was_pushed_at_the_rate_that_was_asked_for() {
        let pictures: Vec<_> = (0..90)
            .map(|n| {
                let file = talking_head(n);
                let frame = VideoFrame {
                    format: PixelFormat::Jpeg,
                    ..rgba(&file, 512, 512)
                };
                Converter::new(512, 512).convert(&frame).unwrap().clone()
            })
            .collect();
        for bitrate in [500_000, 1_000_000] {
            let (psnr, rate) = quality_and_rate(|n| pictures[n].clone(), bitrate);
            println!("talking head: {psnr:.1} dB, {rate:.0} b/s of {bitrate}");
            assert!(psnr >= 30.0, "{psnr} dB");
            let ratio = rate / f64::from(bitrate);
            assert!((0.7..=1.3).contains(&ratio), "{rate} b/s");
        }
    }

    #[test]
    fn a_moving_picture_is_seen_as_it_was_pushed() {
        let (psnr, rate) = quality_and_rate(
            |n| {
                let data = moving(n as u32, 320, 240);
                let frame = rgba(&data, 320, 240);
                Converter::new(320, 240).convert(&frame).unwrap().clone()
            },
            600_000,
        );
        println!("moving picture: {psnr:.1} dB, {rate:.0} b/s");
        assert!(psnr >= 30.0, "{psnr} dB");
        assert!(rate <= 600_000.0 * 1.3, "{rate} b/s");
    }

    /// Types of the NAL units of an Annex B stream (ITU-T H.264, Table 7-1), with their first bytes.
    fn nal_units(stream: &[u8]) -> Vec<(u8, [u8; 4])> {
        stream
            .windows(7)
            .filter(|w| w[..3] == [0, 0, 1])
            .map(|w| (w[3] & 31, [w[3], w[4], w[5], w[6]]))
            .collect()
    }

    #[test]
    fn a_keyframe_is_sps_pps_and_one_idr_slice_of_constrained_baseline() {
        let data = moving(0, 512, 512);
        let mut converter = Converter::new(512, 512);
        let picture = converter.convert(&rgba(&data, 512, 512)).unwrap();
        let mut encoder = H264Encoder::new(settings(512, 512, 1_000_000)).unwrap();
        for (n, force) in [(0, false), (1, true)] {
            let mut out = Vec::new();
            let encoded = encoder.encode(picture, f64::from(n) * 33.3, force, &mut out);
            assert_eq!(encoded.unwrap(), Encoded::Keyframe);
            let units = nal_units(&out);
            let types: Vec<_> = units.iter().map(|(kind, _)| *kind).collect();
            assert_eq!(types, [7, 8, 5]);
            let [_, profile, constraints, level] = units[0].1;
            assert_eq!((profile, level), (66, 31));
            assert_eq!(constraints & 0x40, 0x40, "constraint_set1: constrained");
        }
        let mut out = Vec::new();
        let encoded = encoder.encode(picture, 99.0, false, &mut out).unwrap();
        assert_eq!(encoded, Encoded::Delta);
        assert_eq!(nal_units(&out).len(), 1);
    }

    #[test]
    fn larger_streams_get_a_higher_level_and_the_largest_are_refused() {
        let mut encoder = H264Encoder::new(settings(1920, 1080, 4_000_000)).unwrap();
        let mut out = Vec::new();
        let black = I420::black(1920, 1080);
        encoder.encode(&black, 0.0, false, &mut out).unwrap();
        let sps = nal_units(&out)[0].1;
        assert_eq!((sps[1], sps[3]), (66, 40));
        assert!(matches!(
            settings(4096, 4096, 4_000_000).encoder(),
            Err(EncodeError::TooLarge { .. })
        ));
    }

    /// Figures for people: `cargo test --release -p avatar-core -- --ignored --nocapture cost_of`.
    #[test]
    #[ignore = "a measurement"]
    fn cost_of_a_frame() {
        use std::time::{Duration, Instant};
        let files: Vec<_> = (0..90).map(talking_head).collect();
        let mut converter = Converter::new(512, 512);
        let mut encoder = H264Encoder::new(settings(512, 512, 1_000_000)).unwrap();
        let (mut converting, mut encoding) = (Duration::ZERO, Duration::ZERO);
        for n in 0..900usize {
            // There and back, so that there is no cut.
            let n = if n / 90 % 2 == 0 { n % 90 } else { 89 - n % 90 };
            let frame = VideoFrame {
                format: PixelFormat::Jpeg,
                ..rgba(&files[n], 512, 512)
            };
            let start = Instant::now();
            converter.convert(&frame).unwrap();
            converting += start.elapsed();
            let start = Instant::now();
            let mut out = Vec::new();
            encoder
                .encode(converter.picture(), n as f64 * 33.3, false, &mut out)
                .unwrap();
            encoding += start.elapsed();
        }
        println!("jpeg 512x512: {:?} a frame", converting / 900);
        println!("h264 512x512: {:?} a frame", encoding / 900);
        for (w, h) in [(512, 512), (513, 513), (1024, 1024), (1280, 720)] {
            let data = moving(7, w, h);
            let start = Instant::now();
            for _ in 0..200 {
                converter.convert(&rgba(&data, w, h)).unwrap();
            }
            println!("rgba {w}x{h}: {:?} a frame", start.elapsed() / 200);
        }
        let start = Instant::now();
        for file in &files {
            let frame = VideoFrame {
                format: PixelFormat::Jpeg,
                ..rgba(file, 512, 512)
            };
            crate::media::check_video(&frame).unwrap();
        }
        println!("jpeg header: {:?} a frame", start.elapsed() / 90);
    }
}

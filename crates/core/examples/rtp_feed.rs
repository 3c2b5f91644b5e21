//! The stream that the engine would send, as plain RTP to one address: the talking head in H.264 at 512x512,
//! 30 fps and 1 Mb/s, speech in Opus. It feeds other servers, for a comparison with the same packets.
//!
//! `cargo run --release -p avatar-core --example rtp_feed -- HOST VIDEO_PORT AUDIO_PORT SECONDS`

#![allow(
    clippy::unwrap_used,
    reason = "a measurement that cannot run has nothing to say"
)]

use std::net::UdpSocket;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use avatar_core::codec::{Layer, VideoCodec};
use avatar_core::encode::{Encoded, LayerSettings, VideoEncoder};
use avatar_core::media::audio::{Resampler, extend_f32};
use avatar_core::media::{Converter, PixelFormat, VideoFrame};
use avatar_core::playout::OpusEncoder;
use avatar_core::rtp::{AccessUnit, Packetizer};

const SIZE: u32 = 512;
const FPS: u32 = 30;
const BITRATE_BPS: u32 = 1_000_000;
const OPUS_PER_SECOND: u32 = 50;
const OPUS_CLOCK_HZ: u32 = 48_000;
const OPUS_FRAMES: u32 = OPUS_CLOCK_HZ / OPUS_PER_SECOND;
const SPEECH_HZ: u32 = 24_000;
/// Nobody asks this feed for a keyframe; whoever joins waits for the next one.
const FRAMES_A_KEYFRAME: u32 = 2 * FPS;

/// One track on its way to one port.
struct Track {
    socket: UdpSocket,
    packetizer: Packetizer,
    payload_type: u8,
    ssrc: u32,
}

impl Track {
    fn to(host: &str, port: &str, payload_type: u8) -> Self {
        let socket = UdpSocket::bind((host, 0)).unwrap();
        socket.connect((host, port.parse().unwrap())).unwrap();
        Self {
            socket,
            packetizer: Packetizer::default(),
            payload_type,
            ssrc: u32::from(payload_type),
        }
    }

    fn send(&self, unit: &AccessUnit) {
        for (position, payload) in unit.payloads().enumerate() {
            let marker = u8::from(unit.marker_at(position)) << 7;
            let sequence = (unit.first_index + position as u64) as u16;
            let mut packet = vec![0x80, marker | self.payload_type];
            packet.extend_from_slice(&sequence.to_be_bytes());
            packet.extend_from_slice(&(unit.timestamp as u32).to_be_bytes());
            packet.extend_from_slice(&self.ssrc.to_be_bytes());
            packet.extend_from_slice(payload);
            // Nobody listens before the other server is up.
            let _ = self.socket.send(&packet);
        }
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [host, video_port, audio_port, seconds] = &arguments[..] else {
        panic!("an address, two ports and a number of seconds are wanted");
    };
    let mut video = Track::to(host, video_port, 96);
    let mut audio = Track::to(host, audio_port, 111);
    let duration = Duration::from_secs(seconds.parse().unwrap());
    let (pictures, speech) = (talking_head(), speech());
    let mut converter = Converter::new(SIZE, SIZE);
    let mut h264 = LayerSettings {
        codec: VideoCodec::H264,
        width: SIZE,
        height: SIZE,
        fps: FPS,
        bitrate_bps: BITRATE_BPS,
    }
    .encoder()
    .unwrap();
    let mut opus = OpusEncoder::new().unwrap();
    let (mut frames, mut chunks) = (0, 0);
    let start = Instant::now();
    loop {
        let due_frame = Duration::from_secs(1) * frames / FPS;
        let due_chunk = Duration::from_secs(1) * chunks / OPUS_PER_SECOND;
        let due = due_frame.min(due_chunk);
        if due >= duration {
            break;
        }
        sleep((start + due).saturating_duration_since(Instant::now()));
        if due_frame <= due_chunk {
            let jpeg = &pictures[frames as usize % pictures.len()];
            let unit = encode(
                &mut converter,
                &mut *h264,
                &mut video.packetizer,
                jpeg,
                frames,
            );
            if let Some(unit) = unit {
                video.send(&unit);
            }
            frames += 1;
        } else {
            let pieces = speech.chunks_exact(OPUS_FRAMES as usize);
            let piece = pieces.clone().nth(chunks as usize % pieces.len()).unwrap();
            let packet = opus.encode(piece, 48_000, 1).unwrap();
            let timestamp = u64::from(chunks * OPUS_FRAMES);
            let unit = audio.packetizer.sound(packet, timestamp, chunks == 0);
            if let Some(unit) = unit {
                audio.send(&unit);
            }
            chunks += 1;
        }
    }
}

fn encode(
    converter: &mut Converter,
    encoder: &mut dyn VideoEncoder,
    packetizer: &mut Packetizer,
    jpeg: &[u8],
    number: u32,
) -> Option<std::sync::Arc<AccessUnit>> {
    let timestamp_ms = f64::from(number) * 1_000.0 / f64::from(FPS);
    let frame = VideoFrame {
        data: jpeg,
        width: SIZE,
        height: SIZE,
        timestamp_ms,
        format: PixelFormat::Jpeg,
    };
    let picture = converter.convert(&frame).unwrap();
    let mut data = Vec::new();
    let forced = number.is_multiple_of(FRAMES_A_KEYFRAME);
    let keyframe = encoder
        .encode(picture, timestamp_ms, forced, &mut data)
        .unwrap()
        == Encoded::Keyframe;
    let ticks = u64::from(number) * u64::from(Layer::Video(VideoCodec::H264).clock_hz() / FPS);
    packetizer.picture(VideoCodec::H264, &data, ticks, keyframe)
}

fn assets() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../assets"))
}

fn talking_head() -> Vec<Vec<u8>> {
    let folder = std::fs::read_dir(assets().join("talking-head")).unwrap();
    let mut files: Vec<PathBuf> = folder.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
        .iter()
        .map(|file| std::fs::read(file).unwrap())
        .collect()
}

/// At 48 kHz, -1 to 1.
fn speech() -> Vec<f32> {
    /// Of a WAV file that holds nothing but its sound.
    const WAV_HEADER: usize = 44;
    let wav = std::fs::read(assets().join("speech-24k.wav")).unwrap();
    let (mut samples, mut resampled) = (Vec::new(), Vec::new());
    extend_f32(&wav[WAV_HEADER..], &mut samples);
    let mut resampler = Resampler::new(SPEECH_HZ, OPUS_CLOCK_HZ, 1).unwrap();
    for block in samples.chunks(SPEECH_HZ as usize / 10) {
        resampler.push(block, &mut resampled);
    }
    resampler.finish(&mut resampled);
    resampled
}

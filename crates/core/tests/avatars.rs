//! Many avatars on one pool: what one does must not be noticed by another.
#![allow(
    clippy::unwrap_used,
    missing_docs,
    reason = "a test may panic and needs no documentation"
)]

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use avatar_core::codec::{AudioCodec, VideoCodec};
use avatar_core::config::MediaConfig;
use avatar_core::encode::{EncodedFrame, VideoPipeline};
use avatar_core::media::{AudioChunk, PixelFormat, SampleFormat, VideoFrame};
use avatar_core::media_pool::{MediaPool, PoolHandle};
use avatar_core::playout::{AudioPipeline, EncodedAudio};

const PATIENCE: Duration = Duration::from_secs(10);
const SIZE: u32 = 64;
const TICK_SAMPLES: u64 = 960;

/// Whose frames came out, in order.
type Order = Arc<Mutex<Vec<&'static str>>>;

/// The media of one system.
struct Avatar {
    video: VideoPipeline,
    audio: AudioPipeline,
    frames: Receiver<EncodedFrame>,
    packets: Arc<Mutex<Vec<EncodedAudio>>>,
}

impl Avatar {
    fn start(pool: &PoolHandle, name: &'static str, order: &Order) -> Self {
        let config = MediaConfig {
            video_width: SIZE,
            video_height: SIZE,
            ..MediaConfig::default()
        };
        let (frame_to, frames) = channel();
        let order = order.clone();
        let output = Box::new(move |frame: &EncodedFrame| {
            order.lock().unwrap().push(name);
            let _ = frame_to.send(frame.clone());
        });
        let video =
            VideoPipeline::spawn(pool, &config, Arc::default(), output, Box::new(|_| ())).unwrap();
        let packets = Arc::<Mutex<Vec<_>>>::default();
        let packet_to = packets.clone();
        let output = Box::new(move |packet| packet_to.lock().unwrap().push(packet));
        let audio =
            AudioPipeline::spawn(pool, &config, Arc::default(), output, Box::new(|_| ())).unwrap();
        video.set_watched(&[VideoCodec::H264]);
        audio.set_heard(&[AudioCodec::Opus]);
        Self {
            video,
            audio,
            frames,
            packets,
        }
    }

    fn show(&self, timestamp_ms: f64) {
        show(&self.video, timestamp_ms);
    }

    fn say(&self, seconds: usize) {
        let noise: Vec<u8> = (0..seconds * 48_000).map(|n| (n * n / 7) as u8).collect();
        self.audio.push(AudioChunk {
            data: &noise,
            sample_rate: 24_000,
            channels: 1,
            timestamp_ms: 0.0,
            format: SampleFormat::Pcm,
        });
    }
}

/// Ends the other thread also when this one panics.
struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

fn show(video: &VideoPipeline, timestamp_ms: f64) {
    let level = timestamp_ms as u64 as u8;
    video.push(VideoFrame {
        data: &[level; (SIZE * SIZE * 4) as usize],
        width: SIZE,
        height: SIZE,
        timestamp_ms,
        format: PixelFormat::Rgba,
    });
}

#[test]
fn starting_and_stopping_one_avatar_does_not_disturb_another() {
    let pool = MediaPool::new(2).unwrap();
    let order = Order::default();
    let steady = Avatar::start(&pool.handle(), "steady", &order);
    steady.say(60);
    let done = AtomicBool::new(false);
    let lives = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(SeqCst) {
                let brief = Avatar::start(&pool.handle(), "brief", &order);
                brief.say(1);
                for n in 0..3 {
                    brief.show(f64::from(n) * 33.0);
                }
                if lives.fetch_add(1, SeqCst).is_multiple_of(2) {
                    brief.frames.recv_timeout(PATIENCE).unwrap();
                }
                // With frames that wait and ticks that are due.
                let (frames, packets) = (brief.frames, brief.packets);
                drop((brief.video, brief.audio));
                let left = (frames.try_iter().count(), packets.lock().unwrap().len());
                std::thread::park_timeout(Duration::from_millis(1));
                let later = (frames.try_iter().count(), packets.lock().unwrap().len());
                assert_eq!(later, (0, left.1), "nothing comes out after the end");
            }
        });
        let _done = Done(&done);
        let begun = Instant::now();
        let mut last_ms = 0.0;
        for n in 0.. {
            if n >= 60 && lives.load(SeqCst) >= 40 {
                break;
            }
            assert!(begun.elapsed() < PATIENCE, "no avatar starts and stops");
            let timestamp_ms = 1_000.0 + f64::from(n) * 33.0;
            steady.show(timestamp_ms);
            let frame = steady.frames.recv_timeout(PATIENCE).unwrap();
            assert!(frame.timestamp_ms > last_ms);
            last_ms = frame.timestamp_ms;
            assert_eq!(frame.keyframe, n == 0);
            std::thread::park_timeout(Duration::from_millis(5));
        }
    });
    let video = steady.video.stats();
    assert_eq!((video.frames_in, video.superseded), (video.encoded, 0));
    let stats = steady.audio.stats();
    assert_eq!((stats.failed_ticks, stats.spurts), (0, 1));
    // Sound went on without a hole.
    let packets = steady.packets.lock().unwrap();
    let spoken = packets.iter().position(|packet| packet.spurt_start);
    let packets = &packets[spoken.unwrap()..];
    let (first, last) = (packets.first().unwrap(), packets.last().unwrap());
    let ticks = (last.position - first.position) / TICK_SAMPLES + 1;
    assert_eq!(packets.len() as u64, ticks);
    assert!(ticks > 10, "{ticks} ticks");
    assert_eq!(pool.handle().stats().panics, 0);
}

#[test]
fn a_flood_of_frames_on_one_avatar_leaves_room_for_the_others() {
    let pool = MediaPool::new(1).unwrap();
    let order = Order::default();
    let flood = Avatar::start(&pool.handle(), "flood", &order);
    let other = Avatar::start(&pool.handle(), "other", &order);
    other.say(60);
    let done = AtomicBool::new(false);
    let flooded = &flood.video;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut timestamp_ms = 0.0;
            while !done.load(SeqCst) {
                timestamp_ms += 1.0;
                show(flooded, timestamp_ms);
            }
        });
        let _done = Done(&done);
        let mut last_ms = 0.0;
        let begun = Instant::now();
        while flooded.stats().superseded == 0 {
            assert!(begun.elapsed() < PATIENCE, "no flood");
            std::thread::yield_now();
        }
        for n in 0..30 {
            let timestamp_ms = f64::from(n) * 33.0;
            other.show(timestamp_ms);
            let mark = order.lock().unwrap().len();
            let frame = other.frames.recv_timeout(PATIENCE).unwrap();
            assert!(frame.timestamp_ms > last_ms);
            last_ms = frame.timestamp_ms;
            // At most the one that was being encoded, or was due before.
            let order = order.lock().unwrap();
            let shown = order.iter().rposition(|name| *name == "other").unwrap();
            let before = order.get(mark..shown).unwrap_or_default().len();
            assert!(before <= 1, "{before} frames of the flood went before");
        }
    });
    let begun = Instant::now();
    while other.packets.lock().unwrap().len() < 5 {
        assert!(begun.elapsed() < PATIENCE, "no sound");
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

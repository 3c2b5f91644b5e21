//! What many avatars cost before the network: so many sources, 512x512 at 30 fps and 1 Mb/s each, pushed by
//! one thread as JavaScript would, encoded by the process's pool. Prints JSON.
//!
//! `cargo run --release -p avatar-core --example avatars_cost -- AVATARS SECONDS jpeg|rgba speaking|silent spread|burst`
//!
//! `burst` pushes the frames of all avatars at once, as one timer of an application would; `spread` spreads
//! them over the frame interval. Latency is from the push to the encoded frame, lateness that of the 20 ms
//! ticks of sound.

#![allow(
    clippy::unwrap_used,
    reason = "a measurement that cannot run has nothing to say"
)]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use avatar_core::codec::{AudioCodec, VideoCodec};
use avatar_core::config::MediaConfig;
use avatar_core::encode::{EncodedFrame, VideoPipeline};
use avatar_core::media::{AudioChunk, PixelFormat, SampleFormat, VideoFrame};
use avatar_core::media_pool::{MediaPool, PoolHandle};
use avatar_core::playout::AudioPipeline;

const SIZE: u32 = 512;
const FPS: u32 = 30;
const WARM_UP: Duration = Duration::from_millis(1_000);
/// A frame that takes longer than its interval is late.
const LATE_MS: f64 = 1_000.0 / FPS as f64;

struct Avatar {
    video: VideoPipeline,
    audio: AudioPipeline,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    latencies_ms: Vec<f64>,
    tick_lateness_ms: Vec<f64>,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [avatars, seconds, format, sound, timing] = &arguments[..] else {
        panic!("five arguments are wanted");
    };
    let seconds: u32 = seconds.parse().unwrap();
    let jpegs = talking_head();
    let (format, pictures) = match format.as_str() {
        "jpeg" => (PixelFormat::Jpeg, jpegs),
        "rgba" => (
            PixelFormat::Rgba,
            jpegs.iter().map(|jpeg| decode(jpeg)).collect(),
        ),
        _ => panic!("jpeg or rgba"),
    };
    let config = MediaConfig {
        video_width: SIZE,
        video_height: SIZE,
        video_fps: FPS,
        video_bitrate_bps: 1_000_000,
        ..MediaConfig::default()
    };
    let pool = MediaPool::for_this_machine().unwrap();
    let start = Instant::now();
    let avatars: Vec<Avatar> = (0..avatars.parse().unwrap())
        .map(|_| Avatar::new(&pool.handle(), &config, start))
        .collect();
    if sound == "speaking" {
        let wav = asset("speech-24k.wav");
        for avatar in &avatars {
            avatar.speak(&std::fs::read(&wav).unwrap()[44..], seconds);
        }
    }

    let interval = Duration::from_secs(1) / FPS;
    let count = avatars.len() as u32;
    let spread = match timing.as_str() {
        "spread" => interval / count,
        "burst" => Duration::ZERO,
        _ => panic!("spread or burst"),
    };
    let frames = seconds * FPS;
    let warm_up = (WARM_UP.as_millis() as u32 * FPS) / 1_000;
    let (mut before, mut measured, mut pool_before) =
        (BTreeMap::new(), start, pool.handle().stats());
    for frame in 0..warm_up + frames {
        if frame == warm_up {
            before = cpu_seconds();
            measured = Instant::now();
            pool_before = pool.handle().stats();
            avatars.iter().for_each(Avatar::forget);
        }
        for (n, avatar) in (0..).zip(&avatars) {
            let due = start + interval * frame + spread * n;
            sleep(due.saturating_duration_since(Instant::now()));
            // Every avatar shows another picture: their caches share nothing.
            let data = &pictures[(frame + 7 * n) as usize % pictures.len()];
            avatar.video.push(VideoFrame {
                data,
                width: SIZE,
                height: SIZE,
                timestamp_ms: start.elapsed().as_secs_f64() * 1_000.0,
                format,
            });
        }
    }
    sleep(interval);
    let elapsed = measured.elapsed().as_secs_f64();
    let cpu: BTreeMap<String, f64> = cpu_seconds()
        .into_iter()
        .map(|(name, seconds)| {
            let earlier = before.get(&name).copied().unwrap_or(0.0);
            (name, seconds - earlier)
        })
        .collect();
    let stats = pool.handle().stats();
    let a_second = |now: u64, before: u64| (now - before) as f64 / elapsed;
    let pool = format!(
        "{{\"stepsPerSecond\":{:.0},\"sleepsPerSecond\":{:.0},\"wakesPerSecond\":{:.0}}}",
        a_second(stats.steps, pool_before.steps),
        a_second(stats.sleeps, pool_before.sleeps),
        a_second(stats.wakes, pool_before.wakes),
    );
    report(&avatars, f64::from(seconds), elapsed, &cpu, &pool);
}

impl Avatar {
    fn new(pool: &PoolHandle, config: &MediaConfig, start: Instant) -> Self {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let frames = seen.clone();
        let output = Box::new(move |frame: &EncodedFrame| {
            let age = start.elapsed().as_secs_f64() * 1_000.0 - frame.timestamp_ms;
            frames.lock().unwrap().latencies_ms.push(age);
        });
        let warn = || Box::new(|text| eprintln!("{text}"));
        let clock = std::sync::Arc::<parking_lot::Mutex<_>>::default();
        let video = VideoPipeline::spawn(pool, config, clock.clone(), output, warn());
        let ticks = seen.clone();
        let output = Box::new(move |audio: avatar_core::playout::EncodedAudio| {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
            let lateness = now.as_secs_f64() * 1_000.0 - audio.position as f64 / 48.0;
            ticks.lock().unwrap().tick_lateness_ms.push(lateness);
        });
        let audio = AudioPipeline::spawn(
            pool,
            config,
            clock,
            output,
            Box::new(|notice| eprintln!("{notice:?}")),
        );
        let avatar = Self {
            video: video.unwrap(),
            audio: audio.unwrap(),
            seen,
        };
        avatar.video.set_watched(&[VideoCodec::H264]);
        avatar.audio.set_heard(&[AudioCodec::Opus]);
        avatar
    }

    /// Queues speech for longer than is measured.
    fn speak(&self, pcm: &[u8], seconds: u32) {
        for _ in 0..=seconds / 10 {
            self.audio.push(AudioChunk {
                data: pcm,
                sample_rate: 24_000,
                channels: 1,
                timestamp_ms: 0.0,
                format: SampleFormat::Pcm,
            });
        }
    }

    fn forget(&self) {
        let mut seen = self.seen.lock().unwrap();
        seen.latencies_ms.clear();
        seen.tick_lateness_ms.clear();
    }
}

fn report(avatars: &[Avatar], seconds: f64, elapsed: f64, cpu: &BTreeMap<String, f64>, pool: &str) {
    let (mut fps, mut latencies, mut lateness) = (Vec::new(), Vec::new(), Vec::new());
    let (mut superseded, mut convert, mut encode) = (0, Duration::ZERO, Duration::ZERO);
    for avatar in avatars {
        let seen = avatar.seen.lock().unwrap();
        fps.push(seen.latencies_ms.len() as f64 / seconds);
        latencies.extend_from_slice(&seen.latencies_ms);
        lateness.extend_from_slice(&seen.tick_lateness_ms);
        let stats = avatar.video.stats();
        superseded += stats.superseded;
        convert += stats.convert_time / avatars.len() as u32;
        encode += stats.encode_time.mean() / avatars.len() as u32;
    }
    for numbers in [&mut fps, &mut latencies, &mut lateness] {
        numbers.sort_by(f64::total_cmp);
    }
    let late = latencies.iter().filter(|ms| **ms > LATE_MS).count();
    let total: f64 = cpu.values().sum();
    let threads: Vec<String> = cpu
        .iter()
        .map(|(name, seconds)| format!("\"{name}\":{:.4}", seconds / elapsed))
        .collect();
    println!(
        "{{\"avatars\":{},\"fpsMin\":{:.2},\"fpsP50\":{:.2},\"superseded\":{superseded},\"lateFrames\":{late},\
         \"latencyMs\":{},\"tickLatenessMs\":{},\"convertMs\":{:.4},\"encodeMs\":{:.4},\
         \"cores\":{:.4},\"coresByThread\":{{{}}},\"pool\":{pool}}}",
        avatars.len(),
        at(&fps, 0.0),
        at(&fps, 0.5),
        quantiles(&latencies),
        quantiles(&lateness),
        convert.as_secs_f64() * 1_000.0,
        encode.as_secs_f64() * 1_000.0,
        total / elapsed,
        threads.join(","),
    );
}

fn quantiles(sorted: &[f64]) -> String {
    format!(
        "{{\"p50\":{:.3},\"p99\":{:.3},\"max\":{:.3}}}",
        at(sorted, 0.5),
        at(sorted, 0.99),
        at(sorted, 1.0)
    )
}

fn at(sorted: &[f64], share: f64) -> f64 {
    let index = (sorted.len().saturating_sub(1) as f64 * share).round() as usize;
    sorted.get(index).copied().unwrap_or(f64::NAN)
}

/// CPU time of each kind of thread: the first field of schedstat, in ns.
fn cpu_seconds() -> BTreeMap<String, f64> {
    let mut by_name = BTreeMap::new();
    for thread in std::fs::read_dir("/proc/self/task").unwrap() {
        let thread = thread.unwrap().path();
        let read = |file| std::fs::read_to_string(thread.join(file)).unwrap_or_default();
        let nanoseconds: f64 = read("schedstat")
            .split_ascii_whitespace()
            .next()
            .and_then(|field| field.parse().ok())
            .unwrap_or(0.0);
        *by_name.entry(read("comm").trim().to_owned()).or_insert(0.0) += nanoseconds / 1e9;
    }
    by_name
}

fn asset(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../assets")
        .join(name)
}

fn talking_head() -> Vec<Vec<u8>> {
    let mut files: Vec<_> = std::fs::read_dir(asset("talking-head"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files
        .iter()
        .map(|file| std::fs::read(file).unwrap())
        .collect()
}

fn decode(jpeg: &[u8]) -> Vec<u8> {
    turbojpeg::decompress(jpeg, turbojpeg::PixelFormat::RGBA)
        .unwrap()
        .pixels
}

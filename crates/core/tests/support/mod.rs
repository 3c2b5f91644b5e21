//! A whole system on loopback, and a source that draws and speaks.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use std::f64::consts::TAU;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use avatar_core::config::{MediaConfig, ServerConfig};
use avatar_core::error::StartError;
use avatar_core::event::{Event, PeerId};
use avatar_core::media::{AudioChunk, PixelFormat, PushOutcome, SampleFormat, VideoFrame};
use avatar_core::server::Server;
use avatar_core::source::Source;
use avatar_viewer::{Viewer, ViewerOptions};
use serde_json::json;

/// How long anything that should happen may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub fn now_ms() -> f64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_secs_f64()
        * 1_000.0
}

/// A server and its source on free ports of 127.0.0.1.
pub struct System {
    pub server: Arc<Server>,
    pub source: Arc<Source>,
    pub events: Mutex<Receiver<Event>>,
    pub port: u16,
}

impl System {
    pub fn start(media: serde_json::Value) -> Self {
        Self::on_port(0, media).unwrap()
    }

    /// A system whose signalling listens on `port`.
    pub fn on_port(port: u16, media: serde_json::Value) -> Result<Self, StartError> {
        Self::with(json!({"signalingPort": port}), media)
    }

    /// A system with more `webrtc` options than the addresses.
    pub fn with(
        mut webrtc: serde_json::Value,
        media: serde_json::Value,
    ) -> Result<Self, StartError> {
        let usual = json!({
            "signalingPort": 0,
            "signalingHost": "127.0.0.1",
            "listenIps": ["127.0.0.1"],
            "iceServers": [],
        });
        for (name, value) in usual.as_object().unwrap() {
            webrtc[name] = match &webrtc[name] {
                serde_json::Value::Null => value.clone(),
                given => given.clone(),
            };
        }
        let config = ServerConfig::from_json(&webrtc).unwrap();
        let (sender, events) = channel();
        let sender = Mutex::new(sender);
        let sink: Arc<dyn avatar_core::event::EventSink> =
            Arc::new(move |event| drop(sender.lock().unwrap().send(event)));
        let source = Source::new(MediaConfig::from_json(&media).unwrap(), sink.clone());
        let server = Server::new(config, sink);
        server.attach(&source);
        source.start();
        let port = server.start()?;
        Ok(Self {
            server,
            source,
            events: Mutex::new(events),
            port,
        })
    }

    /// Another source with the same defaults; not attached.
    pub fn another_source() -> Arc<Source> {
        let source = Source::new(
            MediaConfig::from_json(&json!({})).unwrap(),
            Arc::new(|_: Event| ()),
        );
        source.start();
        source
    }

    /// Where media comes from and goes to.
    pub fn media_address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.server.udp_port().unwrap()).into()
    }

    pub fn options(&self) -> ViewerOptions {
        ViewerOptions::new(format!("ws://127.0.0.1:{}", self.port))
    }

    pub async fn viewer(&self) -> Viewer {
        Viewer::connect(self.options()).await.unwrap()
    }

    /// The first event that `wanted` takes.
    pub fn event<T>(&self, mut wanted: impl FnMut(Event) -> Option<T>) -> T {
        let events = self.events.lock().unwrap();
        let until = Instant::now() + PATIENCE;
        loop {
            let event = events.recv_timeout(until.saturating_duration_since(Instant::now()));
            if let Some(found) = wanted(event.expect("the event never came")) {
                return found;
            }
        }
    }
}

/// Waits until `done` says so.
pub async fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < until, "never: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A viewer's name on the server.
pub fn peer_id(viewer: &Viewer) -> PeerId {
    viewer.report().peer_id.unwrap().parse().unwrap()
}

/// Waits for `more` complete frames from now on.
pub async fn more_frames(viewer: &Viewer, more: u64) -> avatar_viewer::Report {
    let seen = viewer.report().video.frames;
    viewer
        .wait_for(PATIENCE, |report| report.video.frames >= seen + more)
        .await
        .unwrap()
}

/// Pushes numbered pictures at a steady pace until dropped.
pub struct Renderer {
    stop: Arc<AtomicBool>,
    pushed: Arc<AtomicU32>,
    thread: Option<JoinHandle<()>>,
}

impl Renderer {
    pub fn start(source: &Arc<Source>, fps: u32) -> Self {
        Self::from_number(0, source, fps)
    }

    /// The first picture has this number.
    pub fn from_number(first: u32, source: &Arc<Source>, fps: u32) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let pushed = Arc::new(AtomicU32::new(0));
        let thread = std::thread::spawn({
            let (source, stop, pushed) = (source.clone(), stop.clone(), pushed.clone());
            move || {
                let began = Instant::now();
                for number in 0.. {
                    let due = began + Duration::from_secs(1) * number / fps;
                    std::thread::sleep(due.saturating_duration_since(Instant::now()));
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    push_picture(&source, first + number);
                    pushed.store(number + 1, Ordering::Relaxed);
                }
            }
        });
        Self {
            stop,
            pushed,
            thread: Some(thread),
        }
    }

    pub fn pushed(&self) -> u32 {
        self.pushed.load(Ordering::Relaxed)
    }
}

impl Drop for Renderer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
    }
}

const SIDE: u32 = 512;
const CELL: usize = 32;
const BITS: usize = 16;

/// A picture that carries its number: a row of black and white cells over a moving gradient.
pub fn picture(number: u32) -> Vec<u8> {
    let side = SIDE as usize;
    let mut rgba = vec![255; side * side * 4];
    for (at, pixel) in rgba.chunks_exact_mut(4).enumerate() {
        let (x, y) = (at % side, at / side);
        let value = if y < CELL {
            if number >> (x / CELL) & 1 == 1 {
                235
            } else {
                16
            }
        } else {
            (128.0
                + 80.0
                    * ((x as f64 + f64::from(number) * 3.0) / 90.0).sin()
                    * (y as f64 / 70.0).cos()) as u8
        };
        pixel[..3].fill(value);
    }
    rgba
}

pub fn push_picture(source: &Source, number: u32) {
    let data = picture(number);
    let now = now_ms();
    let frame = VideoFrame {
        data: &data,
        width: SIDE,
        height: SIDE,
        timestamp_ms: now,
        format: PixelFormat::Rgba,
    };
    assert_eq!(source.push_video(frame, now), PushOutcome::Queued);
}

/// The number that a decoded picture carries.
pub fn number_of(picture: &avatar_viewer::Picture) -> u32 {
    let row = CELL / 2;
    (0..BITS).fold(0, |number, bit| {
        let x = bit * CELL + CELL / 2;
        number | u32::from(picture.y[row * picture.width + x] > 128) << bit
    })
}

/// Luma noise ratio of a decoded picture against the pushed one, in dB.
pub fn psnr(decoded: &avatar_viewer::Picture, number: u32) -> f64 {
    let pushed = picture(number);
    let squares: f64 = pushed
        .chunks_exact(4)
        .zip(&decoded.y)
        .map(|(pixel, &luma)| {
            // Grey pixels: BT.601 limited range is a line.
            let expected = 16.0 + f64::from(pixel[0]) * 219.0 / 255.0;
            (expected - f64::from(luma)).powi(2)
        })
        .sum();
    10.0 * (255.0f64.powi(2) / (squares / decoded.y.len() as f64)).log10()
}

pub fn push_pcm(source: &Source, samples: &[i16], sample_rate: u32) -> PushOutcome {
    let data: Vec<u8> = samples
        .iter()
        .flat_map(|sample| sample.to_le_bytes())
        .collect();
    let now = now_ms();
    let chunk = AudioChunk {
        data: &data,
        sample_rate,
        channels: 1,
        timestamp_ms: now,
        format: SampleFormat::Pcm,
    };
    source.push_audio(chunk, now)
}

/// Samples of one of the test recordings (mono, 16-bit).
pub fn speech(rate: u32) -> Vec<i16> {
    let path = format!(
        "{}/../../assets/speech-{}k.wav",
        env!("CARGO_MANIFEST_DIR"),
        rate / 1_000
    );
    let wav = std::fs::read(path).unwrap();
    let data = wav.windows(4).position(|window| window == b"data").unwrap() + 8;
    wav[data..]
        .chunks_exact(2)
        .map(|pair| i16::from_le_bytes([pair[0], pair[1]]))
        .collect()
}

/// What a browser makes of mono sound at 16 kHz: Opus packets of 20 ms.
pub fn opus(samples: &[i16]) -> Vec<Vec<u8>> {
    let mut encoder =
        opus::Encoder::new(16_000, opus::Channels::Mono, opus::Application::Voip).unwrap();
    samples
        .chunks_exact(320)
        .map(|frame| encoder.encode_vec(frame, 1_500).unwrap())
        .collect()
}

/// Sweeps from `from` to `to` Hz: correlates with nothing but itself.
pub fn sweep(from: f64, to: f64, seconds: f64, rate: u32) -> Vec<i16> {
    let count = (seconds * f64::from(rate)) as usize;
    (0..count)
        .map(|n| {
            let t = n as f64 / f64::from(rate);
            let phase = TAU * (from * t + (to - from) * t * t / (2.0 * seconds));
            (phase.sin() * 12_000.0) as i16
        })
        .collect()
}

/// The best normalised correlation of `part` with any stretch of `whole`, both at one rate.
pub fn correlation(whole: &[i16], part: &[i16]) -> f64 {
    let energy = |samples: &[i16]| samples.iter().map(|&s| f64::from(s).powi(2)).sum::<f64>();
    let own = energy(part);
    let mut best = 0.0f64;
    for start in 0..whole.len().saturating_sub(part.len()) {
        let stretch = &whole[start..start + part.len()];
        let product: f64 = stretch
            .iter()
            .zip(part)
            .map(|(&a, &b)| f64::from(a) * f64::from(b))
            .sum();
        let norm = (own * energy(stretch)).sqrt();
        if norm > 0.0 {
            best = best.max(product / norm);
        }
    }
    best
}

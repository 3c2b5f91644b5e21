//! A crowd of light viewers: the load generator.
//!
//! **Each viewer is real** - its own WebSocket, UDP socket and address, ICE checks and consent, DTLS handshake
//! with the fingerprints checked, SRTP keys, receiver reports, NACK and PLI - **but what is the same for all is
//! done once, and not every packet is opened.** Of each packet the header is looked at: sequence number,
//! timestamp, marker. A stated share is authenticated and decrypted, and so is all RTCP, all RTX, and
//! everything until a viewer has its first keyframe.
//!
//! ```text
//!  tokio task a viewer              media threads (epoll over all sockets)
//!  WebSocket, offer, answer ─Add──► ICE ─► DTLS ─► SRTP headers ─► streams, frames ─► tally ─► report
//!           │ ping, candidates           ▲  │ reports, NACK, PLI, microphone
//! ```
//!
//! | file | owns |
//! | --- | --- |
//! | `coming`, `process` | who comes and goes; descriptors and CPU time |
//! | `attend` | one viewer's way in and out: WebSocket, offer, answer |
//! | `sdp` | the descriptions |
//! | `thread` | a media thread: epoll, timers, turns to speak |
//! | `socket` | batches in, datagrams out |
//! | `member` | one viewer without its socket |
//! | `stun`, `ice`, `dtls`, `srtp` | the path, the keys |
//! | `rtp`, `rtcp` | headers, reports, requests |
//! | `sequence`, `frames`, `streams`, `spread` | what of a stream came, and when |
//! | `histogram`, `tally`, `report` | the numbers |
//! | `microphone`, `decode` | what viewers say; what few of them see |
//!
//! What is light about it: one certificate for all; a frame counts by its headers, so that what is inside is
//! known for the opened share only; after a loss a viewer opens all packets until a keyframe begins, and what is
//! complete by then counts as frozen, as it would stand still in a browser.

mod attend;
mod coming;
mod decode;
mod dtls;
mod frames;
mod histogram;
mod ice;
mod member;
mod microphone;
mod options;
mod process;
mod report;
mod rtcp;
mod rtp;
mod sdp;
mod sequence;
mod socket;
mod spread;
mod srtp;
mod streams;
mod stun;
mod tally;
mod thread;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use decode::{DecodeQueue, DecodeThread};
use dtls::Identity;
use member::Shared;
use process::{cpu_time, raise_descriptor_limit};
use spread::Spread;
use tally::Tally;
use thread::{Command, Leaving, MediaThread, Setup, ThreadReport};

pub use options::{CrowdError, CrowdOptions, Microphone};
pub use report::{
    Connect, CrowdReport, Decode, Flood, Fps, IntervalMs, LatencyMs, SpreadMs, StepMs,
    StreamNumbers, ViewerNumbers,
};

/// Viewers that watch. When it is dropped, they say good-bye on DTLS and let their WebSockets fall;
/// [`Self::close`] is more polite.
pub struct Crowd {
    options: Arc<CrowdOptions>,
    identity: Arc<Identity>,
    // Media threads hold queues of the decoder, which ends after them.
    threads: Vec<MediaThread>,
    decoder: Option<(DecodeThread, DecodeQueue)>,
    spread: Arc<parking_lot::Mutex<Spread>>,
    attendants: VecDeque<Attendant>,
    vanished: Vec<JoinHandle<()>>,
    next_id: u64,
    expected: usize,
    failures: Vec<String>,
    window: Window,
}

/// One viewer, as its owner holds it.
struct Attendant {
    leave: oneshot::Sender<Leaving>,
    task: JoinHandle<()>,
}

/// When the window began.
struct Window {
    start: Instant,
    cpu: Duration,
    drops: u64,
    decoded: Decode,
}

impl Crowd {
    /// Brings viewers in, at the rate that was asked for. Resolves once each has a picture or has failed.
    pub async fn connect(options: CrowdOptions) -> Result<Self, CrowdError> {
        options.check()?;
        raise_descriptor_limit(options.count)?;
        let identity = Arc::new(
            Identity::generate(options.srtp_profiles.clone()).map_err(CrowdError::Identity)?,
        );
        let spread = Arc::<parking_lot::Mutex<Spread>>::default();
        let clip = options.microphone.map(microphone::encode).transpose()?;
        let threads = (0..options.threads).map(|number| {
            let shared = Shared {
                identity: identity.clone(),
                codec: options.codec,
                decrypt: options.decrypt,
                loss: crate::Loss::new(options.drop_incoming, options.seed + number as u64),
                tally: Tally::default(),
                spread: spread.clone(),
            };
            let setup = Setup {
                pause: options.pause,
                flood: options.flood,
                microphone: clip.clone(),
            };
            MediaThread::start(number, shared, setup)
        });
        let threads = threads.collect::<Result<Vec<_>, _>>()?;
        let decoder = (options.decode > 0).then(DecodeThread::start).transpose()?;
        let count = options.count;
        let mut crowd = Self {
            options: Arc::new(options),
            identity,
            threads,
            decoder,
            spread,
            attendants: VecDeque::new(),
            vanished: Vec::new(),
            next_id: 0,
            expected: 0,
            failures: Vec::new(),
            window: Window {
                start: Instant::now(),
                cpu: cpu_time(),
                drops: 0,
                decoded: Decode::default(),
            },
        };
        crowd.join(count).await?;
        Ok(crowd)
    }

    /// Lets everybody go.
    pub async fn close(mut self) {
        self.leave(usize::MAX).await;
    }

    /// How many viewers are there and have not failed to come.
    pub fn len(&self) -> usize {
        self.attendants.len()
    }

    /// Whether nobody is there.
    pub fn is_empty(&self) -> bool {
        self.attendants.is_empty()
    }

    /// Sets all counts of packets, frames and time to zero.
    pub async fn begin_window(&mut self) -> Result<(), CrowdError> {
        let ports = ports(&self.viewers().await?);
        self.window.drops = socket::drops(&ports);
        for thread in &self.threads {
            let (done, is_done) = oneshot::channel();
            thread.orders.give(Command::BeginWindow(done)).await;
            is_done.await.map_err(|_| CrowdError::ThreadGone)?;
        }
        self.spread.lock().begin_window();
        self.window.decoded = self.decoded();
        self.window.start = Instant::now();
        self.window.cpu = cpu_time();
        Ok(())
    }

    /// What was seen since the window began.
    pub async fn report(&self) -> Result<CrowdReport, CrowdError> {
        let (elapsed, cpu) = (self.window.start.elapsed(), cpu_time());
        let (tally, viewers) = self.collect().await?;
        let mut decode = self.decoded();
        decode.pictures -= self.window.decoded.pictures;
        decode.broken -= self.window.decoded.broken;
        decode.skipped -= self.window.decoded.skipped;
        let around = report::Circumstances {
            viewers: self.expected,
            failures: self.failures.clone(),
            seconds: elapsed.as_secs_f64(),
            cpu_seconds: cpu.saturating_sub(self.window.cpu).as_secs_f64(),
            socket_drops: socket::drops(&ports(&viewers)).saturating_sub(self.window.drops),
            spread: self.spread.lock().report(),
            decode,
        };
        Ok(CrowdReport::new(&viewers, &tally, around))
    }

    /// Begins a window, waits, and tells what was seen.
    pub async fn report_window(&mut self, duration: Duration) -> Result<CrowdReport, CrowdError> {
        self.begin_window().await?;
        tokio::time::sleep(duration).await;
        self.report().await
    }

    /// Each viewer's numbers since the window began.
    pub async fn viewers(&self) -> Result<Vec<ViewerNumbers>, CrowdError> {
        let (_, mut viewers) = self.collect().await?;
        viewers.sort_by_key(|viewer| viewer.id);
        Ok(viewers)
    }

    async fn collect(&self) -> Result<(Tally, Vec<ViewerNumbers>), CrowdError> {
        let mut sum = Tally::default();
        let mut all = Vec::with_capacity(self.attendants.len());
        for thread in &self.threads {
            let (report, reported) = oneshot::channel();
            thread.orders.give(Command::Report(report)).await;
            let ThreadReport { tally, viewers } =
                reported.await.map_err(|_| CrowdError::ThreadGone)?;
            sum.merge(&tally);
            all.extend(viewers);
        }
        Ok((sum, all))
    }

    fn decoded(&self) -> Decode {
        self.decoder
            .as_ref()
            .map_or_else(Decode::default, |(thread, _)| {
                let counts = &thread.counts;
                Decode {
                    viewers: self.options.decode,
                    pictures: counts.pictures.load(Ordering::Relaxed),
                    broken: counts.broken.load(Ordering::Relaxed),
                    skipped: counts.skipped.load(Ordering::Relaxed),
                }
            })
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        for attendant in &self.attendants {
            attendant.task.abort();
        }
        for task in &self.vanished {
            task.abort();
        }
        // Media threads first: the decoder's queues are theirs.
        self.threads.clear();
        if let Some((thread, queue)) = self.decoder.take() {
            drop(queue);
            drop(thread);
        }
    }
}

fn ports(viewers: &[ViewerNumbers]) -> std::collections::HashSet<u16> {
    viewers.iter().map(|viewer| viewer.port).collect()
}

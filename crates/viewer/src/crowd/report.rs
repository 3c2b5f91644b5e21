//! What a crowd saw.

use std::time::Duration;

use serde::Serialize;

use super::histogram::Histogram;
use super::sequence::Counts;
use super::tally::Tally;
use crate::report::Times;

/// Reasons that a report holds; of more there is only the number.
const MAX_FAILURES: usize = 32;

/// What one viewer saw since the window began.
#[derive(Debug, Clone)]
pub struct ViewerNumbers {
    /// Its place in the order of joining, from 0 on.
    pub id: u64,
    /// Of its UDP socket.
    pub port: u16,
    /// Since it was started.
    pub times: Times,
    /// Whether AES-GCM was negotiated.
    pub gcm: bool,
    /// Whether it ever had a keyframe, whole.
    pub has_picture: bool,
    /// Whether its packets are looked at; if not, all counts but `datagrams` and `bytes` stand still.
    pub inspected: bool,
    /// Whether all of its packets are opened, so that it knows the keyframes.
    pub witness: bool,
    /// Whether it floods.
    pub floods: bool,
    /// Frames that were complete and could be shown.
    pub frames: u64,
    /// Complete frames between a loss and the next keyframe.
    pub frozen_frames: u64,
    /// Frames given up.
    pub incomplete_frames: u64,
    /// Keyframes, as far as its packets were opened.
    pub keyframes: u64,
    /// The longest time between two frames.
    pub longest_interval: Duration,
    /// Packets of the video.
    pub video: StreamNumbers,
    /// Packets of the sound.
    pub audio: StreamNumbers,
    /// Everything that came.
    pub datagrams: u64,
    /// Its bytes above UDP.
    pub bytes: u64,
    /// Why it ended, if it did.
    pub closed: Option<String>,
}

/// Packets of one stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct StreamNumbers {
    /// Different packets that came.
    pub packets: u64,
    /// Packets that never came.
    pub lost: u64,
    /// Packets that came late: out of order, or sent again.
    pub recovered: u64,
    /// Packets that came again.
    pub duplicates: u64,
    /// Bytes above UDP.
    pub bytes: u64,
}

impl From<(Counts, u64)> for StreamNumbers {
    fn from((counts, bytes): (Counts, u64)) -> Self {
        Self {
            packets: counts.received,
            lost: counts.lost(),
            recovered: counts.late,
            duplicates: counts.duplicates,
            bytes,
        }
    }
}

impl StreamNumbers {
    fn add(&mut self, other: &Self) {
        self.packets += other.packets;
        self.lost += other.lost;
        self.recovered += other.recovered;
        self.duplicates += other.duplicates;
        self.bytes += other.bytes;
    }
}

/// A crowd's numbers in one window. The flooding viewer is left out of all but `flood`.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CrowdReport {
    /// Viewers that were to be there.
    pub viewers: usize,
    /// Those whose DTLS is connected.
    pub connected: usize,
    /// Those that have a picture.
    pub with_picture: usize,
    /// Those whose packets were looked at.
    pub inspected: usize,
    /// Why viewers failed, the first 32.
    pub failures: Vec<String>,
    /// The window's length.
    pub seconds: f64,
    /// CPU time of this process in the window, kernel included.
    pub cpu_seconds: f64,
    /// Frames a second of the inspected viewers.
    pub fps: Fps,
    /// Frames that were complete and could be shown.
    pub frames: u64,
    /// Complete frames between a loss and the next keyframe.
    pub frozen_frames: u64,
    /// Frames given up.
    pub incomplete_frames: u64,
    /// Keyframes that the first viewer got, which opens all of its packets; the others' cannot be seen.
    pub keyframes: Option<u64>,
    /// Packets of video.
    pub video: StreamNumbers,
    /// Packets of sound.
    pub audio: StreamNumbers,
    /// Share of all RTP packets that never came.
    pub loss: f64,
    /// From one frame to the next of the same viewer.
    pub interval_ms: IntervalMs,
    /// From a frame's time (RTCP sender reports) to its last packet in the viewer's socket.
    pub latency_ms: LatencyMs,
    /// From the first to the last viewer who had a frame whole.
    pub spread_ms: SpreadMs,
    /// From a viewer's start on.
    pub connect: Connect,
    /// Viewers with AES-GCM.
    pub gcm: usize,
    /// Datagrams that the kernel dropped at our sockets.
    pub socket_drops: u64,
    /// RTP packets that were opened.
    pub decrypted: u64,
    /// RTP and RTCP packets that could not be opened.
    pub auth_failures: u64,
    /// Sequence numbers asked for.
    pub nacks: u64,
    /// Keyframes asked for.
    pub plis: u64,
    /// RTP datagrams thrown away on purpose.
    pub dropped_on_purpose: u64,
    /// Datagrams that a full socket did not take.
    pub unsent: u64,
    /// All datagrams, of viewers that are not inspected too.
    pub datagrams: u64,
    /// Their bytes above UDP.
    pub bytes: u64,
    /// Microphone packets sent.
    pub microphone_packets: u64,
    /// What the flooding viewer did and saw.
    pub flood: Flood,
    /// What the decoding viewers saw.
    pub decode: Decode,
}

/// Over viewers.
#[derive(Debug, Clone, Copy, Default, Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Fps {
    pub min: f64,
    pub p50: f64,
}

/// Over frames; `None` without any.
#[derive(Debug, Clone, Copy, Default, Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct IntervalMs {
    pub p50: Option<f64>,
    pub p99: Option<f64>,
    pub max: Option<f64>,
}

/// Over frames; `None` without any.
#[derive(Debug, Clone, Copy, Default, Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct LatencyMs {
    pub samples: u64,
    pub p50: Option<f64>,
    pub p95: Option<f64>,
    pub p99: Option<f64>,
    pub max: Option<f64>,
}

/// Over frames; `None` without any.
#[derive(Debug, Clone, Copy, Default, Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct SpreadMs {
    pub p50: Option<f64>,
    pub p95: Option<f64>,
    pub p99: Option<f64>,
}

/// Over viewers; `None` without any.
#[derive(Debug, Clone, Copy, Default, Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct StepMs {
    pub p50: Option<f64>,
    pub p95: Option<f64>,
    pub max: Option<f64>,
}

/// The steps of [`Times`].
#[derive(Debug, Clone, Copy, Default, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "as in `Times`")]
pub struct Connect {
    pub websocket_ms: StepMs,
    pub answer_ms: StepMs,
    pub ice_ms: StepMs,
    pub dtls_ms: StepMs,
    pub first_packet_ms: StepMs,
    pub first_frame_ms: StepMs,
}

/// The flooding viewer.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Flood {
    /// Packets of NACK and PLI that it sent.
    pub sent: u64,
    /// Its frames a second.
    pub fps: f64,
    /// Its video.
    pub video: StreamNumbers,
}

/// The decoding viewers.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Decode {
    /// How many.
    pub viewers: usize,
    /// Pictures that came out.
    pub pictures: u64,
    /// Frames that gave an error or no picture.
    pub broken: u64,
    /// Frames not decoded because the decoder was behind, and those after a loss.
    pub skipped: u64,
}

/// What is known beside the viewers' own numbers.
pub(super) struct Circumstances {
    pub(super) viewers: usize,
    pub(super) failures: Vec<String>,
    pub(super) seconds: f64,
    pub(super) cpu_seconds: f64,
    pub(super) socket_drops: u64,
    pub(super) spread: Histogram,
    pub(super) decode: Decode,
}

impl CrowdReport {
    pub(super) fn new(numbers: &[ViewerNumbers], tally: &Tally, around: Circumstances) -> Self {
        let seconds = around.seconds;
        let counted = || numbers.iter().filter(|viewer| !viewer.floods);
        let sum = |of: fn(&ViewerNumbers) -> u64| counted().map(of).sum::<u64>();
        let streams = |of: fn(&ViewerNumbers) -> &StreamNumbers| {
            counted().fold(StreamNumbers::default(), |mut sum, viewer| {
                sum.add(of(viewer));
                sum
            })
        };
        let (video, audio) = (
            streams(|viewer| &viewer.video),
            streams(|viewer| &viewer.audio),
        );
        let lost = video.lost + audio.lost;
        let expected = video.packets + audio.packets + lost;
        let watching = counted().filter(|viewer| viewer.has_picture && viewer.inspected);
        let fps = sorted(watching.map(|viewer| viewer.frames as f64 / seconds));
        let mut failures = around.failures;
        failures.extend(numbers.iter().filter_map(|viewer| viewer.closed.clone()));
        failures.truncate(MAX_FAILURES);
        Self {
            viewers: around.viewers,
            connected: numbers.iter().filter(|v| v.times.dtls_ms.is_some()).count(),
            with_picture: numbers.iter().filter(|v| v.has_picture).count(),
            inspected: counted().filter(|viewer| viewer.inspected).count(),
            failures,
            seconds,
            cpu_seconds: around.cpu_seconds,
            fps: Fps {
                min: quantile(&fps, 0.0).unwrap_or(0.0),
                p50: quantile(&fps, 0.5).unwrap_or(0.0),
            },
            frames: sum(|viewer| viewer.frames),
            frozen_frames: sum(|viewer| viewer.frozen_frames),
            incomplete_frames: sum(|viewer| viewer.incomplete_frames),
            keyframes: numbers.iter().find(|v| v.witness).map(|v| v.keyframes),
            video,
            audio,
            loss: lost as f64 / expected.max(1) as f64,
            interval_ms: IntervalMs {
                p50: tally.intervals.quantile_ms(0.5),
                p99: tally.intervals.quantile_ms(0.99),
                max: tally.intervals.max_ms(),
            },
            latency_ms: LatencyMs {
                samples: tally.latency.total(),
                p50: tally.latency.quantile_ms(0.5),
                p95: tally.latency.quantile_ms(0.95),
                p99: tally.latency.quantile_ms(0.99),
                max: tally.latency.max_ms(),
            },
            spread_ms: SpreadMs {
                p50: around.spread.quantile_ms(0.5),
                p95: around.spread.quantile_ms(0.95),
                p99: around.spread.quantile_ms(0.99),
            },
            connect: Connect {
                websocket_ms: step(numbers, |times| times.websocket_ms),
                answer_ms: step(numbers, |times| times.answer_ms),
                ice_ms: step(numbers, |times| times.ice_ms),
                dtls_ms: step(numbers, |times| times.dtls_ms),
                first_packet_ms: step(numbers, |times| times.first_packet_ms),
                first_frame_ms: step(numbers, |times| times.first_frame_ms),
            },
            gcm: numbers.iter().filter(|viewer| viewer.gcm).count(),
            socket_drops: around.socket_drops,
            decrypted: tally.decrypted,
            auth_failures: tally.auth_failures,
            nacks: tally.nacks,
            plis: tally.plis,
            dropped_on_purpose: tally.dropped_on_purpose,
            unsent: tally.unsent,
            datagrams: numbers.iter().map(|viewer| viewer.datagrams).sum(),
            bytes: numbers.iter().map(|viewer| viewer.bytes).sum(),
            microphone_packets: tally.microphone_packets,
            flood: Flood {
                sent: tally.flood_sent,
                ..numbers.iter().find(|viewer| viewer.floods).map_or_else(
                    Flood::default,
                    |viewer| Flood {
                        sent: 0,
                        fps: viewer.frames as f64 / seconds,
                        video: viewer.video,
                    },
                )
            },
            decode: around.decode,
        }
    }
}

fn step(numbers: &[ViewerNumbers], of: fn(&Times) -> Option<f64>) -> StepMs {
    let times = sorted(numbers.iter().filter_map(|viewer| of(&viewer.times)));
    StepMs {
        p50: quantile(&times, 0.5),
        p95: quantile(&times, 0.95),
        max: quantile(&times, 1.0),
    }
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

/// The nearest value.
fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    let index = (sorted.len().checked_sub(1)? as f64 * share).round();
    sorted.get(index as usize).copied()
}

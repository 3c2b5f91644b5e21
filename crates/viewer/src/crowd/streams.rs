//! The two streams that a viewer receives: what of them came, and what has to be asked for.

use std::time::{Duration, Instant};

use super::frames::{FrameEvent, FrameLog, FramePacket};
use super::rtcp::{ReportBlock, SenderReport};
use super::rtp::Header;
use super::sequence::{Counts, SequenceLog};
use super::spread::Spread;
use super::tally::Tally;

const VIDEO_CLOCK_HZ: f64 = 90_000.0;
const AUDIO_CLOCK_HZ: f64 = 48_000.0;

/// Between keyframe requests while none comes.
const PLI_INTERVAL: Duration = Duration::from_millis(200);

/// One SSRC.
pub(super) struct Stream {
    pub(super) ssrc: u32,
    pub(super) log: SequenceLog,
    clock_hz: f64,
    /// Bytes on the wire above UDP, duplicates included.
    pub(super) bytes: u64,
    pub(super) sender_report: Option<(SenderReport, Instant)>,
    jitter: f64,
    transit: Option<f64>,
    reported: Counts,
    pub(super) at_begin: (Counts, u64),
}

impl Stream {
    fn new(header: &Header, clock_hz: f64, nack: bool) -> Self {
        Self {
            ssrc: header.ssrc,
            log: SequenceLog::new(header.sequence, nack),
            clock_hz,
            bytes: 0,
            sender_report: None,
            jitter: 0.0,
            transit: None,
            reported: Counts::default(),
            at_begin: (Counts::default(), 0),
        }
    }

    pub(super) fn audio(header: &Header) -> Self {
        Self::new(header, AUDIO_CLOCK_HZ, false)
    }

    /// Interarrival jitter (RFC 3550, A.8).
    pub(super) fn note_arrival(&mut self, timestamp: u32, arrival: Duration) {
        let ticks = (arrival.as_secs_f64() * self.clock_hz) % 2f64.powi(32);
        let transit = ticks - f64::from(timestamp);
        if let Some(before) = self.transit.replace(transit) {
            // Two clocks of 32 bits that wrap at different times.
            let step = (transit - before + 2f64.powi(31)).rem_euclid(2f64.powi(32)) - 2f64.powi(31);
            self.jitter += (step.abs() - self.jitter) / 16.0;
        }
    }

    pub(super) fn report_block(&mut self, now: Instant) -> ReportBlock {
        let counts = self.log.counts();
        let since = counts.since(&self.reported);
        self.reported = counts;
        let fraction = (since.lost() * 256)
            .checked_div(since.expected)
            .unwrap_or(0);
        ReportBlock {
            ssrc: self.ssrc,
            fraction_lost: fraction.min(255) as u8,
            lost: counts.lost() as u32,
            highest: self.log.highest() as u32,
            jitter: self.jitter as u32,
            last_report: self
                .sender_report
                .map_or(0, |(report, _)| report.compact_ntp),
            delay: self.sender_report.map_or(0, |(_, at)| {
                (now.duration_since(at).as_secs_f64() * 65_536.0) as u32
            }),
        }
    }

    pub(super) fn begin_window(&mut self) {
        self.at_begin = (self.log.counts(), self.bytes);
    }
}

/// What was seen of frames since the window began.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct FrameCounts {
    /// Complete, and fit to be shown.
    pub(super) frames: u64,
    /// Complete, but after a loss and before the next keyframe.
    pub(super) frozen: u64,
    /// Given up.
    pub(super) incomplete: u64,
    /// Keyframes among those packets that were opened.
    pub(super) keyframes: u64,
    pub(super) longest_interval: Duration,
}

/// The video of one viewer.
pub(super) struct Video {
    pub(super) stream: Stream,
    pub(super) frames: FrameLog,
    /// Nothing can be shown before one: at the beginning, and after a loss.
    pub(super) awaits_keyframe: bool,
    /// A keyframe was complete.
    pub(super) has_picture: bool,
    last_frame: Option<(u32, Duration)>,
    /// When a keyframe is to be asked for (again).
    pub(super) pli_due: Option<Instant>,
    pub(super) counts: FrameCounts,
}

/// Where the samples of one viewer go.
pub(super) struct Samples<'a> {
    pub(super) tally: &'a mut Tally,
    pub(super) spread: &'a parking_lot::Mutex<Spread>,
    /// False for the viewer that floods: it has its own numbers only.
    pub(super) counts: bool,
}

impl Video {
    pub(super) fn new(header: &Header, nack: bool, now: Instant) -> Self {
        let stream = Stream::new(header, VIDEO_CLOCK_HZ, nack);
        Self {
            frames: FrameLog::new(stream.log.first()),
            stream,
            awaits_keyframe: true,
            has_picture: false,
            last_frame: None,
            // A server that has one at hand sends it unasked.
            pli_due: Some(now + PLI_INTERVAL),
            counts: FrameCounts::default(),
        }
    }

    /// Takes a packet that did not come before.
    pub(super) fn push(
        &mut self,
        packet: FramePacket,
        now: Instant,
        arrival: Duration,
        samples: &mut Samples<'_>,
    ) {
        self.frames.push(packet, arrival);
        self.advance(now, arrival, samples);
    }

    /// Follows the frames up to now, in both clocks.
    pub(super) fn advance(&mut self, now: Instant, unix: Duration, samples: &mut Samples<'_>) {
        while let Some(event) = self.frames.poll(unix) {
            match event {
                FrameEvent::Complete {
                    timestamp,
                    arrival,
                    keyframe,
                } => self.on_complete(timestamp, arrival, keyframe, samples),
                FrameEvent::GivenUp(count) => {
                    if self.has_picture {
                        self.counts.incomplete += count;
                    }
                    self.awaits_keyframe = true;
                    self.pli_due.get_or_insert(now);
                    self.stream.log.give_up_before(self.frames.start());
                }
            }
        }
    }

    fn on_complete(
        &mut self,
        timestamp: u32,
        arrival: Duration,
        keyframe: bool,
        samples: &mut Samples<'_>,
    ) {
        self.counts.keyframes += u64::from(keyframe);
        if keyframe {
            self.awaits_keyframe = false;
            self.pli_due = None;
            self.has_picture = true;
        }
        if self.awaits_keyframe {
            self.counts.frozen += u64::from(self.has_picture);
            return;
        }
        // Padding behind a frame looks like another packet of it.
        if self.last_frame.is_some_and(|(last, _)| last == timestamp) {
            return;
        }
        self.counts.frames += 1;
        let before = self.last_frame.replace((timestamp, arrival));
        let interval = before.map(|(_, last)| arrival.saturating_sub(last));
        if let Some(interval) = interval {
            self.counts.longest_interval = self.counts.longest_interval.max(interval);
        }
        if !samples.counts {
            return;
        }
        if let Some(interval) = interval {
            samples.tally.intervals.record(ms(interval));
        }
        if let Some((report, _)) = &self.stream.sender_report {
            let media_time = report.unix_ms_of(timestamp, VIDEO_CLOCK_HZ);
            samples.tally.latency.record(ms(arrival) - media_time);
        }
        samples.spread.lock().record(timestamp, arrival);
    }

    /// Whether a keyframe is to be asked for now.
    pub(super) fn take_pli(&mut self, now: Instant) -> bool {
        let is_due = self.pli_due.is_some_and(|due| due <= now);
        if is_due {
            self.pli_due = Some(now + PLI_INTERVAL);
        }
        is_due
    }

    pub(super) fn begin_window(&mut self) {
        self.stream.begin_window();
        self.counts = FrameCounts::default();
    }
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}

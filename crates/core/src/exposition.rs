//! `GET /metrics`: everything that is counted, in Prometheus's text format (version 0.0.4). Pure.

use std::fmt::{Display, Write};

use crate::codec::{KeyframeReason, Layer};
use crate::event::PeerState;
use crate::histogram::Histogram;
use crate::metrics::Metrics;
use crate::microphone::MicrophoneUsage;
use crate::snapshot::Snapshot;
use crate::transport::NetworkStats;

const STATES: [PeerState; 4] = [
    PeerState::Connecting,
    PeerState::Connected,
    PeerState::Disconnected,
    PeerState::Failed,
];

/// The snapshot as text.
pub(crate) fn text(now: &Snapshot) -> String {
    let mut text = Text(String::with_capacity(4_096));
    if let Some(media) = &now.media {
        text.media(media);
    }
    let of_state = |state| {
        now.peers
            .iter()
            .filter(|peer| peer.info.state == state)
            .count()
    };
    let peers = STATES.map(|state| (state.as_str(), of_state(state)));
    text.family("gauge", "peers", "Browsers by state.", "state", &peers);
    let viewers: Vec<_> = Layer::all()
        .map(|layer| (layer.codec_name(), now.viewers[layer]))
        .collect();
    text.family(
        "gauge",
        "viewers",
        "Browsers that receive an encoding.",
        "codec",
        &viewers,
    );
    text.network(&now.network);
    text.microphones(&now.microphones);
    let dropped = &now.dropped_events;
    text.family(
        "counter",
        "events_dropped_total",
        "Events that JavaScript came too late for.",
        "class",
        &[
            ("audio", dropped.audio),
            ("messages", dropped.messages),
            ("state", dropped.state),
        ],
    );
    text.0
}

/// The text so far.
struct Text(String);

impl Text {
    fn media(&mut self, media: &Metrics) {
        self.gauge(
            "streaming",
            "Whether the bridge is started.",
            u8::from(media.is_streaming),
        );
        self.counter("frames_pushed_total", "Frames pushed.", media.video_frames);
        self.counter(
            "frames_encoded_total",
            "Frames encoded, repeated ones included.",
            media.encoded_frames,
        );
        self.counter(
            "frames_superseded_total",
            "Frames that a newer one replaced, or an interruption dropped, before they were encoded.",
            media.superseded_frames,
        );
        self.counter(
            "frames_invalid_total",
            "Frames whose content could not be used.",
            media.invalid_frames,
        );
        self.counter(
            "frames_late_total",
            "Frames pushed late; they are sent all the same.",
            media.late_frames,
        );
        self.counter(
            "frames_dropped_total",
            "Frames pushed late (sent all the same), superseded or invalid.",
            media.dropped_frames,
        );
        let keyframes =
            KeyframeReason::ALL.map(|why| (why.as_str(), media.keyframes[why as usize]));
        self.family(
            "counter",
            "keyframes_total",
            "Keyframes encoded, by why.",
            "reason",
            &keyframes,
        );
        self.histogram(
            "encode_seconds",
            "What an encoder took for a frame.",
            &media.encode_time,
        );
        self.gauge(
            "frames_per_second",
            "Frames pushed in the last second.",
            media.fps,
        );
        self.gauge(
            "push_latency_seconds",
            "Exponential average of a frame's age at its push.",
            media.avg_latency_ms / 1_000.0,
        );
        self.counter("chunks_pushed_total", "Chunks pushed.", media.audio_chunks);
        self.counter(
            "chunks_dropped_total",
            "Chunks not sent: invalid, or the queue was full.",
            media.dropped_chunks,
        );
        self.counter(
            "chunks_invalid_total",
            "Chunks whose content could not be used.",
            media.invalid_chunks,
        );
        self.gauge(
            "audio_queue_seconds",
            "Sound that waits to be played.",
            media.queued_audio_ms / 1_000.0,
        );
    }

    fn network(&mut self, stats: &NetworkStats) {
        self.counter(
            "packets_sent_total",
            "RTP packets sent, retransmissions included.",
            stats.packets,
        );
        self.counter(
            "bytes_sent_total",
            "Bytes of them, without UDP and IP headers.",
            stats.bytes,
        );
        self.counter(
            "packets_retransmitted_total",
            "Packets sent again (NACK).",
            stats.retransmitted,
        );
        self.family(
            "counter",
            "refused_total",
            "What viewers asked for or sent beyond what a viewer may.",
            "what",
            &[
                ("nack", stats.refused_nacks),
                ("keyframe", stats.refused_keyframe_requests),
                ("datagram", stats.refused_datagrams),
                ("message", stats.refused_messages),
            ],
        );
        self.family(
            "counter",
            "units_unsent_total",
            "Frames and pieces of sound that viewers did not get.",
            "reason",
            &[("blocked", stats.blocked_units), ("late", stats.late_units)],
        );
    }

    fn microphones(&mut self, usage: &MicrophoneUsage) {
        self.gauge(
            "microphone_decoders",
            "Microphones being decoded now.",
            usage.decoders,
        );
        self.counter(
            "microphone_packets_total",
            "Packets of microphones that were decoded.",
            usage.packets,
        );
        self.counter(
            "microphone_packets_dropped_total",
            "Packets of microphones that there was no time for.",
            usage.dropped,
        );
    }

    fn counter(&mut self, name: &str, help: &str, value: impl Display) {
        self.value("counter", name, help, value);
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.value("gauge", name, help, value);
    }

    fn value(&mut self, kind: &str, name: &str, help: &str, value: impl Display) {
        self.head(kind, name, help);
        self.line(format_args!("avatar_{name} {value}"));
    }

    fn histogram(&mut self, name: &str, help: &str, times: &Histogram) {
        self.head("histogram", name, help);
        let count = times.count();
        for (bound, within) in times.cumulative() {
            let bound = bound.as_secs_f64();
            self.line(format_args!(
                "avatar_{name}_bucket{{le=\"{bound}\"}} {within}"
            ));
        }
        self.line(format_args!("avatar_{name}_bucket{{le=\"+Inf\"}} {count}"));
        let total = times.total().as_secs_f64();
        self.line(format_args!("avatar_{name}_sum {total}"));
        self.line(format_args!("avatar_{name}_count {count}"));
    }

    /// One line for each value of a label.
    fn family(
        &mut self,
        kind: &str,
        name: &str,
        help: &str,
        label: &str,
        values: &[(&str, impl Display)],
    ) {
        self.head(kind, name, help);
        for (is, value) in values {
            self.line(format_args!("avatar_{name}{{{label}=\"{is}\"}} {value}"));
        }
    }

    fn head(&mut self, kind: &str, name: &str, help: &str) {
        self.line(format_args!("# HELP avatar_{name} {help}"));
        self.line(format_args!("# TYPE avatar_{name} {kind}"));
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.0, "{line}");
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::codec::{PerLayer, VideoCodec};
    use crate::event::{DroppedEvents, PeerId, PeerInfo};
    use crate::histogram::AtomicHistogram;
    use crate::peers::{Entry, Turnover};

    fn peer(state: PeerState) -> Entry {
        Entry {
            info: PeerInfo {
                id: PeerId::nil(),
                state,
                created_at: SystemTime::UNIX_EPOCH,
                token: None,
            },
            address: [127, 0, 0, 1].into(),
            is_here: true,
            told: None,
        }
    }

    fn snapshot(media: Option<Metrics>) -> Snapshot {
        Snapshot {
            peers: vec![
                peer(PeerState::Connected),
                peer(PeerState::Failed),
                peer(PeerState::Connected),
            ],
            turnover: Turnover::default(),
            media,
            viewers: {
                let mut viewers = PerLayer::default();
                viewers[Layer::Video(VideoCodec::Vp8)] = 2;
                viewers
            },
            network: NetworkStats {
                bytes: u64::MAX,
                refused_nacks: 3,
                ..NetworkStats::default()
            },
            microphones: MicrophoneUsage::default(),
            dropped_events: DroppedEvents {
                messages: 7,
                ..DroppedEvents::default()
            },
        }
    }

    #[test]
    fn every_value_has_its_line_and_every_family_its_help_and_type() {
        let times = AtomicHistogram::default();
        times.add(Duration::from_micros(900));
        let text = text(&snapshot(Some(Metrics {
            keyframes: [1, 2, 3, 4],
            encode_time: times.snapshot(),
            video_frames: 30,
            avg_latency_ms: 12.5,
            is_streaming: true,
            ..Metrics::default()
        })));
        for line in [
            "# TYPE avatar_frames_pushed_total counter",
            "avatar_frames_pushed_total 30",
            "avatar_streaming 1",
            "# TYPE avatar_push_latency_seconds gauge",
            "avatar_push_latency_seconds 0.0125",
            "avatar_peers{state=\"connected\"} 2",
            "avatar_peers{state=\"connecting\"} 0",
            "avatar_peers{state=\"failed\"} 1",
            "avatar_viewers{codec=\"VP8\"} 2",
            "avatar_viewers{codec=\"opus\"} 0",
            "avatar_keyframes_total{reason=\"left_out\"} 3",
            "# TYPE avatar_encode_seconds histogram",
            "avatar_encode_seconds_bucket{le=\"0.0005\"} 0",
            "avatar_encode_seconds_bucket{le=\"0.001\"} 1",
            "avatar_encode_seconds_bucket{le=\"+Inf\"} 1",
            "avatar_encode_seconds_sum 0.0009",
            "avatar_encode_seconds_count 1",
            "avatar_bytes_sent_total 18446744073709551615",
            "avatar_refused_total{what=\"nack\"} 3",
            "avatar_events_dropped_total{class=\"messages\"} 7",
        ] {
            assert!(text.lines().any(|other| other == line), "{line}\n{text}");
        }
        let values = text.lines().filter(|line| !line.starts_with('#'));
        for line in values {
            let name = line.split(['{', ' ']).next().unwrap();
            let of_histogram = ["_bucket", "_sum", "_count"];
            let family = of_histogram.iter().find_map(|part| name.strip_suffix(part));
            let name = family.unwrap_or(name);
            let is_known = |kind: &str| text.matches(&format!("# {kind} {name} ")).count() == 1;
            assert!(is_known("HELP") && is_known("TYPE"), "{line}");
            assert!(line.rsplit(' ').next().unwrap().parse::<f64>().is_ok());
        }
        assert!(text.ends_with('\n'));
    }

    #[test]
    fn without_a_bridge_nothing_is_said_of_frames() {
        let text = text(&snapshot(None));
        assert!(!text.contains("frames"), "{text}");
        assert!(text.contains("avatar_peers"));
    }
}

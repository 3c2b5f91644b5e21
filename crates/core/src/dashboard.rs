//! `GET /dashboard/data`: what the operator's page draws, as JSON. Pure.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::codec::{KeyframeReason, Layer};
use crate::metrics::Metrics;
use crate::peers::Entry;
use crate::snapshot::Snapshot;
use crate::viewer_statistics::ViewerStatistics;
use crate::wall_clock::date_ms;

/// What does not change.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Premises {
    /// When the server was started, in ms since 1970.
    pub(crate) started_ms: f64,
    /// Most peers.
    pub(crate) max_clients: usize,
}

/// The snapshot at this time, in ms since 1970.
pub(crate) fn json(now_ms: f64, premises: Premises, now: &Snapshot) -> Value {
    let viewers: Map<String, Value> = Layer::all()
        .map(|layer| (layer.codec_name().to_owned(), now.viewers[layer].into()))
        .collect();
    let (microphones, dropped) = (&now.microphones, &now.dropped_events);
    let drops = &now.turnover.drops;
    json!({
        "time": now_ms,
        "startedAt": premises.started_ms,
        "maxClients": premises.max_clients,
        "version": env!("CARGO_PKG_VERSION"),
        "media": now.media.as_ref().map(media),
        "viewers": viewers,
        "network": now.network,
        "microphones": {
            "decoders": microphones.decoders,
            "packets": microphones.packets,
            "dropped": microphones.dropped,
        },
        "droppedEvents": {
            "audio": dropped.audio,
            "messages": dropped.messages,
            "state": dropped.state,
        },
        "joins": now.turnover.joins,
        "drops": {"total": drops.values().sum::<u64>(), "byReason": drops},
        "peers": now.peers.iter().map(peer).collect::<Vec<_>>(),
    })
}

fn media(media: &Metrics) -> Value {
    let keyframes: Map<String, Value> = KeyframeReason::ALL
        .iter()
        .map(|why| {
            (
                why.as_str().to_owned(),
                media.keyframes[*why as usize].into(),
            )
        })
        .collect();
    let encoding = &media.encode_time;
    let quantile = |share| (encoding.count() > 0).then(|| ms(encoding.quantile(share)));
    json!({
        "isStreaming": media.is_streaming,
        "fps": media.fps,
        "framesPushed": media.video_frames,
        "framesEncoded": media.encoded_frames,
        "framesSuperseded": media.superseded_frames,
        "framesInvalid": media.invalid_frames,
        "framesLate": media.late_frames,
        "avgPushLatencyMs": media.avg_latency_ms,
        "encodeMs": {"p50": quantile(0.5), "p95": quantile(0.95)},
        "encodeSecondsTotal": encoding.total().as_secs_f64(),
        "keyframes": keyframes,
        "audioChunks": media.audio_chunks,
        "droppedChunks": media.dropped_chunks,
        "queuedAudioMs": media.queued_audio_ms,
    })
}

fn peer(peer: &Entry) -> Value {
    json!({
        "id": peer.info.id,
        "state": peer.info.state.as_str(),
        "createdAt": date_ms(peer.info.created_at),
        "address": peer.address,
        "signalling": peer.is_here,
        "statistics": peer.told.as_ref().map(|(at, told)| shortened(told_json(*at, told))),
    })
}

/// What a viewer told of itself, with the time of that in ms since 1970.
pub(crate) fn told_json(received_at: f64, told: &ViewerStatistics) -> Value {
    let mut value = json!(told);
    value["receivedAt"] = received_at.into();
    value
}

/// With what a plot shows of each number: 2,000 viewers are half as long so.
fn shortened(mut object: Value) -> Value {
    for value in object
        .as_object_mut()
        .into_iter()
        .flat_map(|fields| fields.values_mut())
    {
        if let Some(number) = value.as_f64() {
            *value = ((number * 1_000.0).round() / 1_000.0).into();
        }
    }
    object
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

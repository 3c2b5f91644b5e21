//! How the avatar arrives at one viewer, by the viewer's own account.

use serde::{Deserialize, Deserializer, Serialize};

/// Longest word that a viewer may use: codecs and kinds of paths are shorter.
const MAX_WORD: usize = 16;

/// What a viewer measured lately. All of it is the viewer's word: good for plots, not for decisions that others feel.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ViewerStatistics {
    /// From the time that the application gave a frame to its being shown, the last one.
    pub latency_ms: Option<f64>,
    /// Its median over the last seconds.
    pub latency_p50_ms: Option<f64>,
    /// What 95 % of the frames of the last seconds stay below.
    pub latency_p95_ms: Option<f64>,
    /// How much later the sound is heard than the picture of the same moment is seen.
    pub lip_sync_skew_ms: Option<f64>,
    /// Pictures decoded a second.
    pub frames_per_second: Option<f64>,
    /// Times that the picture stood still noticeably, since the connection began.
    pub freeze_count: Option<f64>,
    /// Of the packets sent to it, before retransmission; 0 to 100.
    pub packet_loss_percent: Option<f64>,
    /// To the server and back.
    pub round_trip_time_ms: Option<f64>,
    /// Received, RTP headers included.
    pub bitrate_bps: Option<f64>,
    /// What pictures wait for in the browser before they are decoded.
    pub jitter_buffer_ms: Option<f64>,
    /// Of the packets' times of arrival (RFC 3550).
    pub jitter_ms: Option<f64>,
    /// Of the decoded picture.
    pub frame_width: Option<f64>,
    /// Of the decoded picture.
    pub frame_height: Option<f64>,
    /// Such as `H264`.
    #[serde(deserialize_with = "word")]
    pub video_codec: Option<String>,
    /// Such as `Opus`.
    #[serde(deserialize_with = "word")]
    pub audio_codec: Option<String>,
    /// The viewer's side of the path: `host`, `srflx`, `prflx` or `relay`.
    #[serde(deserialize_with = "word")]
    pub path: Option<String>,
    /// `udp` or `tcp`.
    #[serde(deserialize_with = "word")]
    pub protocol: Option<String>,
}

/// A word that may be shown to anybody; anything else is left out.
fn word<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    Ok(text.filter(|text| {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        !text.is_empty() && text.len() <= MAX_WORD && text.chars().all(is_plain)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_not_told_is_unknown_and_what_we_do_not_know_is_ignored() {
        let told = json!({"latencyMs": 21.5, "videoCodec": "H264", "freezeCount": 2, "newer": {}});
        assert_eq!(
            ViewerStatistics::deserialize(told).unwrap(),
            ViewerStatistics {
                latency_ms: Some(21.5),
                video_codec: Some("H264".to_owned()),
                freeze_count: Some(2.0),
                ..ViewerStatistics::default()
            }
        );
        assert!(ViewerStatistics::deserialize(json!({"latencyMs": "20"})).is_err());
    }

    #[test]
    fn only_short_plain_words_are_kept() {
        for text in ["", "<script>", "a b", &"x".repeat(17), "ä"] {
            let told = json!({"path": text});
            assert_eq!(ViewerStatistics::deserialize(told).unwrap().path, None);
        }
    }
}

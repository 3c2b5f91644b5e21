//! What a viewer saw.

use serde::Serialize;

use crate::VideoCodec;

/// The most of each thing that a report lists (intervals, commands, access units, …): eleven minutes
/// of 30 fps. Counters go on after that.
pub const MAX_KEPT: usize = 20_000;

/// Everything that one viewer recorded so far.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// The name that the server gave this viewer.
    pub peer_id: Option<String>,
    /// The server's newest answer (SDP).
    #[serde(skip)]
    pub answer: Option<String>,
    /// Answers received.
    pub answers: u64,
    /// When each step of the connection was reached.
    pub times: Times,
    /// The SRTP profile that DTLS negotiated, such as `SRTP_AEAD_AES_128_GCM`.
    pub srtp_profile: Option<String>,
    /// The video that came.
    pub video: Video,
    /// The sound that came.
    pub audio: Audio,
    /// RTCP sender reports, oldest first.
    pub sender_reports: Vec<SenderReport>,
    /// RTCP feedback that this viewer sent.
    pub feedback: Feedback,
    /// Messages on the data channel, oldest first.
    pub commands: Vec<String>,
    /// Whether the data channel is open.
    pub channel_open: bool,
    /// Microphone packets sent.
    pub microphone_packets: u64,
    /// Datagrams that `drop_incoming` threw away.
    pub dropped_on_purpose: u64,
    /// Datagrams that the kernel threw away because this viewer's socket was full: then the
    /// measuring machine is what is too slow. Known after [`crate::Viewer::finish`].
    pub socket_drops: u64,
    /// DTLS alerts received: a good-bye, or a handshake that failed.
    pub dtls_alerts: u64,
    /// `error` messages of the server, oldest first.
    pub errors: Vec<String>,
    /// Why the viewer ended, once it did.
    pub closed: Option<String>,
}

/// Milliseconds since [`crate::Viewer::connect`] was called, on a monotonic clock.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Times {
    /// The WebSocket is open.
    pub websocket_ms: Option<f64>,
    /// The server's answer came.
    pub answer_ms: Option<f64>,
    /// ICE found a way.
    pub ice_ms: Option<f64>,
    /// The DTLS handshake is done: media can flow.
    pub dtls_ms: Option<f64>,
    /// The first video packet came.
    pub first_packet_ms: Option<f64>,
    /// The first keyframe was complete: a browser would show a picture.
    pub first_frame_ms: Option<f64>,
}

/// What was received of a video stream.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Video {
    /// Its synchronisation source.
    pub ssrc: Option<u32>,
    /// Its packets.
    pub sequence: Sequence,
    /// Payload bytes, duplicates included.
    pub bytes: u64,
    /// Packets that came by the RTX stream (RFC 4588).
    pub rtx_packets: u64,
    /// Complete frames, from the first keyframe on.
    pub frames: u64,
    /// Complete frames that a decoder can begin at.
    pub keyframes: u64,
    /// Frames given up: packets missing, malformed, or no keyframe before them.
    pub incomplete_frames: u64,
    /// Between one complete frame and the next, ms.
    pub intervals_ms: Vec<f32>,
    /// The frames themselves, if `keep_video`.
    #[serde(skip)]
    pub access_units: Vec<AccessUnit>,
}

/// What was received of an audio stream.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Audio {
    /// Its synchronisation source.
    pub ssrc: Option<u32>,
    /// Its packets.
    pub sequence: Sequence,
    /// Payload bytes, duplicates included.
    pub bytes: u64,
    /// When the first packet came, as in [`Times`].
    pub first_packet_ms: Option<f64>,
    /// The packets themselves in order of arrival, if `keep_audio`.
    #[serde(skip)]
    pub packets: Vec<AudioPacket>,
}

/// Packets of one stream, judged by their sequence numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Sequence {
    /// Different packets received.
    pub received: u64,
    /// Packets that never came (so far).
    pub lost: u64,
    /// Sequence numbers skipped when they were due: lost, late, or sent again after a NACK.
    pub gaps: u64,
    /// Packets that came after a later one.
    pub late: u64,
    /// Packets that came again.
    pub duplicates: u64,
}

/// RTCP feedback sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Feedback {
    /// Picture loss indications (keyframe requests).
    pub plis: u64,
    /// Sequence numbers asked for in NACKs, repetitions included.
    pub nacks: u64,
}

/// One RTCP sender report: how a stream's RTP clock stands to the sender's wall clock.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct SenderReport {
    /// When it came, as in [`Times`].
    pub received_ms: f64,
    /// The stream.
    pub ssrc: u32,
    /// NTP time: seconds since 1900 in 32.32 fixed point.
    pub ntp: u64,
    /// RTP time at that moment.
    pub rtp: u32,
    /// Packets that the sender counted so far.
    pub packets: u32,
    /// Payload bytes that the sender counted so far.
    pub bytes: u32,
}

impl SenderReport {
    /// The NTP time in ms of the Unix clock.
    pub fn unix_ms(&self) -> f64 {
        /// Seconds from 1900 to 1970 (RFC 5905, figure 4).
        const NTP_TO_UNIX_S: f64 = 2_208_988_800.0;
        (self.ntp as f64 / 2f64.powi(32) - NTP_TO_UNIX_S) * 1000.0
    }
}

/// One complete frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessUnit {
    /// How it is encoded.
    pub codec: VideoCodec,
    /// RTP timestamp, 90 kHz.
    pub timestamp: u32,
    /// Whether a decoder can begin here.
    pub keyframe: bool,
    /// What a decoder takes: of H.264 the NAL units in Annex B form.
    pub data: Vec<u8>,
}

/// One packet of sound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AudioPacket {
    /// RTP payload type: 111 Opus, 0 PCMU, 8 PCMA.
    pub payload_type: u8,
    /// RTP timestamp, 48 kHz (8 kHz of G.711).
    pub timestamp: u32,
    /// RTP sequence number.
    pub sequence: u16,
    /// RTP marker: the first packet after a silence.
    pub marker: bool,
    /// What a decoder takes.
    pub data: Vec<u8>,
}

/// Appends unless the list is full ([`MAX_KEPT`]).
pub(crate) fn keep<T>(list: &mut Vec<T>, item: T) {
    if list.len() < MAX_KEPT {
        list.push(item);
    }
}

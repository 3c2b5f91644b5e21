//! The codecs that viewers offer.

use rtc::peer_connection::configuration::media_engine::{
    MIME_TYPE_H264, MIME_TYPE_OPUS, MIME_TYPE_PCMA, MIME_TYPE_PCMU, MIME_TYPE_VP8, MIME_TYPE_VP9,
};

/// A kind of video that viewers take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum VideoCodec {
    /// Constrained Baseline, packetization mode 1.
    #[default]
    H264,
    /// RFC 7741.
    Vp8,
    /// RFC 9628, profile 0.
    Vp9,
}

/// A kind of sound that viewers take, and send of their microphone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum AudioCodec {
    /// RFC 7587.
    #[default]
    Opus,
    /// G.711, µ-law (RFC 3551).
    Pcmu,
    /// G.711, A-law.
    Pcma,
}

impl VideoCodec {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::H264, Self::Vp8, Self::Vp9];

    /// What `a=rtpmap` calls it.
    pub(crate) fn encoding(self) -> &'static str {
        match self {
            Self::H264 => "H264/90000",
            Self::Vp8 => "VP8/90000",
            Self::Vp9 => "VP9/90000",
        }
    }

    /// What `a=fmtp` says of it.
    pub(crate) fn parameters(self) -> &'static str {
        match self {
            Self::H264 => "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f",
            Self::Vp8 => "",
            Self::Vp9 => "profile-id=0",
        }
    }

    pub(crate) fn mime_type(self) -> &'static str {
        match self {
            Self::H264 => MIME_TYPE_H264,
            Self::Vp8 => MIME_TYPE_VP8,
            Self::Vp9 => MIME_TYPE_VP9,
        }
    }

    /// Of a whole viewer's offer.
    pub(crate) fn payload_type(self) -> u8 {
        match self {
            Self::H264 => 109,
            Self::Vp8 => 96,
            Self::Vp9 => 98,
        }
    }

    /// Of its retransmissions.
    pub(crate) fn rtx_payload_type(self) -> u8 {
        match self {
            Self::H264 => 114,
            Self::Vp8 => 97,
            Self::Vp9 => 99,
        }
    }
}

impl AudioCodec {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Opus, Self::Pcmu, Self::Pcma];

    pub(crate) fn mime_type(self) -> &'static str {
        match self {
            Self::Opus => MIME_TYPE_OPUS,
            Self::Pcmu => MIME_TYPE_PCMU,
            Self::Pcma => MIME_TYPE_PCMA,
        }
    }

    pub(crate) fn payload_type(self) -> u8 {
        match self {
            Self::Opus => 111,
            Self::Pcmu => 0,
            Self::Pcma => 8,
        }
    }

    pub(crate) fn clock_hz(self) -> u32 {
        match self {
            Self::Opus => 48_000,
            Self::Pcmu | Self::Pcma => 8_000,
        }
    }

    /// Channels as `a=rtpmap` says them: always 2 for Opus (RFC 7587, 7), left out for the others.
    pub(crate) fn channels(self) -> u16 {
        match self {
            Self::Opus => 2,
            Self::Pcmu | Self::Pcma => 0,
        }
    }

    pub(crate) fn parameters(self) -> &'static str {
        match self {
            Self::Opus => "minptime=10;useinbandfec=1",
            Self::Pcmu | Self::Pcma => "",
        }
    }
}

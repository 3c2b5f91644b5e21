//! The codecs that a stream is sent in, and its layers: an encoding each, made once for all who receive it.

use std::fmt;
use std::ops::{Index, IndexMut};

/// How pictures are encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum VideoCodec {
    /// H.264, constrained baseline (RFC 6184).
    H264,
    /// VP8 (RFC 7741).
    Vp8,
    /// VP9, profile 0 (RFC 9628).
    Vp9,
}

/// How sound is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum AudioCodec {
    /// Opus (RFC 7587).
    #[default]
    Opus,
    /// G.711, µ-law (RFC 3551, 4.5.14).
    Pcmu,
    /// G.711, A-law.
    Pcma,
}

/// Why a keyframe was made. Several who wait for one share it: the first counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyframeReason {
    /// Somebody began to watch.
    Joined,
    /// Somebody's decoder asked (PLI, FIR).
    Asked,
    /// Frames were left out: they were late, or a socket was full.
    LeftOut,
    /// Nobody wanted it: a new encoder begins with one.
    Began,
}

impl KeyframeReason {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Joined, Self::Asked, Self::LeftOut, Self::Began];

    /// In the names of metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Joined => "joined",
            Self::Asked => "asked",
            Self::LeftOut => "left_out",
            Self::Began => "began",
        }
    }
}

/// Something of each [`KeyframeReason`], in the order of [`KeyframeReason::ALL`].
pub type ByReason<T> = [T; KeyframeReason::ALL.len()];

/// The RTP clock of every video codec.
const VIDEO_CLOCK_HZ: u32 = 90_000;

/// The RTP clock of Opus, whatever it was encoded from (RFC 7587, 4.1).
const OPUS_CLOCK_HZ: u32 = 48_000;

/// The RTP clock of G.711, which is its sample rate.
const G711_CLOCK_HZ: u32 = 8_000;

impl VideoCodec {
    /// All, the preferred first: H.264 costs least to encode, VP8 is what every browser has.
    pub const ALL: [Self; 3] = [Self::H264, Self::Vp8, Self::Vp9];

    /// The encoding name in SDP and in `webrtc.videoCodec`.
    pub fn name(self) -> &'static str {
        match self {
            Self::H264 => "H264",
            Self::Vp8 => "VP8",
            Self::Vp9 => "VP9",
        }
    }
}

impl AudioCodec {
    /// All, the preferred first.
    pub const ALL: [Self; 3] = [Self::Opus, Self::Pcmu, Self::Pcma];

    /// The name in `webrtc.audioCodec`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Opus => "opus",
            Self::Pcmu => "pcmu",
            Self::Pcma => "pcma",
        }
    }

    /// Of its RTP timestamps.
    pub fn clock_hz(self) -> u32 {
        match self {
            Self::Opus => OPUS_CLOCK_HZ,
            Self::Pcmu | Self::Pcma => G711_CLOCK_HZ,
        }
    }
}

impl fmt::Display for VideoCodec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for AudioCodec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One encoding of a stream. A viewer receives at most one of pictures and one of sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Layer {
    /// Of the pictures.
    Video(VideoCodec),
    /// Of the sound.
    Audio(AudioCodec),
}

impl Layer {
    /// How many there can be.
    pub const COUNT: usize = VideoCodec::ALL.len() + AudioCodec::ALL.len();

    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        let video = VideoCodec::ALL.into_iter().map(Self::Video);
        video.chain(AudioCodec::ALL.into_iter().map(Self::Audio))
    }

    /// Of its RTP timestamps.
    pub fn clock_hz(self) -> u32 {
        match self {
            Self::Video(_) => VIDEO_CLOCK_HZ,
            Self::Audio(codec) => codec.clock_hz(),
        }
    }

    /// The name of its codec, as the configuration has it.
    pub fn codec_name(self) -> &'static str {
        match self {
            Self::Video(codec) => codec.name(),
            Self::Audio(codec) => codec.name(),
        }
    }

    fn index(self) -> usize {
        match self {
            Self::Video(codec) => codec as usize,
            Self::Audio(codec) => VideoCodec::ALL.len() + codec as usize,
        }
    }
}

/// Something of every layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PerLayer<T>([T; Layer::COUNT]);

impl<T> Index<Layer> for PerLayer<T> {
    type Output = T;

    fn index(&self, layer: Layer) -> &T {
        &self.0[layer.index()]
    }
}

impl<T> IndexMut<Layer> for PerLayer<T> {
    fn index_mut(&mut self, layer: Layer) -> &mut T {
        &mut self.0[layer.index()]
    }
}

/// What a server sends, best first: each viewer gets the first that its offer has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preferences {
    /// For pictures.
    pub video: Vec<VideoCodec>,
    /// For sound.
    pub audio: Vec<AudioCodec>,
}

impl Default for Preferences {
    fn default() -> Self {
        Self {
            video: VideoCodec::ALL.to_vec(),
            audio: AudioCodec::ALL.to_vec(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_layer_has_a_place_of_its_own() {
        let mut places = PerLayer::<usize>::default();
        for (n, layer) in Layer::all().enumerate() {
            places[layer] = n;
        }
        assert!(
            Layer::all()
                .enumerate()
                .all(|(n, layer)| places[layer] == n)
        );
        assert_eq!(Layer::all().count(), Layer::COUNT);
    }
}

//! The network: one or more threads behind one UDP port for all viewers, and each viewer's ICE, DTLS and SRTP.
//!
//! **webrtc-rs is named nowhere else.** Its sans-IO parts are composed here rather than taken as one
//! `RTCPeerConnection`, whose path costs each packet a walk through every handler of a large cold object; see
//! `docs/architecture.md`.
//!
//! ```text
//!  Network (handle) ──commands──► Shard ──datagram──► Peer: STUN → ice, DTLS → dtls → data_channel, SRTP → opener
//!                     units ──────► 1..n └─access unit─► Outlet: header, seal, send      (the hot path)
//! ```

mod client_hello;
mod consent;
mod counters;
mod data_channel;
mod dtls;
mod ice;
mod limit;
mod network;
mod opener;
mod outlet;
mod peer;
mod reception;
mod reflexive;
mod rtcp;
mod rtp_header;
mod sdp;
mod shard;
mod socket;
mod srtp;
mod stun;
mod survey;
mod tcp;
mod uplink;

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::BytesMut;

use crate::codec::{KeyframeReason, PerLayer, VideoCodec};
use crate::event::{PeerId, PeerState};
use crate::microphone::{Hearing, Spurt};

pub use counters::NetworkStats;
pub use ice::{CandidateError, Credentials, RemoteCandidate, parse_remote, parse_remote_line};
pub use network::{MAX_THREADS, Network, NetworkConfig, Reach, StreamHandle};
pub use sdp::{AnswerParameters, MicrophoneTrack, Offer, OfferError};
pub use survey::{SurveyError, ask_stun, ask_turn};
pub use tcp::IceTcp;

/// One avatar's stream within the process.
pub(crate) type StreamId = u64;

/// A datagram and both its addresses.
#[derive(Debug)]
struct Datagram {
    local: SocketAddr,
    remote: SocketAddr,
    data: BytesMut,
}

/// What a stream is told of its viewers, on the network thread: it must not block.
pub trait StreamDelegate: Send + Sync + 'static {
    /// A peer's media connection came, went or broke.
    fn state(&self, peer: PeerId, state: PeerState);
    /// A peer's transport is over; nothing more comes of it.
    fn gone(&self, peer: PeerId);
    /// Somebody cannot go on without a keyframe of this layer.
    fn keyframe_wanted(&self, codec: VideoCodec, reason: KeyframeReason);
    /// Somebody lost this share of the packets of sound that were sent lately, from 0 to 1.
    fn sound_lost(&self, share: f64);
    /// How many peers receive each layer.
    fn audience(&self, audience: &PerLayer<usize>);
    /// What it wants of its peers' microphones; asked once.
    fn hearing(&self) -> Arc<Hearing>;
    /// What came of a peer's microphone, as far as that is wanted.
    fn microphone(&self, peer: PeerId, spurt: Spurt);
    /// A text message on a peer's data channel.
    fn text(&self, peer: PeerId, label: &str, text: &str);
}

#[cfg(test)]
mod testing {
    use super::*;
    use crate::codec::{AudioCodec, Layer};
    use parking_lot::Mutex;

    /// A stream that writes down what it is told.
    #[derive(Default)]
    pub(crate) struct Told {
        pub(crate) keyframes_wanted: Mutex<Vec<VideoCodec>>,
        /// How many receive H.264, VP8 and Opus.
        pub(crate) audiences: Mutex<Vec<(usize, usize, usize)>>,
    }

    impl StreamDelegate for Told {
        fn state(&self, _: PeerId, _: PeerState) {}
        fn gone(&self, _: PeerId) {}
        fn keyframe_wanted(&self, codec: VideoCodec, _: KeyframeReason) {
            self.keyframes_wanted.lock().push(codec);
        }
        fn sound_lost(&self, _: f64) {}
        fn audience(&self, audience: &PerLayer<usize>) {
            self.audiences.lock().push((
                audience[Layer::Video(VideoCodec::H264)],
                audience[Layer::Video(VideoCodec::Vp8)],
                audience[Layer::Audio(AudioCodec::Opus)],
            ));
        }
        fn hearing(&self) -> Arc<Hearing> {
            Hearing::new(&Default::default(), Arc::new(|_: crate::event::Event| ()))
        }
        fn microphone(&self, _: PeerId, _: Spurt) {}
        fn text(&self, _: PeerId, _: &str, _: &str) {}
    }
}

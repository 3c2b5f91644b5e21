//! The streaming engine: media in, WebRTC out, microphones back.
//!
//! **The invariant: every frame is converted once, encoded and packetised once for each codec that is watched. For
//! each viewer only the RTP header, the SRTP seal and the send remain. A slow viewer never delays another one; every
//! queue has a bound, and every drop is counted.**
//!
//! ```text
//!  caller's thread      media threads                    network shards (1 to n threads, one UDP port)
//!  push ─copy─► latest-frame slot ─► encode ─► rtp ─► fan-out ─► each viewer: header, SRTP, send
//!  push ─copy─► audio queue ─20 ms─► playout ─► rtp ─┘              ▲ │ NACK, PLI, RR
//!  events ◄── microphone: jitter buffer, Opus, voice activity ◄─────┘ ▼
//!                    tokio: HTTP + WebSocket signalling on one TCP port
//! ```
//!
//! | room | owns | must not know |
//! | --- | --- | --- |
//! | [`config`], [`event`], [`viewer_statistics`], [`error`] | every default, what comes out, what can fail | sockets, codecs |
//! | [`codec`] | the codecs and a stream's layers: an encoding each | how any of them works |
//! | [`media`] | frames and chunks as the caller pushes them, their conversion | encoders, network |
//! | [`media_pool`] | the threads that encode for all systems, who runs on them next | what is encoded |
//! | [`encode`] | the slot; the video encoders, one a layer, and their keyframe policies | viewers |
//! | [`playout`] | the audio queue, its real-time pace, the Opus encoder, G.711 | RTP |
//! | [`rtp`] | cutting encoded media into packets once, and their history | encoders' internals |
//! | [`transport`] | the shards, the UDP sockets, one viewer's ICE, DTLS, SRTP; the only room that names webrtc-rs | WebSocket |
//! | [`microphone`] | what is worth decoding, jitter buffer, decoders, voice activity | sockets |
//! | [`signalling`] | the wire protocol, its session, the HTTP and WebSocket server | RTP, codecs |
//! | [`source`], [`server`] | the two handles that join the rooms; beside them one avatar's media (`stream`), who is there (`peers`), what systems share (`process`), what they counted (`snapshot`) as `/metrics` (`exposition`) and for the operator (`dashboard`), credentials for TURN servers (`turn`), what is wrong with a set-up (`doctor`) | |
//!
//! Time is an argument (`now`) wherever something is decided. A panic in this crate is our bug, never a
//! peer's, a file's or a caller's input.
#![deny(unsafe_code)]
#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")
)]

pub mod codec;
pub mod config;
mod dashboard;
pub mod doctor;
pub mod encode;
pub mod error;
pub mod event;
mod exposition;
pub mod histogram;
mod ice_url;
pub mod media;
pub mod media_clock;
pub mod media_pool;
pub mod metrics;
pub mod microphone;
mod peers;
pub mod playout;
mod process;
pub mod rtp;
pub mod server;
pub mod signalling;
mod snapshot;
pub mod source;
mod stream;
pub mod transport;
mod turn;
pub mod viewer_statistics;
mod wall_clock;

pub use wall_clock::date_ms;

//! One viewer, without its socket: datagrams and time go in, datagrams and numbers come out.

mod feedback;
mod media;
mod numbers;
mod path;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use tokio::sync::oneshot;

use crate::VideoCodec;
use crate::crowd::decode::DecodeQueue;
use crate::crowd::dtls::{Handshake, Identity};
use crate::crowd::ice::{Ice, Outgoing};
use crate::crowd::rtcp::SenderReport;
use crate::crowd::rtp;
use crate::crowd::sdp::Remote;
use crate::crowd::spread::Spread;
use crate::crowd::srtp::Srtp;
use crate::crowd::streams::{Stream, Video};
use crate::crowd::stun;
use crate::crowd::tally::Tally;
use crate::media::FrameAssembler;
use crate::report::Times;
use crate::{Loss, is_rtp};

/// Between receiver reports.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// How often an open gap is looked at when nothing comes.
const GAP_INTERVAL: Duration = Duration::from_millis(50);

/// Sender reports of streams that have no packet yet.
const MAX_EARLY_REPORTS: usize = 4;

/// What the members of one media thread share.
pub(super) struct Shared {
    pub(super) identity: Arc<Identity>,
    pub(super) codec: VideoCodec,
    pub(super) decrypt: f64,
    pub(super) loss: Loss,
    pub(super) tally: Tally,
    pub(super) spread: Arc<parking_lot::Mutex<Spread>>,
}

/// What makes a viewer differ from the others.
pub(super) struct Role {
    pub(super) id: u64,
    /// Whether its packets are looked at once it has a picture.
    pub(super) inspected: bool,
    /// Whether all of its packets are opened: it tells how many keyframes there were.
    pub(super) witness: bool,
    /// Whether it floods.
    pub(super) floods: bool,
    /// Where its access units go, if they are decoded.
    pub(super) decoder: Option<DecodeQueue>,
}

/// What signalling has found out.
pub(super) struct Negotiated {
    pub(super) started: Instant,
    /// When there must be a picture.
    pub(super) deadline: Instant,
    pub(super) times: Times,
    pub(super) remote: Remote,
    /// What we report from, and speak as.
    pub(super) ssrc: u32,
    pub(super) ice: Ice,
    /// Of our socket.
    pub(super) port: u16,
}

/// Moments of one read from a socket.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    pub(super) now: Instant,
    /// By the Unix clock: for a datagram, when the kernel put it into the socket.
    pub(super) unix: Duration,
}

/// The media of an answered viewer.
pub(super) struct Member {
    role: Role,
    started: Instant,
    deadline: Instant,
    times: Times,
    remote: Remote,
    ssrc: u32,
    port: u16,
    ice: Ice,
    handshake: Option<Handshake>,
    srtp: Option<Srtp>,
    good_bye: Vec<BytesMut>,
    /// What ends the handshake, if we are its server: until media shows that it came.
    last_flight: Vec<Outgoing>,
    path: Option<SocketAddr>,
    video: Option<Video>,
    rtx: Option<super::sequence::SequenceLog>,
    audio: Option<Stream>,
    early_reports: Vec<(SenderReport, Instant)>,
    next_report: Option<Instant>,
    decrypt_credit: f64,
    assembler: Option<FrameAssembler>,
    decoder_lost: bool,
    microphone: Microphone,
    datagrams: u64,
    bytes: u64,
    /// A timer may have become sooner.
    unsettled: bool,
    /// Told once: a picture, or that there will be none.
    joined: Option<oneshot::Sender<Result<(), String>>>,
    pub(super) closed: Option<String>,
}

#[derive(Default)]
struct Microphone {
    position: usize,
    index: u64,
    timestamp: u32,
}

impl Member {
    pub(super) fn new(
        role: Role,
        negotiated: Negotiated,
        joined: oneshot::Sender<Result<(), String>>,
    ) -> Self {
        let Negotiated {
            started,
            deadline,
            times,
            remote,
            ssrc,
            ice,
            port,
        } = negotiated;
        // The golden ratio spreads shares evenly over the viewers.
        let decrypt_credit = (role.id as f64 * 0.618_034).fract();
        Self {
            started,
            deadline,
            times,
            remote,
            ssrc,
            port,
            ice,
            handshake: None,
            srtp: None,
            good_bye: Vec::new(),
            last_flight: Vec::new(),
            path: None,
            video: None,
            rtx: None,
            audio: None,
            early_reports: Vec::new(),
            next_report: None,
            decrypt_credit,
            assembler: None,
            decoder_lost: false,
            microphone: Microphone {
                position: role.id as usize * 37,
                ..Microphone::default()
            },
            datagrams: 0,
            bytes: 0,
            unsettled: true,
            joined: Some(joined),
            closed: None,
            role,
        }
    }

    pub(super) fn id(&self) -> u64 {
        self.role.id
    }

    /// Whether [`Self::poll_timeout`] may say something new.
    pub(super) fn take_unsettled(&mut self) -> bool {
        std::mem::take(&mut self.unsettled)
    }

    /// Whether its handshake is under way.
    pub(super) fn is_joining(&self) -> bool {
        self.srtp.is_none() && self.closed.is_none()
    }

    pub(super) fn floods(&self) -> bool {
        self.role.floods
    }

    /// Whether packets need no more than to be counted.
    fn only_counts(&self) -> bool {
        !self.role.inspected && self.joined.is_none()
    }

    /// Takes what came in one read: datagrams of `stride` bytes, the last one may be shorter.
    pub(super) fn receive(
        &mut self,
        at: Moment,
        from: SocketAddr,
        data: &mut [u8],
        stride: usize,
        shared: &mut Shared,
        out: &mut Vec<Outgoing>,
    ) {
        let stride = stride.max(1);
        self.datagrams += data.len().div_ceil(stride) as u64;
        self.bytes += data.len() as u64;
        if self.closed.is_some() || self.only_counts() && is_rtp(data) {
            return;
        }
        for datagram in data.chunks_mut(stride) {
            self.on_datagram(at, from, datagram, shared, out);
        }
    }

    /// RFC 7983 tells the protocols apart by the first byte.
    fn on_datagram(
        &mut self,
        at: Moment,
        from: SocketAddr,
        datagram: &mut [u8],
        shared: &mut Shared,
        out: &mut Vec<Outgoing>,
    ) {
        if self.ice.is_closed(from) {
            return;
        }
        self.unsettled |= !is_rtp(datagram);
        match datagram.first() {
            Some(0..=3) if stun::is_stun(datagram) => {
                let event = self.ice.handle(at.now, from, datagram, out);
                self.on_ice(at.now, event, shared, out);
            }
            Some(20..=63) => self.on_dtls(at.now, from, datagram, shared, out),
            Some(128..=191) if rtp::is_rtcp(datagram) => self.on_rtcp(at.now, datagram, shared),
            Some(128..=191) if shared.loss.next() => shared.tally.dropped_on_purpose += 1,
            Some(128..=191) => self.on_rtp(at, datagram, shared),
            _ => {}
        }
    }
}

fn elapsed_ms(started: Instant, now: Instant) -> f64 {
    now.saturating_duration_since(started).as_secs_f64() * 1_000.0
}

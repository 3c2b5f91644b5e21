//! One browser's transport: ICE finds the path, DTLS agrees on keys, SRTP and SCTP run on top. Sans-IO:
//! datagrams and time go in, [`Output`] comes out.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use rtc_ice::candidate::Candidate;

use super::Datagram;
use super::consent::{self, Consent, Word};
use super::data_channel::{DataChannels, Incoming};
use super::dtls::{Dtls, DtlsEvent, Identity};
use super::ice::{Check, Credentials, Ice};
use super::opener::Opener;
use super::outlet::Outlet;
use super::rtcp::{Feedback, read_feedback, receiver_report, sender_report_time};
use super::sdp::{Offer, Ssrcs};
use super::srtp::Keys;
use super::stun;
use super::uplink::Uplink;
use crate::event::{PeerId, PeerState};
use crate::microphone::{Hearing, Spurt};

/// A peer that was not heard for so long counts as disconnected; browsers send a check every 2.5 s.
const DISCONNECTED_AFTER: Duration = Duration::from_secs(8);

// A peer that only answers our checks must not seem gone between two of them.
const _: () = assert!(
    DISCONNECTED_AFTER.as_secs_f32() > consent::INTERVAL.as_secs_f32() * consent::SPREAD.end + 1.0
);

/// A peer that was not heard for so long is given up (consent, RFC 7675, lasts 30 s).
const FAILED_AFTER: Duration = Duration::from_secs(25);

/// Browsers send a check every 2.5 s: who was not heard for so long was cut off, and is back.
const CUT_OFF: Duration = Duration::from_secs(6);

/// Longest SRTP and SRTCP packet that is read: Ethernet's MTU. Browsers send at most 1,200 bytes; a fragmented one of
/// 64 KiB could ask for a quarter of a million packets.
const MAX_SRTP: usize = 1_500;

/// Addresses that one peer may speak from: each costs checks.
const MAX_ADDRESSES: usize = 64;

/// A peer that never connects is given up after this; its browser has given up long before.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(60);

/// What it takes to make a peer.
pub(super) struct PeerSetup {
    /// Its name.
    pub(super) id: PeerId,
    /// What it offered.
    pub(super) offer: Offer,
    /// What we answered with.
    pub(super) local: Credentials,
    /// What its stream sends as.
    pub(super) ssrcs: Ssrcs,
    /// What its stream wants of its microphone.
    pub(super) hearing: Arc<Hearing>,
}

/// What a peer wants done after it was handed something.
#[derive(Default)]
pub(super) struct Output {
    /// To be sent.
    pub(super) datagrams: Vec<Datagram>,
    /// The datagram's source knows this peer's password.
    pub(super) authenticated: bool,
    /// And a check of our own was answered from there.
    pub(super) proved: bool,
    /// It was cut off, and is heard again: its own request for a keyframe may have been lost before it could be sent.
    pub(super) is_back: bool,
    /// Requests for packets and keyframes.
    pub(super) feedback: Vec<Feedback>,
    /// What its microphone sent, as far as it is worth decoding.
    pub(super) microphone: Spurt,
    /// Messages of its data channels.
    pub(super) texts: Vec<Incoming>,
    /// Its state, if that changed.
    pub(super) state: Option<PeerState>,
    /// No more follows from it: no protocol has anything to send, and no timer moves.
    pub(super) is_settled: bool,
}

pub(super) struct Peer {
    pub(super) id: PeerId,
    pub(super) local: Credentials,
    offer: Offer,
    ssrcs: Ssrcs,
    identity: Identity,
    ice: Box<Ice>,
    /// Since the first nomination.
    consent: Option<Box<Consent>>,
    /// When a check last proved that the peer is there.
    heard: Instant,
    last_check: Instant,
    check_interval: Duration,
    dtls: Box<Dtls>,
    channels: Option<Box<DataChannels>>,
    opener: Option<Opener>,
    uplink: Uplink,
    /// Set while media can be sent.
    pub(super) outlet: Option<Outlet>,
    path: Option<(SocketAddr, SocketAddr)>,
    state: PeerState,
    created: Instant,
    /// Addresses that proved to be this peer's.
    pub(super) addresses: Vec<SocketAddr>,
}

impl Peer {
    pub(super) fn new(
        now: Instant,
        setup: PeerSetup,
        identity: Identity,
        local: &[SocketAddr],
    ) -> Result<Self, String> {
        let PeerSetup {
            id,
            offer,
            local: credentials,
            ssrcs,
            hearing,
        } = setup;
        let ice = Ice::new(
            now,
            &credentials,
            &offer.remote,
            local,
            identity.crypto.clone(),
        )?;
        let dtls = Dtls::new(identity.clone(), offer.dtls_role, offer.fingerprint.clone());
        Ok(Self {
            id,
            local: credentials,
            channels: offer
                .sctp_port()
                .map(|port| Box::new(DataChannels::new(port))),
            uplink: Uplink::new(offer.microphone(), hearing),
            offer,
            ssrcs,
            identity,
            ice: Box::new(ice),
            consent: None,
            heard: now,
            last_check: now,
            check_interval: consent::INTERVAL
                .mul_f32(rand::Rng::random_range(&mut rand::rng(), consent::SPREAD)),
            dtls: Box::new(dtls),
            opener: None,
            outlet: None,
            path: None,
            state: PeerState::Connecting,
            created: now,
            addresses: Vec::new(),
        })
    }

    /// Whether a new offer of this peer keeps its DTLS association, and so restarts ICE at most.
    pub(super) fn continues(&self, offer: &Offer) -> bool {
        // Without keys after the beginning the association was closed, and cannot be opened again.
        let is_open = self.state == PeerState::Connecting || self.opener.is_some();
        self.offer.fingerprint == offer.fingerprint && is_open && self.state != PeerState::Failed
    }

    /// Takes a new offer over the same association.
    pub(super) fn renegotiate(
        &mut self,
        now: Instant,
        offer: Offer,
        local: Credentials,
    ) -> Result<(), String> {
        if offer.remote != self.offer.remote {
            self.ice.restart(now, &local, &offer.remote)?;
            self.consent = None;
            self.local = local;
        }
        if let Some(outlet) = &mut self.outlet {
            outlet.set_tracks((offer.video(), offer.audio()), self.ssrcs);
        }
        if let Some(port) = offer.sctp_port()
            && self.channels.is_none()
        {
            self.channels = Some(Box::new(DataChannels::new(port)));
        }
        self.uplink.set_track(offer.microphone());
        self.offer = offer;
        Ok(())
    }

    pub(super) fn add_candidate(&mut self, candidate: Candidate) {
        self.ice.add_remote(candidate);
    }

    /// Takes one datagram. RFC 7983 tells the protocols apart by the first byte.
    pub(super) fn handle(
        &mut self,
        now: Instant,
        local: SocketAddr,
        remote: SocketAddr,
        data: &[u8],
        out: &mut Output,
    ) {
        // Given up for good: were its checks answered, the browser would take it for well.
        if self.state == PeerState::Failed {
            out.is_settled = true;
            return;
        }
        match data.first() {
            Some(0..=3) => self.handle_stun(now, local, remote, data, out),
            Some(20..=63) => {
                // Unlike RTCP it may be anybody's, but goes on along a path that was proved.
                if self.state == PeerState::Connecting {
                    self.follow(now, (local, remote));
                }
                self.handle_dtls(now, data, out);
            }
            Some(128..=191) => self.handle_srtp(now, (local, remote), data, out),
            _ => {}
        }
    }

    fn handle_stun(
        &mut self,
        now: Instant,
        local: SocketAddr,
        remote: SocketAddr,
        data: &[u8],
        out: &mut Output,
    ) {
        if !self.addresses.contains(&remote) && self.addresses.len() >= MAX_ADDRESSES {
            return;
        }
        if self.path == Some((local, remote))
            && let Some(consent) = &mut self.consent
            && let Some(word) = consent.read(now, remote, data)
        {
            self.hear(now, out);
            out.is_settled = self.state == PeerState::Connected;
            if let Word::Check(data) = word {
                out.datagrams.push(Datagram {
                    local,
                    remote,
                    data,
                });
            }
            return;
        }
        // The offerer controls (RFC 8445, 6.1.1). Were it to claim otherwise, the agent would change its role
        // before it looked at the message's integrity.
        if stun::claims_controlled(data) {
            return;
        }
        let check = self.ice.handle(now, local, remote, data);
        if check == Check::Refused {
            return;
        }
        self.hear(now, out);
        out.authenticated = true;
        out.proved = check == Check::Nominated;
        if check == Check::Nominated {
            let (ours, its) = (&self.local, &self.offer.remote);
            self.consent
                .get_or_insert_with(|| Box::new(Consent::new(now, ours, its)));
        }
        if check == Check::Nominated || self.path.is_none() {
            self.set_path((local, remote));
        }
    }

    fn hear(&mut self, now: Instant, out: &mut Output) {
        out.is_back = now.saturating_duration_since(self.heard) >= CUT_OFF;
        self.heard = now;
    }

    fn set_path(&mut self, path: (SocketAddr, SocketAddr)) {
        if self.path != Some(path) {
            self.path = Some(path);
            if let Some(outlet) = &mut self.outlet {
                outlet.set_path(path);
            }
        }
    }

    fn handle_dtls(&mut self, now: Instant, data: &[u8], out: &mut Output) {
        let mut events = Vec::new();
        if let Err(error) = self.dtls.handle(now, BytesMut::from(data), &mut events) {
            tracing::debug!(peer = %self.id, %error, "DTLS");
        }
        for event in events {
            match event {
                DtlsEvent::Connected(keys) => self.keyed(now, *keys),
                DtlsEvent::Data(data) => {
                    if let Some(channels) = &mut self.channels {
                        channels.handle(now, data, &mut out.texts);
                    }
                }
                DtlsEvent::Closed => {
                    self.flush_dtls(out);
                    self.dtls.forget();
                    self.opener = None;
                    self.outlet = None;
                }
            }
        }
    }

    fn keyed(&mut self, now: Instant, keys: Keys) {
        let crypto = &self.identity.crypto;
        let (Some(path), Ok(sealer), Ok(opener)) = (
            self.path,
            keys.sealer(crypto.crypto()),
            Opener::new(keys, crypto.clone()),
        ) else {
            tracing::warn!(peer = %self.id, "SRTP keys are unusable");
            return;
        };
        self.opener = Some(opener);
        self.outlet = Some(Outlet::new(
            now,
            path,
            sealer,
            (self.offer.video(), self.offer.audio()),
            self.ssrcs,
        ));
    }

    /// The peer sends along the path that it has chosen. Of several that it nominated (Firefox nominates all, and keeps the
    /// best) that need not be the last one, and the others may be closed by now.
    fn follow(&mut self, now: Instant, path: (SocketAddr, SocketAddr)) {
        if self.path.is_some_and(|used| used != path) && self.ice.is_proved(now, path) {
            self.set_path(path);
        }
    }

    fn handle_srtp(
        &mut self,
        now: Instant,
        path: (SocketAddr, SocketAddr),
        data: &[u8],
        out: &mut Output,
    ) {
        out.is_settled = true;
        let Some(opener) = self.opener.as_mut().filter(|_| data.len() <= MAX_SRTP) else {
            return;
        };
        // RFC 5761, 4: RTCP types 192 to 223 tell RTCP from RTP.
        if matches!(data.get(1), Some(192..=223)) {
            let mut compound = Vec::with_capacity(data.len());
            if opener.open_rtcp(data, &mut compound) {
                self.follow(now, path);
                read_feedback(&compound, |feedback| out.feedback.push(feedback));
                if let Some(ntp) = sender_report_time(&compound) {
                    self.uplink.on_sender_report(now, ntp);
                }
            }
        } else {
            self.uplink.receive(now, data, opener, &mut out.microphone);
            self.report_reception(now, out);
        }
    }

    /// Tells the peer what arrives of its microphone. Its packets are the clock for that.
    fn report_reception(&mut self, now: Instant, out: &mut Output) {
        if let Some(block) = self.uplink.poll_report(now)
            && let Some(outlet) = &mut self.outlet
            && let Some((local, remote)) = self.path
            && let Some(data) = outlet.seal_rtcp(&receiver_report(self.ssrcs.audio, &block))
        {
            out.datagrams.push(Datagram {
                local,
                remote,
                data,
            });
        }
    }

    /// Sends text on the data channel called `label`.
    pub(super) fn write(&mut self, now: Instant, label: &str, text: &str) -> bool {
        self.channels
            .as_mut()
            .is_some_and(|channels| channels.write(now, label, text))
    }

    pub(super) fn handle_timeout(&mut self, now: Instant, out: &mut Output) {
        let is_due =
            self.state == PeerState::Connecting || now >= self.last_check + self.check_interval;
        if is_due && self.state != PeerState::Failed {
            self.last_check = now;
            self.check_path(now, out);
        }
        self.dtls.handle_timeout(now);
        if let Some(channels) = &mut self.channels {
            channels.handle_timeout(now, &mut out.texts);
        }
    }

    pub(super) fn next_timeout(&mut self) -> Option<Instant> {
        let channels = self
            .channels
            .as_ref()
            .and_then(|channels| channels.poll_timeout());
        let ice = match self.state {
            PeerState::Connecting => self.ice.poll_timeout(),
            PeerState::Failed => None,
            _ => Some(self.last_check + self.check_interval),
        };
        [ice, self.dtls.poll_timeout(), channels, self.patience()]
            .into_iter()
            .flatten()
            .min()
    }

    /// Says good-bye.
    pub(super) fn close(&mut self, now: Instant, out: &mut Output) {
        self.dtls.close(now);
        self.flush_dtls(out);
    }

    /// Collects what is to be sent, and the change of state, after anything was done.
    pub(super) fn settle(&mut self, now: Instant, out: &mut Output) {
        if let Some(path) = self.ice.poll_selected() {
            self.set_path(path);
        }
        if self.path.is_some()
            && let Err(error) = self.dtls.path_opened(now)
        {
            tracing::debug!(peer = %self.id, %error, "DTLS");
        }
        while let Some(datagram) = self.ice.poll_transmit() {
            out.datagrams.push(datagram);
        }
        if let Some(channels) = &mut self.channels {
            let mut packets = Vec::new();
            channels.poll_transmit(now, &mut packets);
            for packet in packets {
                self.dtls.write(now, &packet);
            }
        }
        self.flush_dtls(out);
        let state = self.current_state(now);
        if state != self.state {
            self.state = state;
            out.state = Some(state);
        }
        if state == PeerState::Failed {
            self.outlet = None;
        }
    }

    fn current_state(&self, now: Instant) -> PeerState {
        let silence = now.saturating_duration_since(self.heard);
        match self.state {
            PeerState::Failed => PeerState::Failed,
            PeerState::Connecting if self.outlet.is_some() => PeerState::Connected,
            PeerState::Connecting if now >= self.created + CONNECT_TIMEOUT => PeerState::Failed,
            PeerState::Connecting => PeerState::Connecting,
            _ if silence >= FAILED_AFTER => PeerState::Failed,
            _ if silence >= DISCONNECTED_AFTER || self.outlet.is_none() => PeerState::Disconnected,
            _ => PeerState::Connected,
        }
    }

    /// When the state changes if nothing is heard any more.
    fn patience(&self) -> Option<Instant> {
        match self.state {
            PeerState::Connecting => Some(self.created + CONNECT_TIMEOUT),
            PeerState::Connected => Some(self.heard + DISCONNECTED_AFTER),
            PeerState::Disconnected => Some(self.heard + FAILED_AFTER),
            PeerState::Failed => None,
        }
    }

    /// Proves that the peer is there: by one check along the path in use, or by the agent's along all.
    fn check_path(&mut self, now: Instant, out: &mut Output) {
        let is_connecting = self.state == PeerState::Connecting;
        match (self.path, &mut self.consent) {
            (Some((local, remote)), Some(consent)) if !is_connecting => {
                let packets = self.outlet.as_ref().map_or(0, Outlet::packets_sent);
                if let Some(data) = consent.poll_check(now, packets) {
                    out.datagrams.push(Datagram {
                        local,
                        remote,
                        data,
                    });
                }
            }
            _ => self.ice.handle_timeout(now),
        }
    }

    fn flush_dtls(&mut self, out: &mut Output) {
        let Some((local, remote)) = self.path else {
            return;
        };
        while let Some(data) = self.dtls.poll_transmit() {
            out.datagrams.push(Datagram {
                local,
                remote,
                data,
            });
        }
    }
}

//! The hot path: what is left to do for each viewer once a frame is cut into packets. Header, seal, send.

mod header;
mod scratch;
mod sender;

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::BytesMut;

use self::header::Header;
use self::sender::Sender;
use super::counters::Counters;
use super::limit::{Bucket, Rate};
use super::rtcp::{SenderInfo, sender_report};
use super::sdp::{SendTrack, Ssrcs};
use super::srtp::Sealer;
use crate::codec::{AudioCodec, Layer, VideoCodec};
use crate::media_clock;
use crate::rtp::{AccessUnit, History};

pub(super) use self::scratch::{Scratch, Wire};

/// Retransmissions of one viewer: in a second, a whole keyframe twice. More is a flood.
const RETRANSMISSIONS: Rate = Rate {
    per_second: 600.0,
    burst: 600.0,
};

/// Keyframes at one viewer's wish. Each is everybody's: a link that breaks the picture more often needs a lower
/// rate, not more keyframes. A browser repeats an unanswered request some times a second, hence the burst.
const KEYFRAME_REQUESTS: Rate = Rate {
    per_second: 0.5,
    burst: 6.0,
};

/// Between two sender reports while media flows. RFC 3550, 6.2 asks for 5 s or more of a large session; browsers
/// send one a second, since lip-sync hangs on them.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// One connected viewer as the fan-out sees it.
pub(super) struct Outlet {
    local: SocketAddr,
    remote: SocketAddr,
    sealer: Sealer,
    video: Option<Sender>,
    audio: Option<Sender>,
    retransmissions: Bucket,
    keyframe_requests: Bucket,
    next_report: Instant,
}

impl Outlet {
    pub(super) fn new(
        now: Instant,
        path: (SocketAddr, SocketAddr),
        sealer: Sealer,
        tracks: (Option<SendTrack>, Option<SendTrack>),
        ssrcs: Ssrcs,
    ) -> Self {
        let mut outlet = Self {
            local: path.0,
            remote: path.1,
            sealer,
            video: None,
            audio: None,
            retransmissions: Bucket::new(now, RETRANSMISSIONS),
            keyframe_requests: Bucket::new(now, KEYFRAME_REQUESTS),
            next_report: now,
        };
        outlet.set_tracks(tracks, ssrcs);
        outlet
    }

    /// Follows the peer to another address.
    pub(super) fn set_path(&mut self, path: (SocketAddr, SocketAddr)) {
        (self.local, self.remote) = path;
    }

    /// Follows a new offer.
    pub(super) fn set_tracks(
        &mut self,
        (video, audio): (Option<SendTrack>, Option<SendTrack>),
        ssrcs: Ssrcs,
    ) {
        set_track(&mut self.video, video, ssrcs.video, Some(ssrcs.video_rtx));
        set_track(&mut self.audio, audio, ssrcs.audio, None);
    }

    /// The layer of pictures that it receives.
    pub(super) fn video(&self) -> Option<VideoCodec> {
        match running(&self.video)?.layer {
            Layer::Video(codec) => Some(codec),
            Layer::Audio(_) => None,
        }
    }

    /// The layer of sound that it receives.
    pub(super) fn audio(&self) -> Option<AudioCodec> {
        match running(&self.audio)?.layer {
            Layer::Audio(codec) => Some(codec),
            Layer::Video(_) => None,
        }
    }

    /// Packets of both tracks in all; wraps.
    pub(super) fn packets_sent(&self) -> u32 {
        let senders = [&self.video, &self.audio].into_iter().flatten();
        senders.fold(0, |sum, sender| sum.wrapping_add(sender.packets))
    }

    /// Whether the audio track of this viewer has that `ssrc`.
    pub(super) fn is_audio(&self, ssrc: u32) -> bool {
        self.audio.as_ref().is_some_and(|audio| audio.ssrc == ssrc)
    }

    /// Whether the viewer cannot go on without a keyframe.
    pub(super) fn waits_for_keyframe(&self) -> bool {
        running(&self.video).is_some_and(|video| video.waits_for_keyframe)
    }

    /// Whether a keyframe is to be made because this viewer asks for one of the track `ssrc`.
    pub(super) fn grants_keyframe(&mut self, now: Instant, ssrc: u32, counters: &Counters) -> bool {
        if self.video.as_ref().is_none_or(|video| video.ssrc != ssrc) {
            return false;
        }
        let granted = self.keyframe_requests.take(now, KEYFRAME_REQUESTS);
        counters.refused_keyframe_requests.add((!granted).into());
        granted
    }

    /// Sends one access unit of a layer that the viewer receives, unless the viewer waits for a keyframe and this is none. A full socket (no more than
    /// that is told) makes it wait: what follows refers to what was lost, and cannot be decoded.
    pub(super) fn send(
        &mut self,
        layer: Layer,
        unit: &AccessUnit,
        scratch: &mut Scratch,
        wire: &impl Wire,
        counters: &Counters,
    ) {
        let sender = match layer {
            Layer::Video(_) => &mut self.video,
            Layer::Audio(_) => &mut self.audio,
        };
        let Some(sender) = sender.as_mut().filter(|sender| sender.layer == layer) else {
            return;
        };
        if sender.paused || sender.waits_for_keyframe && !unit.keyframe {
            let lost = sender.is_blocked && !sender.paused;
            return counters.blocked_units.add(lost.into());
        }
        sender.waits_for_keyframe = false;
        sender.is_blocked = false;
        sender.advance(unit.first_index, unit.next_index());
        scratch.clear();
        for (position, payload) in unit.payloads().enumerate() {
            let Some(sequence) = sender.sequence(unit.first_index + position as u64) else {
                return;
            };
            let header = Header::of(sender, unit, position, sequence);
            if !scratch.push(&header, &[], payload, sequence, &mut self.sealer) {
                return;
            }
        }
        match scratch.flush(self.local, self.remote, wire) {
            Err(error) if is_full(&error) => {
                counters.blocked_units.add(1);
                if matches!(layer, Layer::Video(_)) {
                    sender.waits_for_keyframe = true;
                    sender.is_blocked = true;
                }
            }
            // A failure of this path alone: ICE will find out.
            Err(_) => {}
            Ok(()) => {
                sender.packets = sender.packets.wrapping_add(unit.len() as u32);
                sender.octets = sender.octets.wrapping_add(unit.size() as u32);
                counters.packets.add(unit.len() as u64);
                counters.bytes.add(scratch.size() as u64);
            }
        }
    }

    /// Answers a NACK from the history of the layer of pictures: as RTX (RFC 4588) where negotiated, else the same
    /// packet bit by bit, since a GCM nonce must never seal two different packets.
    pub(super) fn retransmit(
        &mut self,
        now: Instant,
        (ssrc, sequence): (u32, u16),
        history: &History,
        scratch: &mut Scratch,
        wire: &impl Wire,
        counters: &Counters,
    ) {
        let Some(sender) = self.video.as_mut().filter(|video| video.ssrc == ssrc) else {
            return;
        };
        // Before the search: who asks too much is not even looked up.
        if !self.retransmissions.has(now, RETRANSMISSIONS) {
            return counters.refused_nacks.add(1);
        }
        let found = sender.index(sequence).and_then(|index| {
            let (unit, position) = history.find(index)?;
            Some((
                sender.sequence(index)?,
                unit,
                unit.payload(position)?,
                position,
            ))
        });
        let Some((original, unit, payload, position)) =
            found.filter(|_| self.retransmissions.take(now, RETRANSMISSIONS))
        else {
            return counters.refused_nacks.add(1);
        };
        let mut header = Header::of(sender, unit, position, original);
        scratch.clear();
        let sealed = match &mut sender.rtx {
            Some(rtx) => {
                let sequence = rtx.next_sequence;
                rtx.next_sequence += 1;
                header.rename(rtx.payload_type, sequence, rtx.ssrc);
                let original = (original as u16).to_be_bytes();
                scratch.push(&header, &original, payload, sequence, &mut self.sealer)
            }
            None => scratch.push(&header, &[], payload, original, &mut self.sealer),
        };
        if sealed && scratch.flush(self.local, self.remote, wire).is_ok() {
            counters.retransmitted.add(1);
            counters.packets.add(1);
            counters.bytes.add(scratch.size() as u64);
        }
    }

    /// Sends sender reports, if any are due, in one compound packet: once a second while media flows, and as soon as
    /// a track begins. `now_ms` is the same moment on the media clock, of which every track's RTP clock is made.
    /// `with_sound`: whether there was anything to hear yet; to silence a browser need not bring pictures into step, which
    /// would only make them late.
    pub(super) fn report(&mut self, now: Instant, now_ms: f64, with_sound: bool, wire: &impl Wire) {
        let audio = self.audio.as_mut().filter(|_| with_sound);
        let senders = [self.video.as_mut(), audio];
        let is_due = now >= self.next_report;
        let due = |sender: &Sender| sender.has_news() && is_due || sender.is_unreported();
        if !senders
            .iter()
            .any(|sender| sender.as_deref().is_some_and(due))
        {
            return;
        }
        // Spread, so that viewers who joined together do not all have their report in the same turn.
        self.next_report = now + REPORT_INTERVAL.mul_f32(0.9 + 0.2 * rand::random::<f32>());
        let mut compound = Vec::new();
        let has_news = |sender: &&mut Sender| sender.has_news() || sender.is_unreported();
        for sender in senders.into_iter().flatten().filter(has_news) {
            sender.mark_reported();
            compound.extend(sender_report(&SenderInfo {
                ssrc: sender.ssrc,
                wall_ms: now_ms,
                rtp_time: media_clock::ticks(now_ms, sender.layer.clock_hz()) as u32,
                packets: sender.packets,
                octets: sender.octets,
            }));
        }
        if let Some(sealed) = self.sealer.seal_rtcp(&compound) {
            let _ = wire.send(self.local, self.remote, &sealed, sealed.len());
        }
    }

    /// A compound of RTCP, sealed.
    pub(super) fn seal_rtcp(&mut self, compound: &[u8]) -> Option<BytesMut> {
        self.sealer.seal_rtcp(compound)
    }
}

/// The sender of a track that the viewer wants.
fn running(sender: &Option<Sender>) -> Option<&Sender> {
    sender.as_ref().filter(|sender| !sender.paused)
}

fn set_track(
    sender: &mut Option<Sender>,
    track: Option<SendTrack>,
    ssrc: u32,
    rtx_ssrc: Option<u32>,
) {
    match (sender.as_mut(), track) {
        (Some(sender), Some(track)) => sender.resume(track),
        (Some(sender), None) => sender.paused = true,
        (None, Some(track)) => *sender = Some(Sender::new(ssrc, track, rtx_ssrc)),
        (None, None) => {}
    }
}

/// Whether the socket or the kernel has no room (Linux says ENOBUFS of a large segmented send).
fn is_full(error: &io::Error) -> bool {
    const ENOBUFS: i32 = 105;
    error.kind() == io::ErrorKind::WouldBlock
        || cfg!(target_os = "linux") && error.raw_os_error() == Some(ENOBUFS)
}

#[cfg(test)]
mod tests;

//! The way of a microphone's packets through the network thread.
//!
//! Most packets of most microphones are silence, and often nobody listens: those cost a look at their header. What
//! is decided with that look counts only once the packet has proved genuine.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::opener::Opener;
use super::reception::{Reception, ReportBlock};
use super::rtp_header::{RtpHeader, payload_type};
use super::sdp::MicrophoneTrack;
use crate::microphone::{
    Activity, Attention, CLOCK_HZ, Hearing, MicrophonePacket, PreRoll, Spurt, Verdict,
};

/// One peer's microphone.
pub(super) struct Uplink {
    track: Option<MicrophoneTrack>,
    hearing: Arc<Hearing>,
    activity: Activity,
    pre_roll: PreRoll,
    reception: Reception,
}

impl Uplink {
    pub(super) fn new(track: Option<MicrophoneTrack>, hearing: Arc<Hearing>) -> Self {
        Self {
            track,
            hearing,
            activity: Activity::default(),
            pre_roll: PreRoll::default(),
            reception: Reception::default(),
        }
    }

    /// What a new offer says of the microphone.
    pub(super) fn set_track(&mut self, track: Option<MicrophoneTrack>) {
        self.track = track;
    }

    /// Takes an SRTP packet; what is to be decoded goes to `out`.
    pub(super) fn receive(
        &mut self,
        now: Instant,
        packet: &[u8],
        opener: &mut Opener,
        out: &mut Spurt,
    ) {
        let Some(track) = self.track else { return };
        if payload_type(packet) != Some(track.payload_type) {
            return;
        }
        let attention = self.hearing.attention();
        if attention == Attention::Nothing {
            self.activity.interrupt();
            self.pre_roll.release();
        }
        let Some(mut header) = RtpHeader::parse(packet) else {
            return;
        };
        // G.711 counts at 8 kHz. A product wraps as its factor does, so that differences stay right.
        header.timestamp = header
            .timestamp
            .wrapping_mul(CLOCK_HZ / track.codec.clock_hz());
        // Not opened yet: whoever forges one on the peer's path can at most have it protect its sound better.
        self.reception.add(now, &header, track.codec.clock_hz());
        let id = track.level_extension;
        let level = id.and_then(|id| header.audio_level(packet, id));
        let release = self.hearing.release();
        let verdict = self.activity.judge(now, level, attention, release);
        let is_genuine = match verdict {
            Verdict::Ignore => false,
            Verdict::Prove => {
                let is_genuine = self.open(now, &header, packet, opener).is_some();
                self.pre_roll.release();
                is_genuine
            }
            Verdict::Keep => self.keep(now, &header, packet, opener),
            Verdict::Begin => {
                let is_genuine = self.keep(now, &header, packet, opener);
                if is_genuine {
                    out.begins = true;
                    out.packets = self.pre_roll.take();
                }
                is_genuine
            }
            Verdict::Continue => match proceed(now, &header, packet, opener) {
                Some(packet) => {
                    out.packets.reserve_exact(1);
                    out.packets.push(packet);
                    true
                }
                None => false,
            },
        };
        out.codec = track.codec;
        if is_genuine {
            self.activity.learn(now, level, verdict);
        }
    }

    /// The peer reported; `ntp` is the middle of its NTP time.
    pub(super) fn on_sender_report(&mut self, now: Instant, ntp: u32) {
        self.reception.on_sender_report(now, ntp);
    }

    /// What the peer is to be told of its packets, if that is due.
    pub(super) fn poll_report(&mut self, now: Instant) -> Option<ReportBlock> {
        self.reception.poll_report(now)
    }

    /// Opens a packet behind the pre-roll: the length of its payload.
    fn open(
        &mut self,
        now: Instant,
        header: &RtpHeader,
        packet: &[u8],
        opener: &mut Opener,
    ) -> Option<usize> {
        let length = packet.len() - header.length;
        let room = self.pre_roll.room(now, self.hearing.look_back(), length);
        opener
            .open_rtp(header, packet, room)
            .then(|| header.strip(self.pre_roll.tail()).map_or(0, <[u8]>::len))
    }

    fn keep(
        &mut self,
        now: Instant,
        header: &RtpHeader,
        packet: &[u8],
        opener: &mut Opener,
    ) -> bool {
        let length = self.open(now, header, packet, opener);
        if let Some(length) = length {
            self.pre_roll
                .keep(now, header.sequence, header.timestamp, length);
        }
        length.is_some()
    }
}

/// Opens a packet of its own.
fn proceed(
    now: Instant,
    header: &RtpHeader,
    packet: &[u8],
    opener: &mut Opener,
) -> Option<MicrophonePacket> {
    let mut payload = Vec::with_capacity(packet.len() - header.length);
    if !opener.open_rtp(header, packet, &mut payload) {
        return None;
    }
    let length = header.strip(&payload).map_or(0, <[u8]>::len);
    payload.truncate(length);
    Some(MicrophonePacket {
        received: now,
        sequence: header.sequence,
        timestamp: header.timestamp,
        payload: Bytes::from(payload),
    })
}

#[cfg(test)]
mod tests;

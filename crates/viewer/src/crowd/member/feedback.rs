//! What a viewer sends of its own accord, and when.

use super::GAP_INTERVAL;
use super::Member;
use super::Moment;
use super::REPORT_INTERVAL;
use super::Shared;
use crate::crowd::dtls::Handshake;
use crate::crowd::ice::Outgoing;
use crate::crowd::microphone::OpusPacket;
use crate::crowd::microphone::TIMESTAMP_STEP;
use crate::crowd::rtcp;
use crate::crowd::rtp::Header;
use crate::crowd::streams::Samples;
use std::net::SocketAddr;
use std::time::Instant;

impl Member {
    /// Does what is due.
    pub(in crate::crowd) fn handle_timeout(
        &mut self,
        at: Moment,
        shared: &mut Shared,
        out: &mut Vec<Outgoing>,
    ) {
        if self.closed.is_some() {
            return;
        }
        let event = self.ice.handle_timeout(at.now, out);
        self.on_ice(at.now, event, shared, out);
        if let Some(handshake) = &mut self.handshake {
            if let Err(error) = handshake.handle_timeout(at.now) {
                self.fail(format!("DTLS: {error}"));
            }
            self.flush_handshake(out);
        }
        if self.joined.is_some() && at.now >= self.deadline {
            let state = format!("no picture in time: {:?}", self.times);
            self.fail(state);
        }
        if let Some(video) = &mut self.video
            && (self.joined.is_some() || self.role.inspected)
        {
            let mut samples = Samples {
                tally: &mut shared.tally,
                spread: &shared.spread,
                counts: !self.role.floods,
            };
            video.advance(at.now, at.unix, &mut samples);
        }
        self.send_feedback(at.now, shared, out);
        if self.next_report.is_some_and(|due| due <= at.now) {
            self.next_report = Some(at.now + REPORT_INTERVAL);
            self.send_report(at.now, out);
        }
    }

    /// NACKs and PLIs that are due.
    pub(super) fn send_feedback(
        &mut self,
        now: Instant,
        shared: &mut Shared,
        out: &mut Vec<Outgoing>,
    ) {
        if self.only_counts() {
            return;
        }
        let Some(video) = &mut self.video else { return };
        let media = video.stream.ssrc;
        let mut missing = Vec::new();
        video
            .stream
            .log
            .nacks_due(now, |number| missing.push(number));
        let pli = video.take_pli(now);
        if !missing.is_empty() {
            shared.tally.nacks += missing.len() as u64;
            self.send_rtcp(rtcp::nack(self.ssrc, media, &missing), out);
        }
        if pli {
            shared.tally.plis += 1;
            self.send_rtcp(rtcp::pli(self.ssrc, media), out);
        }
    }

    pub(super) fn send_report(&mut self, now: Instant, out: &mut Vec<Outgoing>) {
        let mut blocks = Vec::with_capacity(2);
        if !self.only_counts() {
            let video = self.video.as_mut().map(|video| &mut video.stream);
            for stream in [video, self.audio.as_mut()].into_iter().flatten() {
                blocks.push(stream.report_block(now));
            }
        }
        self.send_rtcp(rtcp::receiver_report(self.ssrc, &blocks), out);
    }

    pub(super) fn send_rtcp(&mut self, mut packet: Vec<u8>, out: &mut Vec<Outgoing>) {
        if let (Some(srtp), Some(path)) = (&mut self.srtp, self.path)
            && srtp.seal_rtcp(&mut packet)
        {
            out.push((path, packet));
        }
    }

    /// Sends `count` packets that ask for the last 17 packets and a keyframe each.
    pub(in crate::crowd) fn flood(
        &mut self,
        count: u32,
        shared: &mut Shared,
        out: &mut Vec<Outgoing>,
    ) {
        let Some(video) = &self.video else { return };
        let (media, highest) = (video.stream.ssrc, video.stream.log.highest() as u16);
        let numbers: Vec<u16> = (0..17)
            .rev()
            .map(|back| highest.wrapping_sub(back))
            .collect();
        let mut packet = rtcp::nack(self.ssrc, media, &numbers);
        packet.extend(rtcp::pli(self.ssrc, media));
        for _ in 0..count {
            self.send_rtcp(packet.clone(), out);
        }
        shared.tally.flood_sent += u64::from(count);
    }

    /// Writes the next microphone packet; where to send it.
    pub(in crate::crowd) fn speak(
        &mut self,
        clip: &[OpusPacket],
        packet: &mut Vec<u8>,
    ) -> Option<SocketAddr> {
        let (srtp, path) = (self.srtp.as_mut()?, self.path?);
        let audio = self.remote.audio.filter(|audio| audio.receives)?;
        let microphone = &mut self.microphone;
        let opus = clip.get(microphone.position % clip.len().max(1))?;
        let header = Header {
            marker: microphone.index == 0,
            payload_type: audio.payload_type,
            sequence: microphone.index as u16,
            timestamp: microphone.timestamp,
            ssrc: self.ssrc,
            length: if audio.level_id.is_some() { 20 } else { 12 },
        };
        packet.clear();
        packet.push(if audio.level_id.is_some() { 0x90 } else { 0x80 });
        packet.push(u8::from(header.marker) << 7 | header.payload_type);
        packet.extend(header.sequence.to_be_bytes());
        packet.extend(header.timestamp.to_be_bytes());
        packet.extend(header.ssrc.to_be_bytes());
        if let Some(id) = audio.level_id {
            // RFC 8285, 4.2: one word; an element of one byte (RFC 6464, 3), two of padding.
            packet.extend([0xbe, 0xde, 0, 1]);
            packet.extend([id << 4, u8::from(opus.voice) << 7 | opus.level, 0, 0]);
        }
        packet.extend(&opus.data);
        let index = microphone.index;
        microphone.position += 1;
        microphone.index += 1;
        microphone.timestamp = microphone.timestamp.wrapping_add(TIMESTAMP_STEP);
        srtp.seal_rtp(packet, &header, index).then_some(path)
    }

    /// When [`Self::handle_timeout`] is due.
    pub(in crate::crowd) fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        if self.closed.is_some() {
            return None;
        }
        let feedback = self.video.as_ref().filter(|_| !self.only_counts());
        let gap = feedback.filter(|video| video.frames.has_gap());
        [
            self.ice.poll_timeout(),
            self.handshake.as_ref().and_then(Handshake::poll_timeout),
            self.joined.as_ref().map(|_| self.deadline),
            self.next_report,
            feedback.and_then(|video| video.stream.log.next_nack()),
            feedback.and_then(|video| video.pli_due),
            gap.map(|_| now + GAP_INTERVAL),
        ]
        .into_iter()
        .flatten()
        .min()
    }
}

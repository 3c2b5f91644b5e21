//! Packets that come: whose they are, what they hold, what is missing.

use super::MAX_EARLY_REPORTS;
use super::Member;
use super::Moment;
use super::Shared;
use super::elapsed_ms;
use crate::VideoCodec;
use crate::crowd::decode::DecodeQueue;
use crate::crowd::frames::FramePacket;
use crate::crowd::rtcp;
use crate::crowd::rtcp::SenderReport;
use crate::crowd::rtp;
use crate::crowd::rtp::Header;
use crate::crowd::sequence::SequenceLog;
use crate::crowd::streams::Samples;
use crate::crowd::streams::Stream;
use crate::crowd::streams::Video;
use crate::media::FrameAssembler;
use crate::media::FrameEvent;
use crate::media::VideoPacket;
use bytes::Bytes;
use std::time::Instant;

impl Member {
    pub(super) fn on_rtcp(&mut self, now: Instant, datagram: &mut [u8], shared: &mut Shared) {
        let Some(srtp) = &mut self.srtp else { return };
        let Some(plain) = srtp.open_rtcp(datagram) else {
            shared.tally.auth_failures += 1;
            return;
        };
        let video = self.video.as_mut().map(|video| &mut video.stream);
        let mut streams: [Option<&mut Stream>; 2] = [video, self.audio.as_mut()];
        rtcp::read_sender_reports(plain, |report| {
            let stream = streams
                .iter_mut()
                .flatten()
                .find(|stream| stream.ssrc == report.ssrc);
            match stream {
                Some(stream) => stream.sender_report = Some((report, now)),
                None if self.early_reports.len() < MAX_EARLY_REPORTS => {
                    self.early_reports.push((report, now));
                }
                None => {}
            }
        });
    }

    pub(super) fn on_rtp(&mut self, at: Moment, datagram: &mut [u8], shared: &mut Shared) {
        let Some(header) = Header::parse(datagram) else {
            return;
        };
        if self.srtp.is_none() {
            return;
        }
        let payload_type = Some(header.payload_type);
        if payload_type == self.remote.video.map(|video| video.payload_type) {
            self.on_video(at, datagram, &header, shared);
        } else if payload_type == self.remote.video.and_then(|video| video.rtx) {
            self.on_rtx(at, datagram, &header, shared);
        } else if payload_type == self.remote.audio.map(|audio| audio.payload_type) {
            self.on_audio(at, datagram, &header, shared);
        }
    }

    pub(super) fn on_audio(
        &mut self,
        at: Moment,
        datagram: &mut [u8],
        header: &Header,
        shared: &mut Shared,
    ) {
        let length = datagram.len() as u64;
        let is_first = self.audio.is_none();
        let audio = self.audio.get_or_insert_with(|| Stream::audio(header));
        if is_first {
            audio.sender_report = take_report(&mut self.early_reports, header.ssrc);
        } else if audio.ssrc != header.ssrc || audio.log.add(header.sequence, at.now).is_none() {
            return;
        }
        audio.bytes += length;
        audio.note_arrival(header.timestamp, at.unix);
        let index = audio.log.number(header.sequence);
        if self.opens_next(shared) {
            self.open(datagram, header, index, shared);
        }
    }

    pub(super) fn on_video(
        &mut self,
        at: Moment,
        datagram: &mut [u8],
        header: &Header,
        shared: &mut Shared,
    ) {
        let is_first = self.video.is_none();
        let nack = self.remote.video.is_some_and(|video| video.nack);
        let video = self
            .video
            .get_or_insert_with(|| Video::new(header, nack, at.now));
        if is_first {
            let elapsed = elapsed_ms(self.started, at.now);
            self.times.first_packet_ms = Some(elapsed);
            self.last_flight = Vec::new();
            video.stream.sender_report = take_report(&mut self.early_reports, header.ssrc);
        } else if video.stream.ssrc != header.ssrc
            || video.stream.log.add(header.sequence, at.now).is_none()
        {
            return;
        }
        video.stream.bytes += datagram.len() as u64;
        video.stream.note_arrival(header.timestamp, at.unix);
        let number = video.stream.log.number(header.sequence);
        let opens = video.awaits_keyframe || self.opens_next(shared);
        let payload = if opens {
            self.open(datagram, header, number, shared)
        } else {
            None
        };
        self.take_video(at, number, header, payload, shared);
    }

    /// An RTX packet (RFC 4588, 4): the sequence number of what it repeats, then its payload.
    pub(super) fn on_rtx(
        &mut self,
        at: Moment,
        datagram: &mut [u8],
        header: &Header,
        shared: &mut Shared,
    ) {
        let length = datagram.len() as u64;
        let is_first = self.rtx.is_none();
        let log = self
            .rtx
            .get_or_insert_with(|| SequenceLog::new(header.sequence, false));
        if !is_first && log.add(header.sequence, at.now).is_none() {
            return;
        }
        let index = log.number(header.sequence);
        let Some(plain) = self.open(datagram, header, index, shared) else {
            return;
        };
        let Some((&original, payload)) = plain.split_first_chunk::<2>() else {
            return;
        };
        let Some(video) = &mut self.video else { return };
        video.stream.bytes += length;
        let sequence = u16::from_be_bytes(original);
        if let Some(number) = video.stream.log.add(sequence, at.now) {
            self.take_video(at, number, header, Some(payload), shared);
        }
    }

    /// Takes a packet of video by its number; its payload if it was opened.
    pub(super) fn take_video(
        &mut self,
        at: Moment,
        number: u64,
        header: &Header,
        payload: Option<&[u8]>,
        shared: &mut Shared,
    ) {
        let Some(video) = &mut self.video else { return };
        let packet = FramePacket {
            number,
            timestamp: header.timestamp,
            marker: header.marker,
            keyframe: payload.is_some_and(|payload| match shared.codec {
                VideoCodec::H264 => rtp::begins_h264_keyframe(payload),
                VideoCodec::Vp8 => rtp::begins_vp8_keyframe(payload),
                VideoCodec::Vp9 => rtp::begins_vp9_keyframe(payload),
            }),
        };
        let mut samples = Samples {
            tally: &mut shared.tally,
            spread: &shared.spread,
            counts: !self.role.floods,
        };
        video.push(packet, at.now, at.unix, &mut samples);
        self.unsettled |= video.wants_attention();
        if video.has_picture && self.joined.is_some() {
            self.times.first_frame_ms = Some(elapsed_ms(self.started, at.now));
            self.tell_joined(Ok(()));
        }
        if let (Some(payload), Some(queue)) = (payload, &self.role.decoder) {
            let queue = queue.clone();
            self.decode(at.now, number, shared.codec, header, payload, &queue);
        }
    }

    pub(super) fn decode(
        &mut self,
        now: Instant,
        number: u64,
        codec: VideoCodec,
        header: &Header,
        payload: &[u8],
        queue: &DecodeQueue,
    ) {
        let assembler = self
            .assembler
            .get_or_insert_with(|| FrameAssembler::new(number, true));
        let packet = VideoPacket {
            codec,
            timestamp: header.timestamp,
            marker: header.marker,
            payload: Bytes::copy_from_slice(payload),
        };
        assembler.push(number, packet, now);
        while let Some(event) = assembler.poll(now) {
            match event {
                FrameEvent::Complete(unit) => {
                    self.decoder_lost &= !unit.keyframe;
                    if self.decoder_lost {
                        queue.skip();
                    } else {
                        self.decoder_lost = !queue.push(self.role.id, unit);
                    }
                }
                // Its frame counts as incomplete; what refers to it is frozen.
                FrameEvent::GivenUp(_) => self.decoder_lost = true,
            }
        }
    }

    /// Whether the next packet is to be opened.
    pub(super) fn opens_next(&mut self, shared: &Shared) -> bool {
        self.decrypt_credit += shared.decrypt;
        let opens = self.decrypt_credit >= 1.0;
        if opens {
            self.decrypt_credit -= 1.0;
        }
        opens || self.role.witness || self.role.decoder.is_some()
    }

    /// Opens a packet in place and counts it.
    pub(super) fn open<'a>(
        &mut self,
        datagram: &'a mut [u8],
        header: &Header,
        index: u64,
        shared: &mut Shared,
    ) -> Option<&'a [u8]> {
        let opened = self.srtp.as_mut()?.open_rtp(datagram, header, index);
        match opened {
            Some(_) => shared.tally.decrypted += 1,
            None => shared.tally.auth_failures += 1,
        }
        opened
    }
}

fn take_report(
    reports: &mut Vec<(SenderReport, Instant)>,
    ssrc: u32,
) -> Option<(SenderReport, Instant)> {
    let position = reports
        .iter()
        .rposition(|(report, _)| report.ssrc == ssrc)?;
    Some(reports.swap_remove(position))
}

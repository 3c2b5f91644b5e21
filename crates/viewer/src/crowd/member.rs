//! One viewer, without its socket: ICE, DTLS, SRTP, and what it makes of the packets that come.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use tokio::sync::oneshot;

use super::decode::DecodeQueue;
use super::dtls::{Handshake, Identity};
use super::frames::FramePacket;
use super::ice::{Ice, IceEvent, Outgoing};
use super::microphone::{OpusPacket, TIMESTAMP_STEP};
use super::report::ViewerNumbers;
use super::rtcp::{self, SenderReport};
use super::rtp::{self, Header};
use super::sdp::{Remote, VideoCodec};
use super::spread::Spread;
use super::srtp::Srtp;
use super::streams::{Samples, Stream, Video};
use super::stun;
use super::tally::Tally;
use crate::media::{FrameAssembler, FrameEvent, VideoPacket};
use crate::report::Times;
use crate::{Loss, is_dtls_alert, is_rtp};

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
            joined: Some(joined),
            closed: None,
            role,
        }
    }

    pub(super) fn id(&self) -> u64 {
        self.role.id
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
        match datagram.first() {
            Some(0..=3) if stun::is_stun(datagram) => {
                let event = self.ice.handle(at.now, from, datagram, out);
                self.on_ice(at.now, event, shared, out);
            }
            Some(20..=63) => self.on_dtls(at.now, datagram, shared, out),
            Some(128..=191) if rtp::is_rtcp(datagram) => self.on_rtcp(at.now, datagram, shared),
            Some(128..=191) if shared.loss.next() => shared.tally.dropped_on_purpose += 1,
            Some(128..=191) => self.on_rtp(at, datagram, shared),
            _ => {}
        }
    }

    fn on_ice(
        &mut self,
        now: Instant,
        event: Option<IceEvent>,
        shared: &Shared,
        out: &mut Vec<Outgoing>,
    ) {
        match event {
            None => {}
            Some(IceEvent::Failed) => self.fail("ICE found no way, or lost it".to_owned()),
            Some(IceEvent::Selected(remote)) => {
                self.path = Some(remote);
                self.times
                    .ice_ms
                    .get_or_insert(elapsed_ms(self.started, now));
                if self.handshake.is_none() && self.srtp.is_none() {
                    let fingerprint = self.remote.fingerprint.clone();
                    match Handshake::begin(now, &shared.identity, fingerprint) {
                        Ok(handshake) => self.handshake = Some(handshake),
                        Err(error) => self.fail(format!("DTLS: {error}")),
                    }
                    self.flush_handshake(out);
                }
            }
        }
    }

    fn on_dtls(&mut self, now: Instant, datagram: &[u8], shared: &Shared, out: &mut Vec<Outgoing>) {
        let Some(handshake) = &mut self.handshake else {
            if self.srtp.is_some() && is_dtls_alert(datagram) {
                self.fail("the server said good-bye".to_owned());
            }
            return;
        };
        let handled = handshake.handle(now, datagram);
        self.flush_handshake(out);
        match handled {
            Ok(true) => self.on_connected(now, shared),
            Ok(false) => {}
            // A datagram that makes no sense is no reason to end (RFC 6347, 4.1.2.7); without an end the
            // deadline passes.
            Err(error) => tracing::debug!(viewer = self.role.id, %error, "DTLS"),
        }
    }

    fn on_connected(&mut self, now: Instant, shared: &Shared) {
        let Some(handshake) = self.handshake.take() else {
            return;
        };
        let crypto = shared.identity.crypto.crypto();
        let keyed = handshake.finish(now).and_then(|association| {
            let srtp = Srtp::new(&association.keys, crypto)?;
            Ok((srtp, association.good_bye))
        });
        match keyed {
            Ok((srtp, good_bye)) => {
                self.srtp = Some(srtp);
                self.good_bye = good_bye;
                self.times.dtls_ms = Some(elapsed_ms(self.started, now));
                self.next_report = Some(now + REPORT_INTERVAL);
            }
            Err(error) => self.fail(format!("DTLS: {error}")),
        }
    }

    fn flush_handshake(&mut self, out: &mut Vec<Outgoing>) {
        let (Some(handshake), Some(path)) = (&mut self.handshake, self.path) else {
            return;
        };
        while let Some(datagram) = handshake.poll_transmit() {
            out.push((path, datagram.into()));
        }
    }

    fn on_rtcp(&mut self, now: Instant, datagram: &mut [u8], shared: &mut Shared) {
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

    fn on_rtp(&mut self, at: Moment, datagram: &mut [u8], shared: &mut Shared) {
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

    fn on_audio(&mut self, at: Moment, datagram: &mut [u8], header: &Header, shared: &mut Shared) {
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

    fn on_video(&mut self, at: Moment, datagram: &mut [u8], header: &Header, shared: &mut Shared) {
        let is_first = self.video.is_none();
        let nack = self.remote.video.is_some_and(|video| video.nack);
        let video = self
            .video
            .get_or_insert_with(|| Video::new(header, nack, at.now));
        if is_first {
            let elapsed = elapsed_ms(self.started, at.now);
            self.times.first_packet_ms = Some(elapsed);
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
    fn on_rtx(&mut self, at: Moment, datagram: &mut [u8], header: &Header, shared: &mut Shared) {
        let length = datagram.len() as u64;
        let is_first = self.rtx.is_none();
        let log = self
            .rtx
            .get_or_insert_with(|| super::sequence::SequenceLog::new(header.sequence, false));
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
    fn take_video(
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
            }),
        };
        let mut samples = Samples {
            tally: &mut shared.tally,
            spread: &shared.spread,
            counts: !self.role.floods,
        };
        video.push(packet, at.now, at.unix, &mut samples);
        if video.has_picture && self.joined.is_some() {
            self.times.first_frame_ms = Some(elapsed_ms(self.started, at.now));
            self.tell_joined(Ok(()));
        }
        if let (Some(payload), Some(queue)) = (payload, &self.role.decoder) {
            let queue = queue.clone();
            self.decode(at.now, number, header, payload, &queue);
        }
    }

    fn decode(
        &mut self,
        now: Instant,
        number: u64,
        header: &Header,
        payload: &[u8],
        queue: &DecodeQueue,
    ) {
        let assembler = self
            .assembler
            .get_or_insert_with(|| FrameAssembler::new(number, true));
        let packet = VideoPacket {
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
    fn opens_next(&mut self, shared: &Shared) -> bool {
        self.decrypt_credit += shared.decrypt;
        let opens = self.decrypt_credit >= 1.0;
        if opens {
            self.decrypt_credit -= 1.0;
        }
        opens || self.role.witness || self.role.decoder.is_some()
    }

    /// Opens a packet in place and counts it.
    fn open<'a>(
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

    /// Does what is due.
    pub(super) fn handle_timeout(
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
            && !(self.joined.is_none() && !self.role.inspected)
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
    fn send_feedback(&mut self, now: Instant, shared: &mut Shared, out: &mut Vec<Outgoing>) {
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

    fn send_report(&mut self, now: Instant, out: &mut Vec<Outgoing>) {
        let mut blocks = Vec::with_capacity(2);
        if !self.only_counts() {
            let video = self.video.as_mut().map(|video| &mut video.stream);
            for stream in [video, self.audio.as_mut()].into_iter().flatten() {
                blocks.push(stream.report_block(now));
            }
        }
        self.send_rtcp(rtcp::receiver_report(self.ssrc, &blocks), out);
    }

    fn send_rtcp(&mut self, mut packet: Vec<u8>, out: &mut Vec<Outgoing>) {
        if let (Some(srtp), Some(path)) = (&mut self.srtp, self.path)
            && srtp.seal_rtcp(&mut packet)
        {
            out.push((path, packet));
        }
    }

    /// Sends `count` packets that ask for the last 17 packets and a keyframe each.
    pub(super) fn flood(&mut self, count: u32, shared: &mut Shared, out: &mut Vec<Outgoing>) {
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
    pub(super) fn speak(
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
    pub(super) fn poll_timeout(&self, now: Instant) -> Option<Instant> {
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

    /// One more address of the server.
    pub(super) fn add_remote(&mut self, address: SocketAddr, now: Instant) {
        self.ice.add_remote(address, now);
    }

    /// Says good-bye.
    pub(super) fn close(&mut self, out: &mut Vec<Outgoing>) {
        if let Some(path) = self.path {
            out.extend(
                self.good_bye
                    .drain(..)
                    .map(|datagram| (path, datagram.into())),
            );
        }
    }

    /// Ends this viewer; the first reason counts.
    pub(super) fn fail(&mut self, reason: String) {
        self.tell_joined(Err(reason.clone()));
        self.closed.get_or_insert(reason);
        self.handshake = None;
    }

    fn tell_joined(&mut self, result: Result<(), String>) {
        if let Some(joined) = self.joined.take() {
            // Whoever waited may have lost patience.
            let _ = joined.send(result);
        }
    }

    pub(super) fn begin_window(&mut self) {
        if let Some(video) = &mut self.video {
            video.begin_window();
        }
        if let Some(audio) = &mut self.audio {
            audio.begin_window();
        }
        (self.datagrams, self.bytes) = (0, 0);
    }

    pub(super) fn numbers(&self) -> ViewerNumbers {
        let stream = |stream: Option<&Stream>| {
            stream.map_or_else(Default::default, |stream| {
                let (counts, bytes) = stream.at_begin;
                (stream.log.counts().since(&counts), stream.bytes - bytes).into()
            })
        };
        let frames = self
            .video
            .as_ref()
            .map(|video| video.counts)
            .unwrap_or_default();
        ViewerNumbers {
            id: self.role.id,
            port: self.port,
            times: self.times,
            gcm: self.srtp.as_ref().is_some_and(Srtp::is_gcm),
            has_picture: self.video.as_ref().is_some_and(|video| video.has_picture),
            inspected: self.role.inspected,
            witness: self.role.witness,
            floods: self.role.floods,
            frames: frames.frames,
            frozen_frames: frames.frozen,
            incomplete_frames: frames.incomplete,
            keyframes: frames.keyframes,
            longest_interval: frames.longest_interval,
            video: stream(self.video.as_ref().map(|video| &video.stream)),
            audio: stream(self.audio.as_ref()),
            datagrams: self.datagrams,
            bytes: self.bytes,
            closed: self.closed.clone(),
        }
    }
}

fn elapsed_ms(started: Instant, now: Instant) -> f64 {
    now.saturating_duration_since(started).as_secs_f64() * 1_000.0
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

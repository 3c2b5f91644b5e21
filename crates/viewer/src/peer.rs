//! The browser's part of the connection, without sockets: `rtc`'s peer and what its packets tell.

use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use parking_lot::Mutex;
use rtc::data_channel::RTCDataChannelId;
use rtc::interceptor::{
    NackGeneratorBuilder, ReceiverReportBuilder, Registry, SenderReportBuilder,
};
use rtc::media_stream::{MediaStreamTrack, MediaStreamTrackId};
use rtc::peer_connection::configuration::RTCOfferOptions;
use rtc::peer_connection::configuration::interceptor_registry::Slot;
use rtc::peer_connection::configuration::media_engine::{MIME_TYPE_RTX, MediaEngine};
use rtc::peer_connection::configuration::setting_engine::SettingEngineBuilder;
use rtc::peer_connection::event::{
    RTCDataChannelEvent, RTCPeerConnectionEvent, RTCTrackEvent, RTCTrackEventInit,
};
use rtc::peer_connection::message::RTCMessage;
use rtc::peer_connection::sdp::RTCSessionDescription;
use rtc::peer_connection::state::{RTCIceConnectionState, RTCPeerConnectionState};
use rtc::peer_connection::transport::{
    CandidateConfig, CandidateHostConfig, RTCIceCandidate, RTCIceCandidateInit,
};
use rtc::peer_connection::{RTCPeerConnection, RTCPeerConnectionBuilder};
use rtc::rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtc::rtp_transceiver::rtp_sender::{
    RTCPFeedback, RTCRtpCodec, RTCRtpCodecParameters, RTCRtpCodingParameters,
    RTCRtpEncodingParameters, RTCRtpHeaderExtensionCapability, RtpCodecKind,
};
use rtc::rtp_transceiver::{
    RTCRtpReceiverId, RTCRtpSenderId, RTCRtpTransceiverDirection, RTCRtpTransceiverInit,
};
use rtc::sansio::Protocol;
use rtc::shared::error::Error;
use rtc::shared::{TaggedBytesMut, TransportContext, TransportProtocol};
use rtc::statistics::StatsSelector;

use crate::media::{FrameAssembler, FrameEvent, VideoPacket};
use crate::observer::{Observed, Observer};
use crate::report::{AudioPacket, Report, SenderReport, keep};
use crate::sequence::SequenceTracker;
use crate::{AudioCodec, VideoCodec, ViewerOptions, is_rtp};

/// Between NACKs for the same packet: some round trips of a near network.
const NACK_INTERVAL: Duration = Duration::from_millis(30);
/// Between keyframe requests while none comes.
const PLI_INTERVAL: Duration = Duration::from_millis(200);
/// Packets; a repetition that comes after so many others is refused. `rtc`'s own 64 is less than a keyframe.
const REPLAY_WINDOW: usize = 1024;
/// Between connectivity checks: Ta of RFC 8445, 14.2. `rtc`'s own 200 ms would be most of a first frame's time.
const ICE_INTERVAL: Duration = Duration::from_millis(50);
/// 10 s of checks.
const ICE_CHECKS: u16 = 200;
const MICROPHONE_PACKET: Duration = Duration::from_millis(20);
const MICROPHONE_PACKETS_A_SECOND: u32 = 50;

/// One offering peer.
pub(crate) struct Peer {
    connection: RTCPeerConnection,
    channel: RTCDataChannelId,
    observed: Arc<Mutex<Observed>>,
    local: SocketAddr,
    started: Instant,
    keep_video: bool,
    keep_audio: bool,
    pli_after_loss: bool,
    tracks: Vec<Track>,
    video: Option<(SequenceTracker, FrameAssembler)>,
    audio: Option<SequenceTracker>,
    last_frame: Option<Instant>,
    last_pli: Option<Instant>,
    keyframe_wanted: bool,
    /// Candidates that came before the answer.
    early_candidates: Vec<RTCIceCandidateInit>,
    answered: bool,
    microphone: Option<Microphone>,
}

/// A track that the other side opened.
struct Track {
    id: MediaStreamTrackId,
    kind: RtpCodecKind,
    receiver: RTCRtpReceiverId,
    ssrc: u32,
}

struct Microphone {
    codec: AudioCodec,
    sender: RTCRtpSenderId,
    ssrc: u32,
    packets: std::vec::IntoIter<Vec<u8>>,
    /// Of those packets, and the name under which they are offered.
    levels: std::vec::IntoIter<u8>,
    level_extension: Option<u8>,
    sequence: u16,
    timestamp: u32,
    /// When the next packet is due; `None` until connected.
    due: Option<Instant>,
}

impl Peer {
    /// A peer that will receive on `local`.
    pub(crate) fn new(
        options: &ViewerOptions,
        local: SocketAddr,
        started: Instant,
    ) -> Result<Self, Error> {
        let (observer, observed) = Observer::new();
        let mut connection = RTCPeerConnectionBuilder::new()
            .with_setting_engine(
                SettingEngineBuilder::new()
                    .with_srtp_protection_profiles(options.srtp_profiles.clone())
                    .with_srtp_replay_protection_window(REPLAY_WINDOW)
                    .with_ice_connection_attempts(Some(ICE_INTERVAL), Some(ICE_CHECKS))
                    .build(),
            )
            .with_media_engine(media_engine(options)?)
            .with_interceptor_registry(interceptors(observer, options.send_nack))
            .build(Instant::now())?;
        let microphone = options.microphone.clone().map(Vec::into_iter);
        let codec = options.audio_codecs.first().copied().unwrap_or_default();
        let mut microphone = add_audio(&mut connection, codec, microphone)?;
        if let (Some(microphone), Some(levels)) = (&mut microphone, &options.microphone_levels) {
            microphone.levels = levels.clone().into_iter();
        }
        connection.add_transceiver_from_kind(RtpCodecKind::Video, recvonly())?;
        let channel = connection.create_data_channel("avatar-control", None)?.id();
        Ok(Self {
            connection,
            channel,
            observed,
            local,
            started,
            keep_video: options.keep_video,
            keep_audio: options.keep_audio,
            pli_after_loss: options.pli_after_loss,
            tracks: Vec::new(),
            video: None,
            audio: None,
            last_frame: None,
            last_pli: None,
            keyframe_wanted: false,
            early_candidates: Vec::new(),
            answered: false,
            microphone,
        })
    }

    /// The offer's SDP, and the candidate to send after it when `trickle`.
    pub(crate) fn offer(
        &mut self,
        trickle: bool,
        restart_ice: bool,
        now: Instant,
    ) -> Result<(String, Option<RTCIceCandidateInit>), Error> {
        let candidate = host_candidate(self.local)?;
        let options = RTCOfferOptions {
            ice_restart: restart_ice,
        };
        let offer = self.connection.create_offer(Some(options))?;
        if let Some(microphone) = &mut self.microphone {
            microphone.level_extension = level_extension(&offer.sdp);
        }
        // Candidates of the server's new session wait for its answer.
        self.answered = false;
        self.connection.set_local_description(now, offer.clone())?;
        self.connection.add_local_candidate(candidate.clone())?;
        if trickle {
            return Ok((offer.sdp, Some(candidate)));
        }
        let complete = self
            .connection
            .local_description()
            .ok_or(Error::ErrPeerConnLocalDescriptionNil)?;
        Ok((complete.sdp, None))
    }

    /// Takes the server's answer.
    pub(crate) fn answer(&mut self, sdp: String, now: Instant) -> Result<(), Error> {
        let answer = RTCSessionDescription::answer(sdp)?;
        self.connection.set_remote_description(now, answer)?;
        self.answered = true;
        for candidate in std::mem::take(&mut self.early_candidates) {
            self.connection.add_remote_candidate(candidate)?;
        }
        Ok(())
    }

    /// Takes one of the server's candidates, before the answer or after it.
    pub(crate) fn candidate(&mut self, candidate: RTCIceCandidateInit) -> Result<(), Error> {
        if self.answered {
            self.connection.add_remote_candidate(candidate)
        } else {
            keep(&mut self.early_candidates, candidate);
            Ok(())
        }
    }

    /// Takes a datagram. [`Self::process`] is to follow, once for many.
    pub(crate) fn receive(
        &mut self,
        datagram: &[u8],
        from: SocketAddr,
        report: &mut Report,
        now: Instant,
    ) {
        if self.is_duplicate(datagram) {
            return;
        }
        let read = self.connection.handle_read(TaggedBytesMut {
            now,
            transport: TransportContext {
                local_addr: self.local,
                peer_addr: from,
                ecn: None,
                transport_protocol: TransportProtocol::UDP,
            },
            message: BytesMut::from(datagram),
        });
        if let Err(error) = read {
            tracing::debug!(%from, %error, "a datagram was refused");
        }
        self.read(report, now);
    }

    /// Does what is due, and writes down what happened.
    pub(crate) fn process(&mut self, report: &mut Report, now: Instant) {
        if self.connection.poll_timeout().is_some_and(|due| due <= now)
            && let Err(error) = self.connection.handle_timeout(now)
        {
            tracing::debug!(%error, "a timer failed");
        }
        self.read(report, now);
        self.on_frames(report, now);
        self.speak(report, now);
        if self.keyframe_wanted
            && self.pli_after_loss
            && self.last_pli.is_none_or(|last| now - last >= PLI_INTERVAL)
        {
            self.request_keyframe(now);
        }
        self.take_observed(report);
    }

    /// The next datagram to send, and where to.
    pub(crate) fn poll_transmit(&mut self) -> Option<(BytesMut, SocketAddr)> {
        let datagram = self.connection.poll_write()?;
        Some((datagram.message, datagram.transport.peer_addr))
    }

    /// When [`Self::process`] is due although nothing came.
    pub(crate) fn poll_timeout(&mut self) -> Option<Instant> {
        let microphone = self.microphone.as_ref().and_then(|mic| mic.due);
        self.connection
            .poll_timeout()
            .into_iter()
            .chain(microphone)
            .min()
    }

    /// Sends a picture loss indication, if there is video.
    pub(crate) fn request_keyframe(&mut self, now: Instant) {
        let Some(track) = self
            .tracks
            .iter()
            .find(|track| track.kind == RtpCodecKind::Video)
        else {
            return;
        };
        let pli = PictureLossIndication {
            sender_ssrc: 0,
            media_ssrc: track.ssrc,
        };
        if let Some(mut receiver) = self.connection.rtp_receiver(track.receiver)
            && let Err(error) = receiver.write_rtcp(now, vec![Box::new(pli)])
        {
            tracing::debug!(%error, "a keyframe request was not sent");
        }
        self.last_pli = Some(now);
    }

    /// Sends a text on the data channel.
    pub(crate) fn send_text(&mut self, text: String, now: Instant) -> Result<(), Error> {
        self.connection
            .data_channel(self.channel)
            .ok_or(Error::ErrDataChannelNotExisted)?
            .send_text(now, text)
    }

    /// Says goodbye; datagrams remain to be sent.
    pub(crate) fn close(&mut self) {
        if let Err(error) = self.connection.close() {
            tracing::debug!(%error, "closing failed");
        }
    }

    fn read(&mut self, report: &mut Report, now: Instant) {
        while let Some(event) = self.connection.poll_event() {
            self.on_event(event, report, now);
        }
        while let Some(tagged) = self.connection.poll_read() {
            match tagged.message {
                RTCMessage::RtpPacket(track, packet) => self.on_rtp(&track, packet, report, now),
                RTCMessage::DataChannelMessage(_, message) => keep(
                    &mut report.commands,
                    String::from_utf8_lossy(&message.data).into_owned(),
                ),
                _ => {}
            }
        }
    }

    /// Counts a doubled RTP packet. `rtc` would drop it as a replay, and say nothing.
    fn is_duplicate(&mut self, datagram: &[u8]) -> bool {
        let Some((header, _)) = datagram.split_first_chunk::<12>() else {
            return false;
        };
        let [_, _, s0, s1, _, _, _, _, ssrc @ ..] = *header;
        let (sequence, ssrc) = (u16::from_be_bytes([s0, s1]), u32::from_be_bytes(ssrc));
        let track = self.tracks.iter().find(|track| track.ssrc == ssrc);
        let tracker = match track.map(|track| track.kind) {
            Some(RtpCodecKind::Video) => self.video.as_mut().map(|(tracker, _)| tracker),
            Some(RtpCodecKind::Audio) => self.audio.as_mut(),
            _ => None,
        };
        is_rtp(datagram) && tracker.is_some_and(|tracker| tracker.is_duplicate(sequence))
    }

    fn on_event(&mut self, event: RTCPeerConnectionEvent, report: &mut Report, now: Instant) {
        let elapsed = self.elapsed_ms(now);
        match event {
            RTCPeerConnectionEvent::OnIceConnectionStateChangeEvent(
                RTCIceConnectionState::Connected | RTCIceConnectionState::Completed,
            ) => {
                report.times.ice_ms.get_or_insert(elapsed);
            }
            RTCPeerConnectionEvent::OnConnectionStateChangeEvent(state) => match state {
                RTCPeerConnectionState::Connected => {
                    report.times.dtls_ms.get_or_insert(elapsed);
                    let stats = self.connection.get_stats(now, StatsSelector::None);
                    report.srtp_profile = stats.transport().map(|t| t.srtp_cipher.clone());
                    if let Some(microphone) = &mut self.microphone {
                        microphone.due.get_or_insert(now);
                    }
                }
                RTCPeerConnectionState::Failed => {
                    report
                        .closed
                        .get_or_insert("the connection failed".to_owned());
                }
                _ => {}
            },
            RTCPeerConnectionEvent::OnTrack(RTCTrackEvent::OnOpen(track)) => self.on_track(track),
            RTCPeerConnectionEvent::OnDataChannel(event) => match event {
                RTCDataChannelEvent::OnOpen(_) => report.channel_open = true,
                RTCDataChannelEvent::OnClose(_) => report.channel_open = false,
                _ => {}
            },
            _ => {}
        }
    }

    fn on_track(&mut self, track: RTCTrackEventInit) {
        if let Some(receiver) = self.connection.rtp_receiver(track.receiver_id) {
            let kind = receiver.track().kind();
            self.tracks.push(Track {
                id: track.track_id,
                kind,
                receiver: track.receiver_id,
                ssrc: track.ssrc,
            });
        }
    }

    fn on_rtp(
        &mut self,
        track: &MediaStreamTrackId,
        packet: rtc::rtp::Packet,
        report: &mut Report,
        now: Instant,
    ) {
        let kind = self
            .tracks
            .iter()
            .find(|known| known.id == *track)
            .map(|known| known.kind);
        match kind {
            Some(RtpCodecKind::Video) => self.on_video(packet, report, now),
            Some(RtpCodecKind::Audio) => self.on_audio(packet, report, now),
            _ => {}
        }
    }

    fn on_video(&mut self, packet: rtc::rtp::Packet, report: &mut Report, now: Instant) {
        let header = packet.header;
        report.video.ssrc = Some(header.ssrc);
        report.video.bytes += packet.payload.len() as u64;
        report
            .times
            .first_packet_ms
            .get_or_insert(self.elapsed_ms(now));
        let (number, assembler) = match &mut self.video {
            Some((tracker, assembler)) => (tracker.add(header.sequence_number), assembler),
            first @ None => {
                let tracker = SequenceTracker::new(header.sequence_number);
                let assembler = FrameAssembler::new(tracker.first(), self.keep_video);
                let number = tracker.first();
                let (_, assembler) = first.insert((tracker, assembler));
                (Some(number), assembler)
            }
        };
        // A packet without payload is padding: a sequence number and nothing else.
        if let Some(number) = number {
            let is_its = |codec: &VideoCodec| codec.payload_type() == header.payload_type;
            let packet = VideoPacket {
                codec: (VideoCodec::ALL.into_iter().find(is_its)).unwrap_or_default(),
                timestamp: header.timestamp,
                marker: header.marker,
                payload: packet.payload,
            };
            assembler.push(number, packet, now);
        }
    }

    fn on_audio(&mut self, packet: rtc::rtp::Packet, report: &mut Report, now: Instant) {
        let header = packet.header;
        report.audio.ssrc = Some(header.ssrc);
        report.audio.bytes += packet.payload.len() as u64;
        report
            .audio
            .first_packet_ms
            .get_or_insert(self.elapsed_ms(now));
        let new = match &mut self.audio {
            Some(tracker) => tracker.add(header.sequence_number).is_some(),
            None => {
                self.audio = Some(SequenceTracker::new(header.sequence_number));
                true
            }
        };
        if new && self.keep_audio {
            let packet = AudioPacket {
                payload_type: header.payload_type,
                timestamp: header.timestamp,
                sequence: header.sequence_number,
                marker: header.marker,
                data: packet.payload.into(),
            };
            keep(&mut report.audio.packets, packet);
        }
    }

    fn on_frames(&mut self, report: &mut Report, now: Instant) {
        let elapsed = self.elapsed_ms(now);
        let Some((_, assembler)) = &mut self.video else {
            return;
        };
        while let Some(event) = assembler.poll(now) {
            match event {
                FrameEvent::Complete(unit) => {
                    report.video.frames += 1;
                    report.video.keyframes += u64::from(unit.keyframe);
                    report.times.first_frame_ms.get_or_insert(elapsed);
                    if let Some(last) = self.last_frame.replace(now) {
                        let interval = (now - last).as_secs_f32() * 1000.0;
                        keep(&mut report.video.intervals_ms, interval);
                    }
                    self.keyframe_wanted &= !unit.keyframe;
                    if self.keep_video {
                        keep(&mut report.video.access_units, unit);
                    }
                }
                FrameEvent::GivenUp(count) => {
                    report.video.incomplete_frames += count;
                    self.keyframe_wanted = true;
                }
            }
        }
    }

    /// Sends the microphone packets that are due.
    fn speak(&mut self, report: &mut Report, now: Instant) {
        let Some(microphone) = &mut self.microphone else {
            return;
        };
        while let Some(due) = microphone.due.filter(|due| *due <= now) {
            let Some(payload) = microphone.packets.next() else {
                microphone.due = None;
                return;
            };
            let mut header = rtc::rtp::Header {
                version: 2,
                marker: report.microphone_packets == 0,
                payload_type: microphone.codec.payload_type(),
                sequence_number: microphone.sequence,
                timestamp: microphone.timestamp,
                ssrc: microphone.ssrc,
                ..Default::default()
            };
            if let (Some(id), Some(level)) = (microphone.level_extension, microphone.levels.next())
                && let Err(error) = header.set_extension(id, vec![level & 0x7f].into())
            {
                tracing::debug!(%error, "a microphone packet goes without its level");
            }
            let packet = rtc::rtp::Packet {
                header,
                payload: payload.into(),
            };
            microphone.sequence = microphone.sequence.wrapping_add(1);
            microphone.timestamp = microphone
                .timestamp
                .wrapping_add(microphone.codec.clock_hz() / MICROPHONE_PACKETS_A_SECOND);
            microphone.due = Some(due + MICROPHONE_PACKET);
            match self.connection.rtp_sender(microphone.sender) {
                Some(mut sender) => match sender.write_rtp(now, packet) {
                    Ok(()) => report.microphone_packets += 1,
                    Err(error) => tracing::debug!(%error, "a microphone packet was not sent"),
                },
                None => microphone.due = None,
            }
        }
    }

    fn take_observed(&mut self, report: &mut Report) {
        if let Some((tracker, _)) = &self.video {
            report.video.sequence = tracker.counts();
        }
        if let Some(tracker) = &self.audio {
            report.audio.sequence = tracker.counts();
        }
        let mut observed = self.observed.lock();
        report.video.rtx_packets = observed.rtx_packets;
        report.feedback = observed.feedback;
        for (at, seen) in observed.sender_reports.drain(..) {
            let sender_report = SenderReport {
                received_ms: self.elapsed_ms(at),
                ssrc: seen.ssrc,
                ntp: seen.ntp_time,
                rtp: seen.rtp_time,
                packets: seen.packet_count,
                bytes: seen.octet_count,
            };
            keep(&mut report.sender_reports, sender_report);
        }
    }

    fn elapsed_ms(&self, now: Instant) -> f64 {
        now.saturating_duration_since(self.started).as_secs_f64() * 1000.0
    }
}

/// RFC 6464, 4.
const AUDIO_LEVEL: &str = "urn:ietf:params:rtp-hdrext:ssrc-audio-level";

/// The name that an offer gives to the level of a packet.
fn level_extension(sdp: &str) -> Option<u8> {
    let maps = sdp
        .lines()
        .filter_map(|line| line.strip_prefix("a=extmap:"));
    maps.filter_map(|map| map.split_once(' '))
        .find(|(_, uri)| uri.trim() == AUDIO_LEVEL)
        .and_then(|(id, _)| id.split('/').next()?.parse().ok())
}

fn media_engine(options: &ViewerOptions) -> Result<MediaEngine, Error> {
    let nack = options.send_nack;
    let mut engine = MediaEngine::default();
    let mut feedback = vec![RTCPFeedback {
        typ: "nack".to_owned(),
        parameter: "pli".to_owned(),
    }];
    if nack {
        feedback.push(RTCPFeedback {
            typ: "nack".to_owned(),
            parameter: String::new(),
        });
    }
    for video in &options.video_codecs {
        let payload_type = video.payload_type();
        let offered = codec(
            payload_type,
            video.mime_type(),
            90_000,
            0,
            video.parameters(),
            feedback.clone(),
        );
        engine.register_codec(offered, RtpCodecKind::Video)?;
        if nack {
            let fmtp = format!("apt={payload_type}");
            let rtx = video.rtx_payload_type();
            let rtx = codec(rtx, MIME_TYPE_RTX, 90_000, 0, &fmtp, vec![]);
            engine.register_codec(rtx, RtpCodecKind::Video)?;
        }
    }
    for audio in &options.audio_codecs {
        engine.register_codec(audio_codec(*audio), RtpCodecKind::Audio)?;
    }
    if options.microphone_levels.is_some() {
        let level = RTCRtpHeaderExtensionCapability {
            uri: AUDIO_LEVEL.to_owned(),
        };
        engine.register_header_extension(level, RtpCodecKind::Audio, None)?;
    }
    Ok(engine)
}

fn audio_codec(audio: AudioCodec) -> RTCRtpCodecParameters {
    codec(
        audio.payload_type(),
        audio.mime_type(),
        audio.clock_hz(),
        audio.channels(),
        audio.parameters(),
        vec![],
    )
}

fn codec(
    payload_type: u8,
    mime_type: &str,
    clock_rate: u32,
    channels: u16,
    fmtp: &str,
    rtcp_feedback: Vec<RTCPFeedback>,
) -> RTCRtpCodecParameters {
    RTCRtpCodecParameters {
        rtp_codec: RTCRtpCodec {
            mime_type: mime_type.to_owned(),
            clock_rate,
            channels,
            sdp_fmtp_line: fmtp.to_owned(),
            rtcp_feedback,
        },
        payload_type,
    }
}

fn interceptors(observer: Observer, nack: bool) -> Registry {
    let registry = Registry::new()
        .with(Slot::from(Observer::SLOT), observer)
        .with(Slot::ReceiverReport, ReceiverReportBuilder::new().build())
        .with(Slot::SenderReport, SenderReportBuilder::new().build());
    if !nack {
        return registry;
    }
    let generator = NackGeneratorBuilder::new().with_interval(NACK_INTERVAL);
    registry.with(Slot::NackGenerator, generator.build())
}

fn recvonly() -> Option<RTCRtpTransceiverInit> {
    Some(RTCRtpTransceiverInit {
        direction: RTCRtpTransceiverDirection::Recvonly,
        streams: vec![],
        send_encodings: vec![],
    })
}

/// Audio that is received, and sent too if there is a microphone.
fn add_audio(
    connection: &mut RTCPeerConnection,
    codec: AudioCodec,
    packets: Option<std::vec::IntoIter<Vec<u8>>>,
) -> Result<Option<Microphone>, Error> {
    let Some(packets) = packets else {
        connection.add_transceiver_from_kind(RtpCodecKind::Audio, recvonly())?;
        return Ok(None);
    };
    let random = RandomState::new();
    let ssrc = random.hash_one("ssrc") as u32;
    let encoding = RTCRtpEncodingParameters {
        rtp_coding_parameters: RTCRtpCodingParameters {
            ssrc: Some(ssrc),
            ..Default::default()
        },
        codec: audio_codec(codec).rtp_codec,
        ..Default::default()
    };
    let track = MediaStreamTrack::new(
        "viewer".to_owned(),
        "microphone".to_owned(),
        "microphone".to_owned(),
        RtpCodecKind::Audio,
        vec![encoding],
    );
    Ok(Some(Microphone {
        codec,
        sender: connection.add_track(track)?,
        ssrc,
        packets,
        levels: Vec::new().into_iter(),
        level_extension: None,
        sequence: random.hash_one("sequence") as u16,
        timestamp: random.hash_one("timestamp") as u32,
        due: None,
    }))
}

fn host_candidate(local: SocketAddr) -> Result<RTCIceCandidateInit, Error> {
    let candidate = CandidateHostConfig {
        base_config: CandidateConfig {
            network: "udp".to_owned(),
            address: local.ip().to_string(),
            port: local.port(),
            component: 1,
            ..Default::default()
        },
        ..Default::default()
    }
    .new_candidate_host()?;
    Ok(RTCIceCandidateInit {
        sdp_mid: Some("0".to_owned()),
        sdp_mline_index: Some(0),
        ..RTCIceCandidate::from(&candidate).to_json()?
    })
}

//! A small server for the viewer's own tests: signalling, an answering peer a viewer, and a stream of
//! generated pictures and sound.

#![allow(dead_code, reason = "each test file uses its part")]

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use futures_util::{SinkExt, StreamExt};
use openh264::encoder::{BitRate, Encoder, EncoderConfig, FrameRate};
use openh264::formats::YUVBuffer;
use parking_lot::Mutex;
use rtc::interceptor::{
    Interceptor, NackResponderBuilder, Packet, ReceiverReportBuilder, Registry,
    SenderReportBuilder, Slot, StreamInfo, TaggedPacket,
};
use rtc::media_stream::MediaStreamTrack;
use rtc::peer_connection::configuration::media_engine::MediaEngine;
use rtc::peer_connection::configuration::setting_engine::SettingEngineBuilder;
use rtc::peer_connection::event::RTCPeerConnectionEvent;
use rtc::peer_connection::message::RTCMessage;
use rtc::peer_connection::sdp::RTCSessionDescription;
use rtc::peer_connection::state::RTCPeerConnectionState;
use rtc::peer_connection::transport::{CandidateConfig, CandidateHostConfig, RTCIceCandidate};
use rtc::peer_connection::{RTCPeerConnection, RTCPeerConnectionBuilder};
use rtc::rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtc::rtp::codec::h264::H264Payloader;
use rtc::rtp::packetizer::Payloader;
use rtc::rtp_transceiver::RTCRtpSenderId;
use rtc::rtp_transceiver::rtp_sender::{
    RTCPFeedback, RTCRtpCodec, RTCRtpCodecParameters, RTCRtpCodingParameters,
    RTCRtpEncodingParameters, RTCRtpRtxParameters, RtpCodecKind,
};
use rtc::sansio::Protocol;
use rtc::shared::error::Error;
use rtc::shared::{TaggedBytesMut, TransportContext, TransportProtocol};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

pub(crate) const WIDTH: usize = 320;
pub(crate) const HEIGHT: usize = 240;
const VIDEO_SSRC: u32 = 0x1111;
const RTX_SSRC: u32 = 0x2222;
const AUDIO_SSRC: u32 = 0x3333;
const FRAME: Duration = Duration::from_millis(33);
const OPUS_PACKET: Duration = Duration::from_millis(20);

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Behaviour {
    /// Sends each n-th video packet twice.
    pub(crate) double_every: Option<u16>,
    /// Declares an RTX stream.
    pub(crate) rtx: bool,
    /// Sends the first candidate by trickle rather than in the answer.
    pub(crate) trickle: bool,
    /// Makes the offers, and so controls ICE.
    pub(crate) offers: bool,
    /// Refuses everybody.
    pub(crate) full: bool,
}

/// What the server did and got, all viewers together.
#[derive(Default)]
pub(crate) struct Log {
    pub(crate) frames: Vec<(u32, Vec<u8>)>,
    pub(crate) opus: Vec<Vec<u8>>,
    pub(crate) microphone: Vec<Vec<u8>>,
    pub(crate) commands: Vec<String>,
    pub(crate) pongs: usize,
}

pub(crate) struct Server {
    pub(crate) url: String,
    pub(crate) log: Arc<Mutex<Log>>,
}

/// Listens until the test ends.
pub(crate) async fn serve(behaviour: Behaviour) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    let log = Arc::<Mutex<Log>>::default();
    let server = Server {
        url,
        log: log.clone(),
    };
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(one_viewer(stream, behaviour, log.clone()));
        }
    });
    server
}

/// Grey that depends on place and time: cheap to encode, easy to tell apart.
pub(crate) fn luma(frame: u64) -> Vec<u8> {
    (0..WIDTH * HEIGHT)
        .map(|at| (64 + (at % WIDTH + at / WIDTH * 2 + frame as usize * 3) / 8 % 128) as u8)
        .collect()
}

async fn one_viewer(stream: TcpStream, behaviour: Behaviour, log: Arc<Mutex<Log>>) {
    let mut socket = tokio_tungstenite::accept_async(stream).await.unwrap();
    if behaviour.full {
        send(
            &mut socket,
            json!({"type": "error", "error": "Server full"}),
        )
        .await;
        socket.close(None).await.ok();
        return;
    }
    let config = json!({"type": "config", "peerId": "viewer-1", "data": {"iceServers": []}});
    send(&mut socket, config).await;
    send(&mut socket, json!({"type": "ping"})).await;
    let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut peer = Peer::new(udp, behaviour, log.clone());
    let mut buffer = [0; 2048];
    if behaviour.offers {
        let (sdp, candidate) = peer.offer();
        let data = json!({"type": "offer", "sdp": sdp});
        send(&mut socket, json!({"type": "offer", "data": data})).await;
        if behaviour.trickle {
            send(
                &mut socket,
                json!({"type": "ice-candidate", "data": candidate}),
            )
            .await;
        }
    }
    loop {
        peer.work(Instant::now());
        while let Some(out) = peer.connection.poll_write() {
            peer.udp
                .send_to(&out.message, out.transport.peer_addr)
                .await
                .ok();
        }
        let due = peer.due();
        tokio::select! {
            () = tokio::time::sleep_until(due.into()) => {}
            received = peer.udp.recv_from(&mut buffer) => {
                let (length, from) = received.unwrap();
                peer.receive(&buffer[..length], from);
            }
            message = socket.next() => {
                let Some(Ok(message)) = message else { return };
                let Ok(text) = message.to_text() else { continue };
                let Ok(mut message) = serde_json::from_str::<Value>(text) else { continue };
                match message["type"].as_str() {
                    Some("offer") => {
                        let offer = message["data"]["sdp"].as_str().unwrap();
                        let (sdp, candidate) = peer.answer(offer);
                        let data = json!({"type": "answer", "sdp": sdp});
                        send(&mut socket, json!({"type": "answer", "data": data})).await;
                        if behaviour.trickle {
                            let message = json!({"type": "ice-candidate", "data": candidate});
                            send(&mut socket, message).await;
                        }
                    }
                    Some("answer") => {
                        let answer = message["data"]["sdp"].as_str().unwrap().to_owned();
                        let answer = RTCSessionDescription::answer(answer).unwrap();
                        let now = Instant::now();
                        peer.connection.set_remote_description(now, answer).unwrap();
                    }
                    Some("ice-candidate") => {
                        let candidate = serde_json::from_value(message["data"].take()).unwrap();
                        peer.connection.add_remote_candidate(candidate).unwrap();
                    }
                    Some("pong") => log.lock().pongs += 1,
                    other => panic!("unexpected message {other:?}"),
                }
            }
        }
    }
}

async fn send(socket: &mut WebSocketStream<TcpStream>, message: Value) {
    socket.send(Message::text(message.to_string())).await.ok();
}

struct Peer {
    connection: RTCPeerConnection,
    udp: UdpSocket,
    behaviour: Behaviour,
    log: Arc<Mutex<Log>>,
    plis: Arc<AtomicU64>,
    answered_plis: u64,
    video: Option<RTCRtpSenderId>,
    audio: Option<RTCRtpSenderId>,
    encoder: Encoder,
    payloader: H264Payloader,
    opus: opus::Encoder,
    video_sequence: u16,
    audio_sequence: u16,
    frames: u64,
    opus_packets: u64,
    connected_at: Option<Instant>,
}

impl Peer {
    fn new(udp: UdpSocket, behaviour: Behaviour, log: Arc<Mutex<Log>>) -> Self {
        let plis = Arc::<AtomicU64>::default();
        let counter = PliCounter {
            plis: plis.clone(),
            read: VecDeque::new(),
            write: VecDeque::new(),
        };
        let registry = Registry::new()
            .with(Slot::from(100), counter)
            .with(Slot::NackResponder, NackResponderBuilder::new().build())
            .with(Slot::ReceiverReport, ReceiverReportBuilder::new().build())
            .with(Slot::SenderReport, SenderReportBuilder::new().build());
        let mut engine = MediaEngine::default();
        engine.register_codec(h264(), RtpCodecKind::Video).unwrap();
        engine
            .register_codec(opus_codec(), RtpCodecKind::Audio)
            .unwrap();
        if behaviour.rtx {
            engine.register_codec(rtx(), RtpCodecKind::Video).unwrap();
        }
        let connection = RTCPeerConnectionBuilder::new()
            .with_setting_engine(
                SettingEngineBuilder::new()
                    .with_ice_connection_attempts(Some(Duration::from_millis(50)), None)
                    .build(),
            )
            .with_media_engine(engine)
            .with_interceptor_registry(registry)
            .build(Instant::now())
            .unwrap();
        let config = EncoderConfig::new()
            .bitrate(BitRate::from_bps(1_500_000))
            .max_frame_rate(FrameRate::from_hz(30.0))
            .skip_frames(false);
        Self {
            connection,
            udp,
            behaviour,
            log,
            plis,
            answered_plis: 0,
            video: None,
            audio: None,
            encoder: Encoder::with_api_config(openh264::OpenH264API::from_source(), config)
                .unwrap(),
            payloader: H264Payloader::default(),
            opus: opus::Encoder::new(48_000, opus::Channels::Mono, opus::Application::Audio)
                .unwrap(),
            video_sequence: 65_500,
            audio_sequence: 65_500,
            frames: 0,
            opus_packets: 0,
            connected_at: None,
        }
    }

    fn answer(&mut self, offer: &str) -> (String, Value) {
        let now = Instant::now();
        let offer = RTCSessionDescription::offer(offer.to_owned()).unwrap();
        self.connection.set_remote_description(now, offer).unwrap();
        self.add_tracks();
        self.describe(|connection| connection.create_answer(None).unwrap())
    }

    fn offer(&mut self) -> (String, Value) {
        self.add_tracks();
        self.describe(|connection| connection.create_offer(None).unwrap())
    }

    fn add_tracks(&mut self) {
        let rtx = self.behaviour.rtx.then_some(RTX_SSRC);
        let video = track(
            "video",
            RtpCodecKind::Video,
            VIDEO_SSRC,
            rtx,
            h264().rtp_codec,
        );
        let audio = track(
            "audio",
            RtpCodecKind::Audio,
            AUDIO_SSRC,
            None,
            opus_codec().rtp_codec,
        );
        self.video = Some(self.connection.add_track(video).unwrap());
        self.audio = Some(self.connection.add_track(audio).unwrap());
    }

    /// The description that `create` makes, and our candidate.
    fn describe(
        &mut self,
        create: impl FnOnce(&mut RTCPeerConnection) -> RTCSessionDescription,
    ) -> (String, Value) {
        let local = self.udp.local_addr().unwrap();
        let candidate = CandidateHostConfig {
            base_config: CandidateConfig {
                network: "udp".to_owned(),
                address: local.ip().to_string(),
                port: local.port(),
                component: 1,
                ..Default::default()
            },
            ..Default::default()
        };
        let candidate = candidate.new_candidate_host().unwrap();
        let candidate = RTCIceCandidate::from(&candidate).to_json().unwrap();
        if !self.behaviour.trickle {
            self.connection
                .add_local_candidate(candidate.clone())
                .unwrap();
        }
        let description = create(&mut self.connection);
        self.connection
            .set_local_description(Instant::now(), description.clone())
            .unwrap();
        if self.behaviour.trickle {
            self.connection
                .add_local_candidate(candidate.clone())
                .unwrap();
        }
        (description.sdp, serde_json::to_value(candidate).unwrap())
    }

    fn receive(&mut self, datagram: &[u8], from: std::net::SocketAddr) {
        let message = TaggedBytesMut {
            now: Instant::now(),
            transport: TransportContext {
                local_addr: self.udp.local_addr().unwrap(),
                peer_addr: from,
                ecn: None,
                transport_protocol: TransportProtocol::UDP,
            },
            message: BytesMut::from(datagram),
        };
        self.connection.handle_read(message).ok();
    }

    fn due(&mut self) -> Instant {
        let media = self.connected_at.map(|at| {
            (at + FRAME * self.frames as u32).min(at + OPUS_PACKET * self.opus_packets as u32)
        });
        let peer = self.connection.poll_timeout();
        peer.into_iter()
            .chain(media)
            .min()
            .unwrap_or(Instant::now() + FRAME)
    }

    fn work(&mut self, now: Instant) {
        self.connection.handle_timeout(now).ok();
        while let Some(event) = self.connection.poll_event() {
            if let RTCPeerConnectionEvent::OnConnectionStateChangeEvent(
                RTCPeerConnectionState::Connected,
            ) = event
            {
                self.connected_at.get_or_insert(now);
            }
        }
        while let Some(tagged) = self.connection.poll_read() {
            match tagged.message {
                RTCMessage::RtpPacket(_, packet) => {
                    self.log.lock().microphone.push(packet.payload.into());
                }
                RTCMessage::DataChannelMessage(channel, message) => {
                    let text = String::from_utf8(message.data.to_vec()).unwrap();
                    let mut channel = self.connection.data_channel(channel).unwrap();
                    channel.send_text(now, format!("re: {text}")).unwrap();
                    self.log.lock().commands.push(text);
                }
                _ => {}
            }
        }
        let Some(at) = self.connected_at else { return };
        while at + FRAME * self.frames as u32 <= now {
            self.send_frame(now);
        }
        while at + OPUS_PACKET * self.opus_packets as u32 <= now {
            self.send_opus(now);
        }
    }

    fn send_frame(&mut self, now: Instant) {
        let plis = self.plis.load(Ordering::Relaxed);
        if plis > self.answered_plis {
            self.answered_plis = plis;
            self.encoder.force_intra_frame();
        }
        let mut yuv = luma(self.frames);
        yuv.resize(WIDTH * HEIGHT * 3 / 2, 128);
        let yuv = YUVBuffer::from_vec(yuv, WIDTH, HEIGHT);
        let unit = self.encoder.encode(&yuv).unwrap().to_vec();
        let timestamp = (self.frames * 2970) as u32;
        self.frames += 1;
        self.log.lock().frames.push((timestamp, unit.clone()));
        let payloads = self.payloader.payload(200, &Bytes::from(unit)).unwrap();
        let last = payloads.len() - 1;
        for (index, payload) in payloads.into_iter().enumerate() {
            let header = rtc::rtp::Header {
                version: 2,
                marker: index == last,
                payload_type: h264().payload_type,
                sequence_number: self.video_sequence,
                timestamp,
                ssrc: VIDEO_SSRC,
                ..Default::default()
            };
            let packet = rtc::rtp::Packet { header, payload };
            let every = self.behaviour.double_every;
            let times = if every.is_some_and(|every| self.video_sequence.is_multiple_of(every)) {
                2
            } else {
                1
            };
            for _ in 0..times {
                let mut sender = self.connection.rtp_sender(self.video.unwrap()).unwrap();
                sender.write_rtp(now, packet.clone()).unwrap();
            }
            self.video_sequence = self.video_sequence.wrapping_add(1);
        }
    }

    /// 440 Hz, half of full scale.
    fn send_opus(&mut self, now: Instant) {
        let first = self.opus_packets * 960;
        let wave =
            |at: u64| (at as f64 / 48_000.0 * 440.0 * std::f64::consts::TAU).sin() * 16_384.0;
        let samples: Vec<i16> = (first..first + 960).map(|at| wave(at) as i16).collect();
        let payload = self.opus.encode_vec(&samples, 1000).unwrap();
        self.log.lock().opus.push(payload.clone());
        let header = rtc::rtp::Header {
            version: 2,
            payload_type: opus_codec().payload_type,
            sequence_number: self.audio_sequence,
            timestamp: first as u32,
            ssrc: AUDIO_SSRC,
            ..Default::default()
        };
        self.opus_packets += 1;
        self.audio_sequence = self.audio_sequence.wrapping_add(1);
        let mut sender = self.connection.rtp_sender(self.audio.unwrap()).unwrap();
        let packet = rtc::rtp::Packet {
            header,
            payload: payload.into(),
        };
        sender.write_rtp(now, packet).unwrap();
    }
}

fn track(
    id: &str,
    kind: RtpCodecKind,
    ssrc: u32,
    rtx: Option<u32>,
    codec: RTCRtpCodec,
) -> MediaStreamTrack {
    let coding = RTCRtpCodingParameters {
        ssrc: Some(ssrc),
        rtx: rtx.map(|ssrc| RTCRtpRtxParameters { ssrc }),
        ..Default::default()
    };
    let encoding = RTCRtpEncodingParameters {
        rtp_coding_parameters: coding,
        codec,
        ..Default::default()
    };
    MediaStreamTrack::new("avatar".into(), id.into(), id.into(), kind, vec![encoding])
}

fn h264() -> RTCRtpCodecParameters {
    let nack = |parameter: &str| RTCPFeedback {
        typ: "nack".to_owned(),
        parameter: parameter.to_owned(),
    };
    let fmtp = "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f";
    codec(
        109,
        "video/H264",
        90_000,
        0,
        fmtp,
        vec![nack(""), nack("pli")],
    )
}

fn rtx() -> RTCRtpCodecParameters {
    codec(114, "video/rtx", 90_000, 0, "apt=109", vec![])
}

fn opus_codec() -> RTCRtpCodecParameters {
    codec(
        111,
        "audio/opus",
        48_000,
        2,
        "minptime=10;useinbandfec=1",
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

/// Counts the keyframe requests that come in.
struct PliCounter {
    plis: Arc<AtomicU64>,
    read: VecDeque<TaggedPacket>,
    write: VecDeque<TaggedPacket>,
}

impl Protocol<TaggedPacket, TaggedPacket, ()> for PliCounter {
    type Rout = TaggedPacket;
    type Wout = TaggedPacket;
    type Eout = ();
    type Error = Error;
    type Time = Instant;

    fn handle_read(&mut self, packet: TaggedPacket) -> Result<(), Error> {
        if let Packet::Rtcp(compound) = &packet.message.packet {
            let plis = compound
                .iter()
                .filter(|part| part.as_any().is::<PictureLossIndication>())
                .count() as u64;
            self.plis.fetch_add(plis, Ordering::Relaxed);
        }
        self.read.push_back(packet);
        Ok(())
    }

    fn poll_read(&mut self) -> Option<TaggedPacket> {
        self.read.pop_front()
    }

    fn handle_write(&mut self, packet: TaggedPacket) -> Result<(), Error> {
        self.write.push_back(packet);
        Ok(())
    }

    fn poll_write(&mut self) -> Option<TaggedPacket> {
        self.write.pop_front()
    }

    fn handle_timeout(&mut self, _now: Instant) -> Result<(), Error> {
        Ok(())
    }

    fn poll_timeout(&mut self) -> Option<Instant> {
        None
    }
}

impl Interceptor for PliCounter {
    fn bind_local_stream(&mut self, _info: &StreamInfo) {}
    fn unbind_local_stream(&mut self, _info: &StreamInfo) {}
    fn bind_remote_stream(&mut self, _info: &StreamInfo) {}
    fn unbind_remote_stream(&mut self, _info: &StreamInfo) {}
}

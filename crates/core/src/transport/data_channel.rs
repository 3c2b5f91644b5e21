//! Data channels of one peer (RFC 8831, RFC 8832): webrtc-rs's SCTP with the browser as the opener.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use rtc_datachannel::message::Message;
use rtc_datachannel::message::message_channel_ack::DataChannelAck;
use rtc_sctp::{
    Association, AssociationHandle, DatagramEvent, Endpoint, EndpointConfig, Event, Payload,
    PayloadProtocolIdentifier, ServerConfig, StreamEvent, StreamId, TransportConfig,
};
use rtc_shared::TransportProtocol;
use rtc_shared::marshal::{Marshal as _, Unmarshal as _};

/// The association runs inside DTLS; no address shows.
const TUNNEL: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 1);

/// Longest message, as the answer's `a=max-message-size` says.
const MAX_MESSAGE: usize = 65_536;

/// What a peer may have us keep for it, in both directions.
const MAX_BUFFERED: usize = 1 << 20;

/// Where the first chunk's type stands (RFC 9260, 3).
const COMMON_HEADER: usize = 12;

/// The chunk that begins an association.
const INIT: u8 = 1;

/// Beginnings that one peer may make: a browser repeats a lost one eight times (RFC 9260, 16).
const MAX_INITS: usize = 9;

/// Channels of one peer; browsers of ours open one.
const MAX_CHANNELS: usize = 16;

/// A text message from the peer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Incoming {
    pub(super) label: String,
    pub(super) text: String,
}

/// One peer's association.
pub(super) struct DataChannels {
    endpoint: Endpoint,
    /// Those that shake hands, until one is established: then that one alone.
    associations: Vec<(AssociationHandle, Association)>,
    is_established: bool,
    inits: usize,
    labels: BTreeMap<StreamId, String>,
}

impl DataChannels {
    pub(super) fn new(port: u16) -> Self {
        let transport = TransportConfig::default()
            .with_max_message_size(MAX_MESSAGE as u32)
            .with_max_receive_buffer_size(MAX_BUFFERED as u32)
            .with_sctp_port(port);
        let server = Arc::new(ServerConfig::new(transport));
        let config = Arc::new(EndpointConfig::default());
        Self {
            endpoint: Endpoint::new(TUNNEL, TransportProtocol::UDP, config, Some(server)),
            associations: Vec::new(),
            is_established: false,
            inits: 0,
            labels: BTreeMap::new(),
        }
    }

    pub(super) fn handle(&mut self, now: Instant, data: BytesMut, incoming: &mut Vec<Incoming>) {
        // webrtc-rs takes every INIT for a new association, a repeated one too.
        if data.get(COMMON_HEADER) == Some(&INIT) {
            if self.is_established || self.inits >= MAX_INITS {
                return;
            }
            self.inits += 1;
        }
        match self.endpoint.handle(now, TUNNEL, None, data.freeze()) {
            Some((handle, DatagramEvent::NewAssociation(association))) => {
                self.associations.push((handle, association));
            }
            Some((handle, DatagramEvent::AssociationEvent(event))) => {
                let addressed = self
                    .associations
                    .iter_mut()
                    .find(|(known, _)| *known == handle);
                if let Some((_, association)) = addressed {
                    association.handle_event(event);
                }
            }
            _ => {}
        }
        self.read(now, incoming);
    }

    fn read(&mut self, now: Instant, incoming: &mut Vec<Incoming>) {
        let mut established = None;
        let mut over = Vec::new();
        for (handle, association) in &mut self.associations {
            let mut readable = Vec::new();
            while let Some(event) = association.poll() {
                match event {
                    Event::Stream(StreamEvent::Readable { id }) => readable.push(id),
                    // Data may arrive with the end of the handshake, before streams can be read.
                    Event::Connected => {
                        established = Some(*handle);
                        readable.extend(association.stream_ids());
                    }
                    _ => {}
                }
            }
            if !association.is_handshaking() {
                for id in readable {
                    read_stream(association, id, &mut self.labels, now, incoming);
                }
            }
            while let Some(event) = association.poll_endpoint_event() {
                self.endpoint.handle_event(*handle, event);
                over.push(*handle);
            }
        }
        if established.is_some() {
            self.is_established = true;
            self.associations
                .retain(|(handle, _)| Some(*handle) == established);
        }
        if !over.is_empty() {
            self.associations
                .retain(|(handle, _)| !over.contains(handle));
            self.labels.clear();
        }
    }

    /// Sends text on the channel called `label`. False if the peer has none or does not read.
    pub(super) fn write(&mut self, now: Instant, label: &str, text: &str) -> bool {
        let Some((_, association)) = self.associations.first_mut() else {
            return false;
        };
        let Some(id) = self
            .labels
            .iter()
            .find(|(_, known)| *known == label)
            .map(|(id, _)| *id)
        else {
            return false;
        };
        let Ok(mut stream) = association.stream(id) else {
            return false;
        };
        stream
            .buffered_amount()
            .is_ok_and(|buffered| buffered + text.len() <= MAX_BUFFERED)
            && stream
                .write_with_ppi(now, text.as_bytes(), PayloadProtocolIdentifier::String)
                .is_ok()
    }

    /// Packets for DTLS.
    pub(super) fn poll_transmit(&mut self, now: Instant, out: &mut Vec<Bytes>) {
        for (_, association) in &mut self.associations {
            while let Some(transmit) = association.poll_transmit(now) {
                if let Payload::RawEncode(packets) = transmit.message {
                    out.extend(packets);
                }
            }
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant, incoming: &mut Vec<Incoming>) {
        for (_, association) in &mut self.associations {
            association.handle_timeout(now);
        }
        self.read(now, incoming);
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.associations
            .iter()
            .filter_map(|(_, association)| association.poll_timeout())
            .min()
    }
}

fn read_stream(
    association: &mut Association,
    id: StreamId,
    labels: &mut BTreeMap<StreamId, String>,
    now: Instant,
    incoming: &mut Vec<Incoming>,
) {
    let Ok(mut stream) = association.stream(id) else {
        return;
    };
    while let Ok(Some(chunks)) = stream.read_sctp() {
        let Ok(payload) = chunks.to_payload(MAX_MESSAGE) else {
            continue;
        };
        match chunks.ppi {
            PayloadProtocolIdentifier::Dcep => {
                let Ok(Message::DataChannelOpen(open)) = Message::unmarshal(&mut &payload[..])
                else {
                    continue;
                };
                if labels.len() >= MAX_CHANNELS {
                    continue;
                }
                labels.insert(id, String::from_utf8_lossy(&open.label).into_owned());
                if let Ok(ack) = Message::DataChannelAck(DataChannelAck).marshal() {
                    let _ = stream.write_with_ppi(now, &ack, PayloadProtocolIdentifier::Dcep);
                }
            }
            PayloadProtocolIdentifier::String => {
                if let (Some(label), Ok(text)) =
                    (labels.get(&id), String::from_utf8(payload.to_vec()))
                {
                    incoming.push(Incoming {
                        label: label.clone(),
                        text,
                    });
                }
            }
            _ => {}
        }
    }
}

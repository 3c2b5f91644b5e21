//! Writing the answer.

use std::fmt::Write as _;
use std::net::SocketAddr;

use super::formats::{AUDIO_LEVEL, PLAYOUT_DELAY, encoding};
use super::{DtlsRole, Line, Offer, RtpSection, Section, Ssrcs};
use crate::codec::{AudioCodec, Layer};
use crate::transport::Credentials;

/// Our half of an answer.
#[derive(Debug)]
pub struct AnswerParameters<'a> {
    /// Our ICE credentials for this peer.
    pub local: &'a Credentials,
    /// SHA-256 of our certificate.
    pub fingerprint: &'a str,
    /// What we send as.
    pub ssrcs: Ssrcs,
    /// Whether the browser may send next to nothing while nothing is said (`usedtx`, RFC 7587, 6.1).
    pub silence_may_be_left_out: bool,
    /// `candidate:` lines that say where the browser may reach us, best first.
    pub candidates: &'a [String],
}

impl Offer {
    /// Writes the answer.
    pub fn answer(&self, ours: &AnswerParameters<'_>) -> String {
        let mut sdp = String::with_capacity(2_048);
        let accepted = self
            .lines
            .iter()
            .filter(|line| line.section != Section::Rejected);
        let mids: Vec<&str> = accepted.map(|line| line.mid.as_str()).collect();
        let session: u32 = rand::random::<u32>() >> 1;
        let _ = write!(
            sdp,
            "v=0\r\no=- {session} 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n\
             a=group:BUNDLE {}\r\n{}a=msid-semantic: WMS avatar\r\n",
            mids.join(" "),
            if self.mixed_extensions {
                "a=extmap-allow-mixed\r\n"
            } else {
                ""
            }
        );
        let (_, first) = self.transport_section();
        for (position, line) in self.lines.iter().enumerate() {
            line.write(&mut sdp, ours, self.dtls_role, position == first);
        }
        sdp
    }
}

impl Line {
    fn write(&self, sdp: &mut String, ours: &AnswerParameters<'_>, role: DtlsRole, first: bool) {
        let Self {
            mid,
            media,
            protocol,
            formats,
            section,
        } = self;
        let formats = match section {
            Section::Rejected | Section::DataChannel { .. } => formats.clone(),
            Section::Audio(section) | Section::Video(section) => match section.rtx_payload_type {
                Some(rtx) => format!("{} {rtx}", section.payload_type),
                None => section.payload_type.to_string(),
            },
        };
        let port = if *section == Section::Rejected { 0 } else { 9 };
        let _ = write!(
            sdp,
            "m={media} {port} {protocol} {formats}\r\nc=IN IP4 0.0.0.0\r\na=mid:{mid}\r\n"
        );
        if *section == Section::Rejected {
            sdp.push_str("a=inactive\r\n");
            return;
        }
        let setup = match role {
            DtlsRole::Server => "passive",
            DtlsRole::Client => "active",
        };
        let _ = write!(
            sdp,
            "a=ice-ufrag:{}\r\na=ice-pwd:{}\r\na=ice-options:trickle\r\n\
             a=fingerprint:sha-256 {}\r\na=setup:{setup}\r\n",
            ours.local.ufrag, ours.local.password, ours.fingerprint
        );
        if first {
            for candidate in ours.candidates {
                let _ = write!(sdp, "a={candidate}\r\n");
            }
        }
        match section {
            Section::Audio(section) | Section::Video(section) => section.write(sdp, ours),
            Section::DataChannel { .. } => {
                sdp.push_str("a=sctp-port:5000\r\na=max-message-size:65536\r\n");
            }
            Section::Rejected => {}
        }
    }
}

impl RtpSection {
    fn write(&self, sdp: &mut String, ours: &AnswerParameters<'_>) {
        let pt = self.payload_type;
        let _ = write!(sdp, "a=rtpmap:{pt} {}\r\n", encoding(self.layer));
        if !self.parameters.is_empty() {
            let is_opus = self.layer == Layer::Audio(AudioCodec::Opus);
            let may_pause = is_opus && self.direction.receive && ours.silence_may_be_left_out;
            let pauses = if may_pause { ";usedtx=1" } else { "" };
            let _ = write!(sdp, "a=fmtp:{pt} {}{pauses}\r\n", self.parameters);
        }
        for kind in &self.feedback {
            let _ = write!(sdp, "a=rtcp-fb:{pt} {kind}\r\n");
        }
        if let Some(rtx) = self.rtx_payload_type {
            let _ = write!(sdp, "a=rtpmap:{rtx} rtx/90000\r\na=fmtp:{rtx} apt={pt}\r\n");
        }
        if let Some(id) = self.level_extension {
            let _ = write!(sdp, "a=extmap:{id}/recvonly {AUDIO_LEVEL}\r\n");
        }
        if let Some(id) = self.playout_delay_extension {
            let _ = write!(sdp, "a=extmap:{id}/sendonly {PLAYOUT_DELAY}\r\n");
        }
        let direction = self.direction.as_str();
        let _ = write!(sdp, "a=rtcp-mux\r\na=rtcp-rsize\r\na={direction}\r\n");
        if !self.direction.send {
            return;
        }
        let (track, ssrc) = match self.layer {
            Layer::Video(_) => ("video", ours.ssrcs.video),
            Layer::Audio(_) => ("audio", ours.ssrcs.audio),
        };
        // One MediaStream for both tracks: browsers keep the tracks of one stream in lip-sync.
        let _ = write!(sdp, "a=msid:avatar {track}\r\n");
        let rtx = self.rtx_payload_type.map(|_| ours.ssrcs.video_rtx);
        if let Some(rtx) = rtx {
            let _ = write!(sdp, "a=ssrc-group:FID {ssrc} {rtx}\r\n");
        }
        for ssrc in [Some(ssrc), rtx].into_iter().flatten() {
            let _ = write!(
                sdp,
                "a=ssrc:{ssrc} cname:avatar\r\na=ssrc:{ssrc} msid:avatar {track}\r\n"
            );
        }
    }
}

/// The `candidate:` lines (RFC 8839) of our own addresses, of those that STUN servers saw, and of those where we take TCP
/// (RFC 6544), best first.
pub(in crate::transport) fn candidate_lines(
    hosts: &[SocketAddr],
    reflexive: &[SocketAddr],
    tcp: &[SocketAddr],
) -> Vec<String> {
    let hosts = hosts.iter().map(|address| (address, 126u32, "udp", "host"));
    let reflexive = reflexive
        .iter()
        .map(|address| (address, 100, "udp", "srflx raddr 0.0.0.0 rport 0"));
    // Below all UDP.
    let tcp = tcp
        .iter()
        .map(|address| (address, 90, "tcp", "host tcptype passive"));
    hosts
        .chain(reflexive)
        .chain(tcp)
        .enumerate()
        .map(|(position, (address, preference, protocol, kind))| {
            // RFC 8445, 5.1.2: the local preference falls with the position.
            let local = 65_535u32.saturating_sub(position as u32);
            let priority = (preference << 24) | (local << 8) | 255;
            let (ip, port) = (address.ip(), address.port());
            format!(
                "candidate:{} 1 {protocol} {priority} {ip} {port} typ {kind}",
                position + 1
            )
        })
        .collect()
}

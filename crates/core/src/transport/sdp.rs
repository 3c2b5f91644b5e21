//! The narrow answerer: what we need of an offer (RFC 8829, RFC 9143 BUNDLE), and the answer to it.

use std::fmt::Write as _;
use std::io::Cursor;
use std::net::SocketAddr;

use rtc_sdp::description::media::MediaDescription;
use rtc_sdp::description::session::SessionDescription;

use super::ice::Credentials;

/// Why an offer cannot be answered; the sentence goes to the client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OfferError {
    /// Not SDP.
    #[error("the offer is not readable SDP: {0}")]
    Unreadable(String),
    /// No `m=` line.
    #[error("the offer has no media section: add a transceiver or a data channel")]
    NoMedia,
    /// No media section is left once the unusable ones are rejected.
    #[error(
        "the offer has nothing that can be answered: H264 video, opus audio or a data channel in one BUNDLE group is needed"
    )]
    NothingUsable,
    /// A line that WebRTC requires is missing.
    #[error("the offer has no a={0} line")]
    Missing(&'static str),
    /// The certificate's hash is of another kind.
    #[error("the offer has no sha-256 fingerprint")]
    Fingerprint,
}

/// Which side starts the DTLS handshake (RFC 8842).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DtlsRole {
    /// We wait for the ClientHello.
    Server,
    /// We send it.
    Client,
}

/// Which way media of a section goes, seen from us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Direction {
    send: bool,
    receive: bool,
}

impl Direction {
    /// What we answer to an offer's direction, when we want to do `wanted`.
    fn answer(section: &MediaDescription, wanted: Self) -> Self {
        let offered = ["sendrecv", "sendonly", "recvonly", "inactive"]
            .into_iter()
            .find(|direction| section.has_attribute(direction))
            .unwrap_or("sendrecv");
        Self {
            send: wanted.send && matches!(offered, "sendrecv" | "recvonly"),
            receive: wanted.receive && matches!(offered, "sendrecv" | "sendonly"),
        }
    }

    fn as_str(self) -> &'static str {
        match (self.send, self.receive) {
            (true, true) => "sendrecv",
            (true, false) => "sendonly",
            (false, true) => "recvonly",
            (false, false) => "inactive",
        }
    }
}

/// What was agreed for one kind of media.
#[derive(Debug, Clone, PartialEq, Eq)]
struct RtpSection {
    direction: Direction,
    payload_type: u8,
    rtx_payload_type: Option<u8>,
    format_parameters: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Section {
    Audio(RtpSection),
    Video(RtpSection),
    DataChannel { sctp_port: u16 },
    Rejected,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Line {
    mid: String,
    /// `m=` line without port, for the echo.
    media: String,
    protocol: String,
    formats: String,
    section: Section,
}

/// A parsed offer: what its sender can do, and how to reach it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// The offerer's ICE credentials.
    pub remote: Credentials,
    /// SHA-256 of the offerer's certificate, upper-case hex with colons.
    pub fingerprint: String,
    /// Our side of DTLS.
    pub dtls_role: DtlsRole,
    /// `a=candidate` values that came with the offer.
    pub candidates: Vec<String>,
    /// The codecs of a video section that has none of ours.
    pub unusable_video: Option<Vec<String>>,
    lines: Vec<Line>,
}

/// What a viewer receives of one track, and under which payload types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SendTrack {
    /// RTP payload type.
    pub payload_type: u8,
    /// RTX payload type (RFC 4588), where negotiated.
    pub rtx_payload_type: Option<u8>,
}

/// The SSRCs of a stream; the same for every viewer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ssrcs {
    /// Video.
    pub video: u32,
    /// Retransmitted video.
    pub video_rtx: u32,
    /// Audio.
    pub audio: u32,
}

/// Our half of an answer.
#[derive(Debug)]
pub struct AnswerParameters<'a> {
    /// Our ICE credentials for this peer.
    pub local: &'a Credentials,
    /// SHA-256 of our certificate.
    pub fingerprint: &'a str,
    /// What we send as.
    pub ssrcs: Ssrcs,
    /// `candidate:` lines that say where the browser may reach us, best first.
    pub candidates: &'a [String],
}

const OPUS_PARAMETERS: &str = "minptime=10;useinbandfec=1";

impl Offer {
    /// Reads an offer.
    pub fn parse(sdp: &str) -> Result<Self, OfferError> {
        let description = SessionDescription::unmarshal(&mut Cursor::new(sdp.as_bytes()))
            .map_err(|error| OfferError::Unreadable(error.to_string()))?;
        let sections = &description.media_descriptions;
        if sections.is_empty() {
            return Err(OfferError::NoMedia);
        }
        let bundle: Vec<&str> = description
            .attributes
            .iter()
            .filter(|attribute| attribute.key == "group")
            .filter_map(|attribute| attribute.value.as_deref())
            .filter_map(|group| group.strip_prefix("BUNDLE"))
            .flat_map(str::split_whitespace)
            .collect();
        let mut lines: Vec<Line> = Vec::with_capacity(sections.len());
        let mut unusable_video = None;
        for section in sections {
            let mid = value(section, "mid").unwrap_or_default().to_owned();
            let kind = section.media_name.media.as_str();
            let taken = lines
                .iter()
                .any(|line| line.media == kind && line.section != Section::Rejected);
            let usable = bundle.contains(&mid.as_str())
                && !taken
                && section.media_name.port.value != 0
                || bundle.contains(&mid.as_str()) && !taken && section.has_attribute("bundle-only");
            let parsed = match kind {
                "audio" if usable => opus(section).map(Section::Audio),
                "video" if usable => {
                    let h264 = h264(section);
                    if h264.is_none() {
                        unusable_video = Some(codec_names(section));
                    }
                    h264.map(Section::Video)
                }
                "application"
                    if usable
                        && section
                            .media_name
                            .formats
                            .iter()
                            .any(|f| f == "webrtc-datachannel") =>
                {
                    let sctp_port = value(section, "sctp-port").and_then(|port| port.parse().ok());
                    Some(Section::DataChannel {
                        sctp_port: sctp_port.unwrap_or(5000),
                    })
                }
                _ => None,
            };
            lines.push(Line {
                mid,
                media: kind.to_owned(),
                protocol: section.media_name.protos.join("/"),
                formats: section.media_name.formats.join(" "),
                section: parsed.unwrap_or(Section::Rejected),
            });
        }
        let first = lines
            .iter()
            .position(|line| line.section != Section::Rejected)
            .ok_or(OfferError::NothingUsable)?;
        // Transport attributes of a bundle are those of its first section, or the session's.
        let shared = |key| {
            value(&sections[first], key).or_else(|| {
                description
                    .attributes
                    .iter()
                    .find(|attribute| attribute.key == key)
                    .and_then(|attribute| attribute.value.as_deref())
            })
        };
        let fingerprint = shared("fingerprint").ok_or(OfferError::Missing("fingerprint"))?;
        let (algorithm, hash) = fingerprint.split_once(' ').ok_or(OfferError::Fingerprint)?;
        if !algorithm.eq_ignore_ascii_case("sha-256") || hash.trim().len() != 32 * 3 - 1 {
            return Err(OfferError::Fingerprint);
        }
        Ok(Self {
            remote: Credentials {
                ufrag: shared("ice-ufrag")
                    .ok_or(OfferError::Missing("ice-ufrag"))?
                    .to_owned(),
                password: shared("ice-pwd")
                    .ok_or(OfferError::Missing("ice-pwd"))?
                    .to_owned(),
            },
            fingerprint: hash.trim().to_ascii_uppercase(),
            dtls_role: match shared("setup") {
                Some("passive") => DtlsRole::Client,
                _ => DtlsRole::Server,
            },
            candidates: sections
                .iter()
                .flat_map(|section| &section.attributes)
                .filter(|attribute| attribute.key == "candidate")
                .filter_map(|attribute| attribute.value.clone())
                .collect(),
            unusable_video,
            lines,
        })
    }

    /// The video that the offerer receives.
    pub fn video(&self) -> Option<SendTrack> {
        self.lines.iter().find_map(|line| match &line.section {
            Section::Video(section) => section.sends(),
            _ => None,
        })
    }

    /// The audio that the offerer receives.
    pub fn audio(&self) -> Option<SendTrack> {
        self.lines.iter().find_map(|line| match &line.section {
            Section::Audio(section) => section.sends(),
            _ => None,
        })
    }

    /// The payload type of the offerer's microphone.
    pub fn microphone(&self) -> Option<u8> {
        self.lines.iter().find_map(|line| match &line.section {
            Section::Audio(section) if section.direction.receive => Some(section.payload_type),
            _ => None,
        })
    }

    /// The port of its SCTP association, if it wants data channels.
    pub fn sctp_port(&self) -> Option<u16> {
        self.lines.iter().find_map(|line| match line.section {
            Section::DataChannel { sctp_port } => Some(sctp_port),
            _ => None,
        })
    }

    /// The `mid` and the position of the first accepted section, which candidates belong to.
    pub fn transport_section(&self) -> (&str, usize) {
        self.lines
            .iter()
            .enumerate()
            .find(|(_, line)| line.section != Section::Rejected)
            .map_or(("", 0), |(position, line)| (line.mid.as_str(), position))
    }

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
             a=group:BUNDLE {}\r\na=extmap-allow-mixed\r\na=msid-semantic: WMS avatar\r\n",
            mids.join(" ")
        );
        let (_, first) = self.transport_section();
        for (position, line) in self.lines.iter().enumerate() {
            line.write(&mut sdp, ours, self.dtls_role, position == first);
        }
        sdp
    }
}

impl RtpSection {
    fn sends(&self) -> Option<SendTrack> {
        self.direction.send.then_some(SendTrack {
            payload_type: self.payload_type,
            rtx_payload_type: self.rtx_payload_type,
        })
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
            Section::Audio(section) => {
                let pt = section.payload_type;
                let _ = write!(
                    sdp,
                    "a=rtpmap:{pt} opus/48000/2\r\na=fmtp:{pt} {}\r\n",
                    section.format_parameters
                );
                write_rtp(sdp, section.direction, "audio", ours.ssrcs.audio, None);
            }
            Section::Video(section) => {
                let pt = section.payload_type;
                let _ = write!(
                    sdp,
                    "a=rtpmap:{pt} H264/90000\r\na=fmtp:{pt} {}\r\na=rtcp-fb:{pt} nack\r\n\
                     a=rtcp-fb:{pt} nack pli\r\na=rtcp-fb:{pt} ccm fir\r\n",
                    section.format_parameters
                );
                if let Some(rtx) = section.rtx_payload_type {
                    let _ = write!(sdp, "a=rtpmap:{rtx} rtx/90000\r\na=fmtp:{rtx} apt={pt}\r\n");
                }
                let rtx = section.rtx_payload_type.map(|_| ours.ssrcs.video_rtx);
                write_rtp(sdp, section.direction, "video", ours.ssrcs.video, rtx);
            }
            Section::DataChannel { .. } => {
                sdp.push_str("a=sctp-port:5000\r\na=max-message-size:65536\r\n");
            }
            Section::Rejected => {}
        }
    }
}

fn write_rtp(sdp: &mut String, direction: Direction, track: &str, ssrc: u32, rtx: Option<u32>) {
    let _ = write!(
        sdp,
        "a=rtcp-mux\r\na=rtcp-rsize\r\na={}\r\n",
        direction.as_str()
    );
    if !direction.send {
        return;
    }
    // One MediaStream for both tracks: browsers keep the tracks of one stream in lip-sync.
    let _ = write!(sdp, "a=msid:avatar {track}\r\n");
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

/// The `candidate:` lines (RFC 8839) of our own addresses and of those that STUN servers saw, best first.
pub(super) fn candidate_lines(hosts: &[SocketAddr], reflexive: &[SocketAddr]) -> Vec<String> {
    let hosts = hosts.iter().map(|address| (address, 126u32, "host"));
    let reflexive = reflexive
        .iter()
        .map(|address| (address, 100, "srflx raddr 0.0.0.0 rport 0"));
    hosts
        .chain(reflexive)
        .enumerate()
        .map(|(position, (address, preference, kind))| {
            // RFC 8445, 5.1.2: the local preference falls with the position.
            let local = 65_535u32.saturating_sub(position as u32);
            let priority = (preference << 24) | (local << 8) | 255;
            let (ip, port) = (address.ip(), address.port());
            format!(
                "candidate:{} 1 udp {priority} {ip} {port} typ {kind}",
                position + 1
            )
        })
        .collect()
}

fn value<'a>(section: &'a MediaDescription, key: &str) -> Option<&'a str> {
    section.attribute(key).flatten()
}

/// Payload type and text of each attribute `key` of the form `PT text`.
fn by_payload_type<'a>(
    section: &'a MediaDescription,
    key: &'a str,
) -> impl Iterator<Item = (u8, &'a str)> {
    section
        .attributes
        .iter()
        .filter(move |attribute| attribute.key == key)
        .filter_map(|attribute| attribute.value.as_deref()?.split_once(' '))
        .filter_map(|(pt, text)| Some((pt.parse().ok()?, text.trim())))
}

fn codec_names(section: &MediaDescription) -> Vec<String> {
    let mut names: Vec<String> = by_payload_type(section, "rtpmap")
        .filter_map(|(_, map)| map.split('/').next())
        .filter(|name| {
            !["rtx", "red", "ulpfec", "flexfec-03"].contains(&name.to_ascii_lowercase().as_str())
        })
        .map(str::to_owned)
        .collect();
    names.dedup();
    names
}

fn opus(section: &MediaDescription) -> Option<RtpSection> {
    let (payload_type, _) = by_payload_type(section, "rtpmap")
        .find(|(_, map)| map.eq_ignore_ascii_case("opus/48000/2"))?;
    Some(RtpSection {
        direction: Direction::answer(
            section,
            Direction {
                send: true,
                receive: true,
            },
        ),
        payload_type,
        rtx_payload_type: None,
        format_parameters: OPUS_PARAMETERS.to_owned(),
    })
}

/// The offered H.264 that our encoder's constrained baseline serves, packetization-mode 1 (trap: Safari goes
/// black on another profile).
fn h264(section: &MediaDescription) -> Option<RtpSection> {
    let parameter = |pt: u8, name: &str| {
        by_payload_type(section, "fmtp")
            .find(|(of, _)| *of == pt)
            .and_then(|(_, parameters)| {
                parameters
                    .split(';')
                    .filter_map(|pair| pair.trim().split_once('='))
                    .find(|(key, _)| key.eq_ignore_ascii_case(name))
            })
            .map(|(_, value)| value.to_ascii_lowercase())
    };
    let candidates: Vec<(u8, String)> = by_payload_type(section, "rtpmap")
        .filter(|(_, map)| map.eq_ignore_ascii_case("H264/90000"))
        .filter(|(pt, _)| parameter(*pt, "packetization-mode").as_deref() == Some("1"))
        .map(|(pt, _)| {
            (
                pt,
                parameter(pt, "profile-level-id").unwrap_or_else(|| "42e01f".to_owned()),
            )
        })
        .collect();
    let (payload_type, profile) = ["42e0", "4200"]
        .iter()
        .find_map(|wanted| {
            candidates
                .iter()
                .find(|(_, profile)| profile.starts_with(wanted))
        })?
        .clone();
    let rtx_payload_type = by_payload_type(section, "rtpmap")
        .filter(|(_, map)| map.eq_ignore_ascii_case("rtx/90000"))
        .map(|(pt, _)| pt)
        .find(|pt| parameter(*pt, "apt").as_deref() == Some(payload_type.to_string().as_str()));
    Some(RtpSection {
        direction: Direction::answer(
            section,
            Direction {
                send: true,
                receive: false,
            },
        ),
        payload_type,
        rtx_payload_type,
        format_parameters: format!(
            "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id={profile}"
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFER: &str = include_str!("chromium-offer.sdp");

    fn answer(offer: &Offer) -> String {
        offer.answer(&AnswerParameters {
            local: &Credentials {
                ufrag: "uf".into(),
                password: "pw".into(),
            },
            fingerprint: "AA:BB",
            ssrcs: Ssrcs {
                video: 1,
                video_rtx: 2,
                audio: 3,
            },
            candidates: &candidate_lines(
                &["127.0.0.1:9000".parse().unwrap()],
                &["203.0.113.1:9".parse().unwrap()],
            ),
        })
    }

    #[test]
    fn chromium_gets_constrained_baseline_with_rtx_opus_and_a_data_channel() {
        let offer = Offer::parse(OFFER).unwrap();
        assert_eq!(offer.dtls_role, DtlsRole::Server);
        assert_eq!(
            offer.video(),
            Some(SendTrack {
                payload_type: 108,
                rtx_payload_type: Some(109)
            })
        );
        assert_eq!(offer.microphone(), Some(111));
        assert_eq!(offer.sctp_port(), Some(5000));
        let sdp = answer(&offer);
        for line in [
            "a=group:BUNDLE 0 1 2",
            "m=audio 9 UDP/TLS/RTP/SAVPF 111",
            "m=video 9 UDP/TLS/RTP/SAVPF 108 109",
            "a=fmtp:108 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f",
            "a=ssrc-group:FID 1 2",
            "a=setup:passive",
            "a=candidate:1 1 udp 2130706431 127.0.0.1 9000 typ host",
            "a=candidate:2 1 udp 1694498559 203.0.113.1 9 typ srflx raddr 0.0.0.0 rport 0",
            "m=application 9 UDP/DTLS/SCTP webrtc-datachannel",
        ] {
            assert!(
                sdp.lines().any(|found| found == line),
                "{line} is missing in\n{sdp}"
            );
        }
        SessionDescription::unmarshal(&mut Cursor::new(sdp.as_bytes())).unwrap();
    }

    #[test]
    fn audio_only_is_answered_with_audio_only() {
        let audio_only: String = OFFER
            .split("m=video")
            .next()
            .unwrap()
            .replace("BUNDLE 0 1 2", "BUNDLE 0");
        let offer = Offer::parse(&audio_only).unwrap();
        assert_eq!(offer.video(), None);
        assert!(!answer(&offer).contains("m=video"));
    }

    #[test]
    fn an_offer_without_h264_is_told_apart_and_keeps_its_sound() {
        let offer = Offer::parse(&OFFER.replace("H264/90000", "AV1/90000")).unwrap();
        assert_eq!(offer.video(), None);
        assert!(
            offer
                .unusable_video
                .as_ref()
                .unwrap()
                .contains(&"AV1".to_owned())
        );
        assert!(answer(&offer).contains("m=video 0 "));
    }

    #[test]
    fn what_cannot_be_answered_is_said_in_words() {
        for (sdp, error) in [
            ("hello", "not readable"),
            (
                "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n",
                "no media section",
            ),
            (&OFFER.replace("a=ice-ufrag", "a=x"), "a=ice-ufrag"),
            (&OFFER.replace("sha-256", "sha-1"), "sha-256"),
            (&OFFER.replace("BUNDLE", "LS"), "BUNDLE"),
        ] {
            let said = Offer::parse(sdp).unwrap_err().to_string();
            assert!(said.contains(error), "{said}");
        }
    }

    proptest::proptest! {
        #[test]
        fn damaged_offers_never_panic(at in 0usize..OFFER.len(), length in 0usize..40, byte in 0u8..128) {
            let mut damaged = OFFER.as_bytes().to_vec();
            let end = (at + length).min(damaged.len());
            damaged[at..end].fill(byte);
            if let Ok(offer) = Offer::parse(&String::from_utf8_lossy(&damaged)) {
                answer(&offer);
            }
        }
    }
}

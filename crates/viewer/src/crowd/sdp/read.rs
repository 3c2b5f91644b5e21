//! Reading the server's description, line by line.

use std::net::{IpAddr, SocketAddr};

use super::super::ice::Credentials;
use super::AUDIO_LEVEL_URI;
use crate::VideoCodec;

/// Why a description is of no use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(in crate::crowd) enum SdpError {
    #[error("the server's description has no a={0} line")]
    Missing(&'static str),
    #[error("the server's description has no sha-256 fingerprint")]
    Fingerprint,
    #[error("the server's description has no media that a viewer takes")]
    NoMedia,
}

/// What the server wants, as far as a viewer cares.
#[derive(Debug, Clone)]
pub(in crate::crowd) struct Remote {
    pub(in crate::crowd) credentials: Credentials,
    /// SHA-256, upper-case hex with colons.
    pub(in crate::crowd) fingerprint: String,
    /// It begins the DTLS handshake (RFC 8842, 5.3): an answerer may, and libwebrtc does.
    pub(in crate::crowd) begins_dtls: bool,
    /// It answers checks and makes none (RFC 8445, 2.5).
    pub(in crate::crowd) ice_lite: bool,
    pub(in crate::crowd) candidates: Vec<SocketAddr>,
    pub(in crate::crowd) audio: Option<Audio>,
    pub(in crate::crowd) video: Option<Video>,
    /// All `m=` lines, for an answer.
    pub(super) sections: Vec<Section>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::crowd) struct Audio {
    pub(in crate::crowd) payload_type: u8,
    /// Identifier of the RFC 6464 extension.
    pub(in crate::crowd) level_id: Option<u8>,
    pub(in crate::crowd) sends: bool,
    pub(in crate::crowd) receives: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::crowd) struct Video {
    pub(in crate::crowd) payload_type: u8,
    pub(in crate::crowd) rtx: Option<u8>,
    pub(in crate::crowd) nack: bool,
}

/// One `m=` line.
#[derive(Debug, Clone)]
pub(super) struct Section {
    /// `audio`, `video` or another.
    pub(super) media: String,
    pub(super) protocol: String,
    pub(super) formats: String,
    pub(super) mid: String,
    pub(super) accepted: Accepted,
}

/// What of a section a viewer takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Accepted {
    Audio(Audio),
    Video(Video),
    Nothing,
}

impl Remote {
    /// Reads an offer or answer; of its video only `codec` is taken.
    pub(in crate::crowd) fn parse(sdp: &str, codec: VideoCodec) -> Result<Self, SdpError> {
        let mut parts = sdp.split("\nm=");
        let session = parts.next().unwrap_or_default();
        let media: Vec<&str> = parts.collect();
        let anywhere = |key: &'static str| {
            let found = media
                .iter()
                .chain([&session])
                .find_map(|part| value(part, key));
            found.ok_or(SdpError::Missing(key))
        };
        let credentials = Credentials {
            ufrag: anywhere("ice-ufrag")?.to_owned(),
            password: anywhere("ice-pwd")?.to_owned(),
        };
        let (algorithm, hash) = anywhere("fingerprint")?
            .split_once(' ')
            .ok_or(SdpError::Fingerprint)?;
        if !algorithm.eq_ignore_ascii_case("sha-256") {
            return Err(SdpError::Fingerprint);
        }
        let sections: Vec<Section> = media.iter().map(|part| section(part, codec)).collect();
        let audio = sections.iter().find_map(|section| match section.accepted {
            Accepted::Audio(audio) => Some(audio),
            _ => None,
        });
        let video = sections.iter().find_map(|section| match section.accepted {
            Accepted::Video(video) => Some(video),
            _ => None,
        });
        if audio.is_none() && video.is_none() {
            return Err(SdpError::NoMedia);
        }
        Ok(Self {
            credentials,
            fingerprint: hash.trim().to_ascii_uppercase(),
            begins_dtls: anywhere("setup").is_ok_and(|setup| setup == "active"),
            ice_lite: lines(session).any(|line| line == "a=ice-lite"),
            candidates: media
                .iter()
                .flat_map(|part| values(part, "candidate"))
                .filter_map(candidate)
                .collect(),
            audio,
            video,
            sections,
        })
    }

    /// The `mid` of the first section that a viewer takes, which candidates belong to.
    pub(in crate::crowd) fn first_mid(&self) -> &str {
        let accepted = |section: &&Section| section.accepted != Accepted::Nothing;
        self.sections
            .iter()
            .find(accepted)
            .map_or("", |section| &section.mid)
    }
}

/// The address of a `candidate:` line (RFC 8839, 5.1), unless it is of another transport, a name, or no address
/// to send to.
pub(in crate::crowd) fn candidate(line: &str) -> Option<SocketAddr> {
    let mut fields = line.split_ascii_whitespace().skip(2);
    let is_udp = fields.next()?.eq_ignore_ascii_case("udp");
    let ip: IpAddr = fields.nth(1)?.parse().ok()?;
    let port: u16 = fields.next()?.parse().ok()?;
    let usable = is_udp && port != 0 && !ip.is_unspecified() && !ip.is_multicast();
    usable.then_some(SocketAddr::new(ip, port))
}

fn section(part: &str, codec: VideoCodec) -> Section {
    let mut head = lines(part).next().unwrap_or_default().split(' ');
    let mut next = || head.next().unwrap_or_default().to_owned();
    let (media, port, protocol) = (next(), next(), next());
    let accepted = match &media[..] {
        _ if port == "0" => Accepted::Nothing,
        "audio" => audio(part).map_or(Accepted::Nothing, Accepted::Audio),
        "video" => video(part, codec).map_or(Accepted::Nothing, Accepted::Video),
        _ => Accepted::Nothing,
    };
    Section {
        media,
        protocol,
        formats: head.collect::<Vec<_>>().join(" "),
        mid: value(part, "mid").unwrap_or_default().to_owned(),
        accepted,
    }
}

fn audio(part: &str) -> Option<Audio> {
    let (payload_type, _) = by_payload_type(part, "rtpmap")
        .find(|(_, map)| map.eq_ignore_ascii_case("opus/48000/2"))?;
    let level_id = values(part, "extmap").find_map(|extension| {
        let (id, uri) = extension.split_once(' ')?;
        (uri.split(' ').next() == Some(AUDIO_LEVEL_URI)).then_some(())?;
        id.split('/').next()?.parse().ok()
    });
    let says = |direction: &str| lines(part).any(|line| line.strip_prefix("a=") == Some(direction));
    Some(Audio {
        payload_type,
        level_id,
        sends: !says("recvonly") && !says("inactive"),
        receives: !says("sendonly") && !says("inactive"),
    })
}

fn video(part: &str, codec: VideoCodec) -> Option<Video> {
    let parameters = |wanted: u8| {
        by_payload_type(part, "fmtp")
            .find(|(payload_type, _)| *payload_type == wanted)
            .map_or("", |(_, parameters)| parameters)
    };
    let has = |payload_type: u8, parameter: &str| {
        parameters(payload_type)
            .split(';')
            .any(|found| found.trim().eq_ignore_ascii_case(parameter))
    };
    let (payload_type, _) = by_payload_type(part, "rtpmap").find(|(payload_type, map)| {
        map.eq_ignore_ascii_case(codec.encoding())
            && (codec != VideoCodec::H264 || has(*payload_type, "packetization-mode=1"))
    })?;
    let rtx = by_payload_type(part, "rtpmap")
        .filter(|(_, map)| map.eq_ignore_ascii_case("rtx/90000"))
        .map(|(rtx, _)| rtx)
        .find(|rtx| has(*rtx, &format!("apt={payload_type}")));
    let nack = by_payload_type(part, "rtcp-fb")
        .any(|(of, feedback)| of == payload_type && feedback == "nack");
    Some(Video {
        payload_type,
        rtx,
        nack,
    })
}

fn lines(part: &str) -> impl Iterator<Item = &str> {
    part.lines().map(str::trim_end)
}

/// What follows each `a=KEY:`.
fn values<'a>(part: &'a str, key: &str) -> impl Iterator<Item = &'a str> {
    lines(part).filter_map(move |line| {
        line.strip_prefix("a=")?
            .strip_prefix(key)?
            .strip_prefix(':')
    })
}

fn value<'a>(part: &'a str, key: &str) -> Option<&'a str> {
    values(part, key).next()
}

/// Payload type and text of each `a=KEY:PT text`.
fn by_payload_type<'a>(part: &'a str, key: &str) -> impl Iterator<Item = (u8, &'a str)> {
    values(part, key).filter_map(|value| {
        let (payload_type, text) = value.split_once(' ')?;
        Some((payload_type.parse().ok()?, text.trim()))
    })
}

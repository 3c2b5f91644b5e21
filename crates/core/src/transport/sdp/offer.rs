//! Reading an offer.

use std::io::Cursor;

use rtc_sdp::description::media::MediaDescription;
use rtc_sdp::description::session::SessionDescription;

use super::{Direction, DtlsRole, Line, Offer, RtpSection, Section};
use crate::transport::Credentials;

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

const OPUS_PARAMETERS: &str = "minptime=10;useinbandfec=1";

/// RFC 6464, 4.
pub(super) const AUDIO_LEVEL: &str = "urn:ietf:params:rtp-hdrext:ssrc-audio-level";

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
            // Port 0 rejects a section, unless it rides on another one's transport.
            let open = section.media_name.port.value != 0 || section.has_attribute("bundle-only");
            let usable = open && !taken && bundle.contains(&mid.as_str());
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
            mixed_extensions: (description.attributes.iter())
                .any(|attribute| attribute.key == "extmap-allow-mixed"),
            lines,
        })
    }
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
    let direction = Direction::answer(
        section,
        Direction {
            send: true,
            receive: true,
        },
    );
    Some(RtpSection {
        direction,
        payload_type,
        rtx_payload_type: None,
        feedback: Vec::new(),
        format_parameters: OPUS_PARAMETERS.to_owned(),
        level_extension: (direction.receive)
            .then(|| extension(section, AUDIO_LEVEL))
            .flatten(),
    })
}

/// The name that a header extension of the offerer's packets is offered under (RFC 8285, 5: `ID[/direction] URI`).
fn extension(section: &MediaDescription, uri: &str) -> Option<u8> {
    let maps = (section.attributes.iter())
        .filter(|attribute| attribute.key == "extmap")
        .filter_map(|attribute| attribute.value.as_deref());
    maps.filter_map(|map| {
        let mut words = map.split_whitespace();
        let name = words.next()?;
        let (id, direction) = name.split_once('/').unwrap_or((name, "sendrecv"));
        let is_sent = matches!(direction, "sendrecv" | "sendonly");
        // Higher ones than 14 need the two-byte form, and are not the offerer's first choice; 15 is none.
        let id: u8 = id.parse().ok().filter(|id| (1..=14).contains(id))?;
        (is_sent && words.next() == Some(uri)).then_some(id)
    })
    .next()
}

/// What of the feedback that we understand is offered for a payload type (RFC 4585, 4.2).
fn feedback(section: &MediaDescription, payload_type: u8) -> Vec<&'static str> {
    let is_offered = |wanted: &&str| {
        let mut offered = section.attributes.iter().filter(|a| a.key == "rtcp-fb");
        offered.any(|attribute| {
            let value = attribute.value.as_deref().unwrap_or_default();
            value.split_once(' ').is_some_and(|(of, kind)| {
                (of == "*" || of.parse() == Ok(payload_type)) && kind.trim() == *wanted
            })
        })
    };
    ["nack", "nack pli", "ccm fir"]
        .into_iter()
        .filter(is_offered)
        .collect()
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
        feedback: feedback(section, payload_type),
        payload_type,
        rtx_payload_type,
        format_parameters: format!(
            "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id={profile}"
        ),
        level_extension: None,
    })
}

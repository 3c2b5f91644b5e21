//! Reading an offer.

use std::fmt;
use std::io::Cursor;

use rtc_sdp::description::media::MediaDescription;
use rtc_sdp::description::session::SessionDescription;

use super::{Direction, DtlsRole, Line, Offer, Section, formats};
use crate::codec::{Preferences, VideoCodec};
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
        "the offer has nothing that can be answered: video, audio or a data channel in one BUNDLE group is needed"
    )]
    NothingUsable,
    /// A section has none of our codecs.
    #[error("no {kind} codec in common: the offer has {offered}, this server sends {sent}")]
    NoCommonCodec {
        /// `video` or `audio`.
        kind: &'static str,
        /// The codecs that the offer has.
        offered: Names,
        /// The codecs that this server is configured to send.
        sent: Names,
    },
    /// A line that WebRTC requires is missing.
    #[error("the offer has no a={0} line")]
    Missing(&'static str),
    /// The certificate's hash is of another kind.
    #[error("the offer has no sha-256 fingerprint")]
    Fingerprint,
}

/// Names in the order of preference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names(Vec<String>);

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0[..] {
            [] => f.write_str("none"),
            names => f.write_str(&names.join(", ")),
        }
    }
}

impl Offer {
    /// Reads an offer, and chooses from `preferences` what its sender gets.
    pub fn parse(sdp: &str, preferences: &Preferences) -> Result<Self, OfferError> {
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
        // Of a section of each kind.
        let (mut no_video, mut no_audio) = (None, None);
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
                "audio" if usable => {
                    let audio = formats::audio(section, &preferences.audio);
                    if audio.is_none() && Direction::offered(section) != "inactive" {
                        no_audio = Some(formats::names(section));
                    }
                    audio.map(Section::Audio)
                }
                "video" if usable => {
                    let video = formats::video(section, &preferences.video);
                    let is_wanted = matches!(Direction::offered(section), "sendrecv" | "recvonly");
                    if video.is_none() && is_wanted {
                        no_video = Some(formats::names(section));
                    }
                    video.map(Section::Video)
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
        let has = |kind| {
            (lines.iter()).any(|line| line.media == kind && line.section != Section::Rejected)
        };
        if let Some(offered) = no_video.filter(|_| !has("video")) {
            return Err(OfferError::NoCommonCodec {
                kind: "video",
                offered: Names(offered),
                sent: Names(preferences.video.iter().map(describe).collect()),
            });
        }
        if let Some(offered) = no_audio.filter(|_| !has("audio")) {
            return Err(OfferError::NoCommonCodec {
                kind: "audio",
                offered: Names(offered),
                sent: Names(preferences.audio.iter().map(ToString::to_string).collect()),
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
            mixed_extensions: (description.attributes.iter())
                .any(|attribute| attribute.key == "extmap-allow-mixed"),
            lines,
        })
    }
}

/// A codec with what it depends on.
fn describe(codec: &VideoCodec) -> String {
    match codec {
        VideoCodec::H264 => "H264 (baseline, packetization-mode=1)".to_owned(),
        VideoCodec::Vp8 => "VP8".to_owned(),
        VideoCodec::Vp9 => "VP9 (profile-id=0)".to_owned(),
    }
}

impl Direction {
    /// The direction of a section, seen from the offerer.
    fn offered(section: &MediaDescription) -> &'static str {
        ["sendrecv", "sendonly", "recvonly", "inactive"]
            .into_iter()
            .find(|direction| section.has_attribute(direction))
            .unwrap_or("sendrecv")
    }

    /// What we answer to an offer's direction, when we want to do `wanted`.
    pub(super) fn answer(section: &MediaDescription, wanted: Self) -> Self {
        let offered = Self::offered(section);
        Self {
            send: wanted.send && matches!(offered, "sendrecv" | "recvonly"),
            receive: wanted.receive && matches!(offered, "sendrecv" | "sendonly"),
        }
    }
}

fn value<'a>(section: &'a MediaDescription, key: &str) -> Option<&'a str> {
    section.attribute(key).flatten()
}

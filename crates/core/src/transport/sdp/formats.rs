//! Which of a section's formats are ours.

use rtc_sdp::description::media::MediaDescription;

use super::{Direction, RtpSection};
use crate::codec::{AudioCodec, Layer, VideoCodec};

/// RFC 6464, 4.
pub(super) const AUDIO_LEVEL: &str = "urn:ietf:params:rtp-hdrext:ssrc-audio-level";

/// <http://www.webrtc.org/experiments/rtp-hdrext/playout-delay>
pub(super) const PLAYOUT_DELAY: &str = "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay";

const OPUS_PARAMETERS: &str = "minptime=10;useinbandfec=1";

/// Payload types have 7 bits.
const MAX_PAYLOAD_TYPE: u8 = 127;

/// Formats that are no codec, but help one.
const HELPERS: [&str; 6] = [
    "rtx",
    "red",
    "ulpfec",
    "flexfec-03",
    "CN",
    "telephone-event",
];

/// A format of the offer.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Format {
    payload_type: u8,
    parameters: String,
}

/// The first codec of `preferred` that is offered.
pub(super) fn video(section: &MediaDescription, preferred: &[VideoCodec]) -> Option<RtpSection> {
    let (codec, format) = preferred.iter().find_map(|&codec| {
        let format = match codec {
            VideoCodec::H264 => h264(section),
            VideoCodec::Vp8 => vp8(section),
            VideoCodec::Vp9 => vp9(section),
        };
        Some((codec, format?))
    })?;
    let payload_type = format.payload_type;
    let direction = Direction::answer(
        section,
        Direction {
            send: true,
            receive: false,
        },
    );
    Some(RtpSection {
        layer: Layer::Video(codec),
        direction,
        feedback: feedback(section, payload_type),
        rtx_payload_type: rtx(section, payload_type),
        payload_type,
        parameters: format.parameters,
        level_extension: None,
        playout_delay_extension: (direction.send)
            .then(|| extension(section, PLAYOUT_DELAY, "recvonly"))
            .flatten(),
    })
}

/// The first codec of `preferred` that is offered.
pub(super) fn audio(section: &MediaDescription, preferred: &[AudioCodec]) -> Option<RtpSection> {
    let (codec, format) = preferred.iter().find_map(|&codec| {
        let format = match codec {
            AudioCodec::Opus => opus(section),
            AudioCodec::Pcmu => g711(section, "PCMU/8000", 0),
            AudioCodec::Pcma => g711(section, "PCMA/8000", 8),
        };
        Some((codec, format?))
    })?;
    let direction = Direction::answer(
        section,
        Direction {
            send: true,
            receive: true,
        },
    );
    Some(RtpSection {
        layer: Layer::Audio(codec),
        direction,
        payload_type: format.payload_type,
        rtx_payload_type: None,
        feedback: Vec::new(),
        parameters: format.parameters,
        level_extension: (direction.receive)
            .then(|| extension(section, AUDIO_LEVEL, "sendonly"))
            .flatten(),
        playout_delay_extension: None,
    })
}

/// What an `a=rtpmap` line calls the codec of a layer.
pub(super) fn encoding(layer: Layer) -> &'static str {
    match layer {
        Layer::Video(VideoCodec::H264) => "H264/90000",
        Layer::Video(VideoCodec::Vp8) => "VP8/90000",
        Layer::Video(VideoCodec::Vp9) => "VP9/90000",
        Layer::Audio(AudioCodec::Opus) => "opus/48000/2",
        Layer::Audio(AudioCodec::Pcmu) => "PCMU/8000",
        Layer::Audio(AudioCodec::Pcma) => "PCMA/8000",
    }
}

/// The codecs of a section, for people.
pub(super) fn names(section: &MediaDescription) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for (_, map) in by_payload_type(section, "rtpmap") {
        let name = map.split('/').next().unwrap_or_default();
        let is_helper = HELPERS
            .iter()
            .any(|helper| helper.eq_ignore_ascii_case(name));
        if !is_helper && !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    }
    names
}

/// The offered H.264 that our encoder's constrained baseline serves, packetization-mode 1 (trap: Safari goes
/// black on another profile).
fn h264(section: &MediaDescription) -> Option<Format> {
    let candidates: Vec<(u8, String)> = mapped(section, "H264/90000")
        .filter(|pt| parameter(section, *pt, "packetization-mode").as_deref() == Some("1"))
        .map(|pt| {
            let profile = parameter(section, pt, "profile-level-id");
            (pt, profile.unwrap_or_else(|| "42e01f".to_owned()))
        })
        .collect();
    let (payload_type, profile) = ["42e0", "4200"].iter().find_map(|wanted| {
        candidates
            .iter()
            .find(|(_, profile)| profile.starts_with(wanted))
    })?;
    Some(Format {
        payload_type: *payload_type,
        parameters: format!(
            "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id={profile}"
        ),
    })
}

fn vp8(section: &MediaDescription) -> Option<Format> {
    Some(Format {
        payload_type: mapped(section, "VP8/90000").next()?,
        parameters: String::new(),
    })
}

/// Profile 0, which is what is meant if none is named (RFC 9628, 6).
fn vp9(section: &MediaDescription) -> Option<Format> {
    let is_profile_0 = |pt: &u8| {
        let profile = parameter(section, *pt, "profile-id");
        profile.is_none_or(|profile| profile == "0")
    };
    Some(Format {
        payload_type: mapped(section, "VP9/90000").find(is_profile_0)?,
        parameters: "profile-id=0".to_owned(),
    })
}

fn opus(section: &MediaDescription) -> Option<Format> {
    Some(Format {
        payload_type: mapped(section, "opus/48000/2").next()?,
        parameters: OPUS_PARAMETERS.to_owned(),
    })
}

/// G.711 has payload types of its own, which need no `a=rtpmap` (RFC 3551, 6).
fn g711(section: &MediaDescription, encoding: &str, assigned: u8) -> Option<Format> {
    let is_mapped = by_payload_type(section, "rtpmap").any(|(of, _)| of == assigned);
    let mut formats = section.media_name.formats.iter();
    let is_offered = formats.any(|format| format.parse() == Ok(assigned));
    let payload_type = mapped(section, encoding).next();
    Some(Format {
        payload_type: payload_type.or((is_offered && !is_mapped).then_some(assigned))?,
        parameters: String::new(),
    })
}

/// The payload types that an offer calls `encoding`.
fn mapped<'a>(section: &'a MediaDescription, encoding: &'a str) -> impl Iterator<Item = u8> + 'a {
    let is_it = move |map: &str| {
        map.strip_suffix("/1")
            .unwrap_or(map)
            .eq_ignore_ascii_case(encoding)
    };
    by_payload_type(section, "rtpmap")
        .filter(move |(_, map)| is_it(map))
        .map(|(pt, _)| pt)
}

/// The payload type of retransmissions of `payload_type`.
fn rtx(section: &MediaDescription, payload_type: u8) -> Option<u8> {
    let wanted = payload_type.to_string();
    mapped(section, "rtx/90000").find(|pt| parameter(section, *pt, "apt").as_ref() == Some(&wanted))
}

/// A parameter of a payload type, in lower case.
fn parameter(section: &MediaDescription, payload_type: u8, name: &str) -> Option<String> {
    let (_, parameters) = by_payload_type(section, "fmtp").find(|(of, _)| *of == payload_type)?;
    parameters
        .split(';')
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(key, _)| key.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.to_ascii_lowercase())
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
        .filter(|(pt, _)| *pt <= MAX_PAYLOAD_TYPE)
}

/// The name that a header extension is offered under, both ways or that way (RFC 8285, 5: `ID[/direction] URI`).
fn extension(section: &MediaDescription, uri: &str, way: &str) -> Option<u8> {
    let maps = (section.attributes.iter())
        .filter(|attribute| attribute.key == "extmap")
        .filter_map(|attribute| attribute.value.as_deref());
    maps.filter_map(|map| {
        let mut words = map.split_whitespace();
        let name = words.next()?;
        let (id, direction) = name.split_once('/').unwrap_or((name, "sendrecv"));
        let is_offered = direction == "sendrecv" || direction == way;
        // Higher ones than 14 need the two-byte form, and are not the offerer's first choice; 15 is none.
        let id: u8 = id.parse().ok().filter(|id| (1..=14).contains(id))?;
        (is_offered && words.next() == Some(uri)).then_some(id)
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

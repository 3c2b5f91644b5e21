//! The narrow answerer: what we need of an offer (RFC 8829, RFC 9143 BUNDLE), and the answer to it.

mod answer;
mod formats;
mod offer;

use super::ice::Credentials;
use crate::codec::{AudioCodec, Layer};

pub use answer::AnswerParameters;
pub(super) use answer::candidate_lines;
pub use offer::OfferError;

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
    layer: Layer,
    direction: Direction,
    payload_type: u8,
    rtx_payload_type: Option<u8>,
    /// Of the `a=fmtp` line; empty for none.
    parameters: String,
    /// `a=rtcp-fb` of the payload type: what the viewer may ask for.
    feedback: Vec<&'static str>,
    /// The name, in its packets, of the level of what the offerer sends (RFC 6464).
    level_extension: Option<u8>,
    playout_delay_extension: Option<u8>,
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
    /// Whether its extensions may be written in both forms (RFC 8285, 6).
    mixed_extensions: bool,
    lines: Vec<Line>,
}

/// What a viewer receives of one track, and under which payload types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SendTrack {
    /// The encoding.
    pub layer: Layer,
    /// RTP payload type.
    pub payload_type: u8,
    /// RTX payload type (RFC 4588), where negotiated.
    pub rtx_payload_type: Option<u8>,
    /// Which header extension tells how soon to show a picture, where negotiated.
    pub playout_delay_extension: Option<u8>,
}

/// What a viewer sends of its microphone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MicrophoneTrack {
    /// How it is encoded.
    pub codec: AudioCodec,
    /// RTP payload type.
    pub payload_type: u8,
    /// Which header extension tells how loud a packet is (RFC 6464), where negotiated.
    pub level_extension: Option<u8>,
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

impl Offer {
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

    /// The offerer's microphone.
    pub fn microphone(&self) -> Option<MicrophoneTrack> {
        self.lines.iter().find_map(|line| match &line.section {
            Section::Audio(section) if section.direction.receive => section.microphone(),
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
}

impl RtpSection {
    fn sends(&self) -> Option<SendTrack> {
        self.direction.send.then_some(SendTrack {
            layer: self.layer,
            payload_type: self.payload_type,
            rtx_payload_type: self.rtx_payload_type,
            playout_delay_extension: self.playout_delay_extension,
        })
    }

    fn microphone(&self) -> Option<MicrophoneTrack> {
        match self.layer {
            Layer::Audio(codec) => Some(MicrophoneTrack {
                codec,
                payload_type: self.payload_type,
                level_extension: self.level_extension,
            }),
            Layer::Video(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use rtc_sdp::description::session::SessionDescription;

    use super::*;
    use crate::codec::{Preferences, VideoCodec};

    const OFFER: &str = include_str!("../chromium-offer.sdp");

    fn parse(sdp: &str) -> Result<Offer, OfferError> {
        Offer::parse(sdp, &Preferences::default())
    }

    fn answer(offer: &Offer) -> String {
        answer_with(offer, true)
    }

    fn answer_with(offer: &Offer, silence_may_be_left_out: bool) -> String {
        offer.answer(&AnswerParameters {
            silence_may_be_left_out,
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
                &["127.0.0.1:9443".parse().unwrap()],
            ),
        })
    }

    #[test]
    fn chromium_gets_constrained_baseline_with_rtx_opus_and_a_data_channel() {
        let offer = parse(OFFER).unwrap();
        assert_eq!(offer.dtls_role, DtlsRole::Server);
        assert_eq!(
            offer.video(),
            Some(SendTrack {
                layer: Layer::Video(VideoCodec::H264),
                payload_type: 108,
                rtx_payload_type: Some(109),
                playout_delay_extension: Some(5),
            })
        );
        let microphone = MicrophoneTrack {
            codec: AudioCodec::Opus,
            payload_type: 111,
            level_extension: Some(1),
        };
        assert_eq!(offer.microphone(), Some(microphone));
        assert_eq!(offer.sctp_port(), Some(5000));
        let sdp = answer(&offer);
        for line in [
            "a=group:BUNDLE 0 1 2",
            "m=audio 9 UDP/TLS/RTP/SAVPF 111",
            "m=video 9 UDP/TLS/RTP/SAVPF 108 109",
            "a=fmtp:108 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f",
            "a=extmap:5/sendonly http://www.webrtc.org/experiments/rtp-hdrext/playout-delay",
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
    fn only_feedback_that_was_offered_is_answered() {
        let video = |sdp: &str| {
            let sdp = answer(&parse(sdp).unwrap());
            let section = sdp.split("m=video").nth(1).unwrap().to_owned();
            let lines = section.lines().filter(|line| line.starts_with("a=rtcp-fb"));
            lines.map(str::to_owned).collect::<Vec<_>>()
        };
        let all = ["nack", "nack pli", "ccm fir"].map(|kind| format!("a=rtcp-fb:108 {kind}"));
        assert_eq!(video(OFFER), all);
        let without_nack = OFFER.replace("a=rtcp-fb:108 nack\r\n", "");
        assert_eq!(video(&without_nack), all[1..]);
        let for_any = without_nack.replace("a=rtcp-fb:108 ccm fir", "a=rtcp-fb:* nack");
        assert_eq!(video(&for_any), all[..2]);
    }

    #[test]
    fn audio_only_is_answered_with_audio_only() {
        let audio_only: String = OFFER
            .split("m=video")
            .next()
            .unwrap()
            .replace("BUNDLE 0 1 2", "BUNDLE 0");
        let offer = parse(&audio_only).unwrap();
        assert_eq!(offer.video(), None);
        assert!(!answer(&offer).contains("m=video"));
    }

    /// The audio section of the answer to Chromium's offer, changed.
    fn audio(change: impl Fn(&str) -> String, silence_may_be_left_out: bool) -> String {
        let offer = parse(&change(OFFER)).unwrap();
        let sdp = answer_with(&offer, silence_may_be_left_out);
        let audio = sdp.split("m=").nth(1).unwrap();
        assert!(audio.starts_with("audio"));
        audio.to_owned()
    }

    #[test]
    fn the_level_of_a_microphone_is_agreed_on_under_the_offered_name() {
        let extmap = format!("a=extmap:1 {}", formats::AUDIO_LEVEL);
        for (offered, answered) in [
            ("a=extmap:1 ", Some("a=extmap:1/recvonly ")),
            ("a=extmap:1/sendonly ", Some("a=extmap:1/recvonly ")),
            ("a=extmap:14/sendrecv ", Some("a=extmap:14/recvonly ")),
            ("a=extmap:1/recvonly ", None),
            ("a=extmap:1/inactive ", None),
            ("a=extmap:0 ", None),
            ("a=extmap:15 ", None),
            ("a=extmap:256 ", None),
            ("a=extmap: ", None),
        ] {
            let line = format!("{offered}{}", formats::AUDIO_LEVEL);
            let audio = audio(|sdp| sdp.replace(&extmap, &line), true);
            let found = audio.lines().find(|line| line.starts_with("a=extmap:"));
            let expected = answered.map(|name| format!("{name}{}", formats::AUDIO_LEVEL));
            assert_eq!(found, expected.as_deref(), "{offered}");
        }
    }

    #[test]
    fn who_sends_no_microphone_is_asked_for_no_level() {
        let (audio_section, rest) = OFFER.split_once("m=video").unwrap();
        let change = |_: &str| {
            let silent = audio_section.replace("a=sendrecv", "a=recvonly");
            assert_ne!(silent, audio_section);
            format!("{silent}m=video{rest}")
        };
        let audio = audio(change, true);
        assert!(
            !audio.contains("extmap") && !audio.contains("usedtx"),
            "{audio}"
        );
        assert_eq!(parse(&change("")).unwrap().microphone(), None);
    }

    #[test]
    fn silence_may_be_left_out_unless_it_is_wanted() {
        let parameters = "a=fmtp:111 minptime=10;useinbandfec=1";
        for (may, expected) in [(true, ";usedtx=1"), (false, "")] {
            let audio = audio(str::to_owned, may);
            let line = audio.lines().find(|line| line.starts_with("a=fmtp"));
            assert_eq!(line, Some(format!("{parameters}{expected}").as_str()));
        }
    }

    #[test]
    fn mixed_extensions_are_allowed_only_to_who_asks() {
        let mixed = "a=extmap-allow-mixed";
        let without = OFFER
            .replace(&format!("{mixed}\r\n"), "")
            .replace(&format!("{mixed}\n"), "");
        assert!(answer(&parse(OFFER).unwrap()).contains(mixed));
        assert!(!answer(&parse(&without).unwrap()).contains(mixed));
    }

    fn preferring(video: &[VideoCodec], audio: &[AudioCodec]) -> Preferences {
        Preferences {
            video: video.to_vec(),
            audio: audio.to_vec(),
        }
    }

    /// Chromium's offer without some of its codecs.
    fn without(names: &[&str]) -> String {
        names.iter().fold(OFFER.to_owned(), |sdp, name| {
            let gone = sdp.replace(&format!(" {name}/"), " none/");
            assert_ne!(gone, sdp, "{name} is offered");
            gone
        })
    }

    #[test]
    fn each_viewer_gets_the_first_of_the_preferences_that_it_has() {
        use AudioCodec::{Opus, Pcma, Pcmu};
        use VideoCodec::{H264, Vp8, Vp9};
        for (video, sdp, expected) in [
            (&[H264, Vp8, Vp9][..], OFFER.to_owned(), H264),
            (&[Vp8, H264, Vp9], OFFER.to_owned(), Vp8),
            (&[Vp9, Vp8], OFFER.to_owned(), Vp9),
            (&[H264, Vp8, Vp9], without(&["H264"]), Vp8),
            (&[H264, Vp8, Vp9], without(&["H264", "VP8"]), Vp9),
        ] {
            let offer = Offer::parse(&sdp, &preferring(video, &[Opus])).unwrap();
            assert_eq!(offer.video().unwrap().layer, Layer::Video(expected));
            let answer = answer(&offer);
            let section = answer.split("m=video").nth(1).unwrap();
            let maps: Vec<&str> = section
                .lines()
                .filter(|line| line.starts_with("a=rtpmap"))
                .collect();
            assert_eq!(maps.len(), 2, "{maps:?}");
            assert!(maps[0].ends_with(&format!(" {expected}/90000")), "{maps:?}");
            assert!(maps[1].ends_with(" rtx/90000"), "{maps:?}");
        }
        for (audio, sdp, expected) in [
            (&[Opus, Pcmu, Pcma][..], OFFER.to_owned(), Opus),
            (&[Pcma, Opus], OFFER.to_owned(), Pcma),
            (&[Opus, Pcmu, Pcma], without(&["opus"]), Pcmu),
            (&[Opus, Pcmu, Pcma], without(&["opus", "PCMU"]), Pcma),
        ] {
            let offer = Offer::parse(&sdp, &preferring(&[H264], audio)).unwrap();
            assert_eq!(offer.audio().unwrap().layer, Layer::Audio(expected));
            assert_eq!(offer.microphone().unwrap().codec, expected);
        }
    }

    #[test]
    fn the_answer_of_g711_and_vp8_has_no_parameters() {
        let sdp = without(&["opus", "H264"]);
        let answer = answer(&parse(&sdp).unwrap());
        assert!(answer.contains("a=rtpmap:0 PCMU/8000\r\n"), "{answer}");
        assert!(answer.contains("a=rtpmap:96 VP8/90000\r\n"), "{answer}");
        let is_fmtp = |line: &&str| line.starts_with("a=fmtp");
        let parameters: Vec<&str> = answer.lines().filter(is_fmtp).collect();
        assert_eq!(parameters, ["a=fmtp:97 apt=96"]);
    }

    #[test]
    fn g711_needs_no_line_of_its_own_and_vp9_has_to_be_of_profile_0() {
        let unmapped = without(&["opus"]).replace("a=rtpmap:0 PCMU/8000\r\n", "");
        assert_eq!(parse(&unmapped).unwrap().audio().unwrap().payload_type, 0);
        let taken = OFFER.replace("a=rtpmap:0 PCMU/8000", "a=rtpmap:0 G722/8000");
        let error = Offer::parse(&taken, &preferring(&VideoCodec::ALL, &[AudioCodec::Pcmu]));
        assert!(matches!(
            error,
            Err(OfferError::NoCommonCodec { kind: "audio", .. })
        ));

        let vp9 = preferring(&[VideoCodec::Vp9], &AudioCodec::ALL);
        let payload_type = |sdp: &str| {
            let offer = Offer::parse(sdp, &vp9);
            offer.map(|offer| offer.video().unwrap().payload_type)
        };
        assert_eq!(payload_type(OFFER), Ok(98));
        assert_eq!(
            payload_type(&OFFER.replace("a=fmtp:98 profile-id=0\r\n", "")),
            Ok(98)
        );
        let other = OFFER.replace("a=fmtp:98 profile-id=0", "a=fmtp:98 profile-id=1");
        assert!(payload_type(&other).is_err());
    }

    #[test]
    fn without_a_codec_in_common_both_lists_are_named() {
        let video = Offer::parse(
            &without(&["H264", "VP8"]),
            &preferring(&[VideoCodec::H264, VideoCodec::Vp8], &AudioCodec::ALL),
        );
        assert_eq!(
            video.unwrap_err().to_string(),
            "no video codec in common: the offer has none, VP9, AV1, this server sends \
             H264 (baseline, packetization-mode=1), VP8"
        );
        let audio = Offer::parse(
            &without(&["PCMA"]),
            &preferring(&VideoCodec::ALL, &[AudioCodec::Pcma]),
        );
        let said = audio.unwrap_err().to_string();
        assert!(
            said.starts_with("no audio codec in common: the offer has opus,"),
            "{said}"
        );
        assert!(said.ends_with("this server sends pcma"), "{said}");
    }

    #[test]
    fn a_section_that_asks_for_nothing_needs_no_codec() {
        let inactive = without(&["H264", "VP8", "VP9"]);
        let (audio, video) = inactive.split_once("m=video").unwrap();
        let sent = video.replacen("a=recvonly", "a=sendonly", 1);
        assert_ne!(sent, video);
        let offer = parse(&format!("{audio}m=video{sent}")).unwrap();
        assert_eq!(offer.video(), None);
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
            let said = parse(sdp).unwrap_err().to_string();
            assert!(said.contains(error), "{said}");
        }
    }

    proptest::proptest! {
        #[test]
        fn damaged_offers_never_panic(at in 0usize..OFFER.len(), length in 0usize..40, byte in 0u8..128) {
            let mut damaged = OFFER.as_bytes().to_vec();
            let end = (at + length).min(damaged.len());
            damaged[at..end].fill(byte);
            if let Ok(offer) = parse(&String::from_utf8_lossy(&damaged)) {
                answer(&offer);
            }
        }
    }
}

//! The little SDP that a viewer needs (RFC 8829): our offer, our answer, and what the server's says.

mod read;
mod write;

pub(super) use read::{Remote, candidate};
pub(super) use write::{answer, offer};

/// Payload types of our own offers.
const OPUS: u8 = 111;
const VIDEO: u8 = 109;
const VIDEO_RTX: u8 = 114;

/// Identifier of the audio level in our own offers (RFC 8285).
const AUDIO_LEVEL_ID: u8 = 1;
const AUDIO_LEVEL_URI: &str = "urn:ietf:params:rtp-hdrext:ssrc-audio-level";

const PLAYOUT_DELAY_URI: &str = "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay";

use crate::VideoCodec;

/// Our half of a description.
#[derive(Debug, Clone, Copy)]
pub(super) struct Local<'a> {
    pub(super) credentials: &'a super::ice::Credentials,
    pub(super) fingerprint: &'a str,
    pub(super) codec: VideoCodec,
    /// Whether to ask for lost packets, and take them by RTX.
    pub(super) nack: bool,
    /// What a microphone sends as, if there is one.
    pub(super) microphone: Option<u32>,
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::super::ice::Credentials;
    use super::*;

    const FINGERPRINT: &str = "AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99";

    fn credentials() -> Credentials {
        Credentials {
            ufrag: "uf".to_owned(),
            password: "pw".to_owned(),
        }
    }

    fn local(credentials: &Credentials, microphone: Option<u32>) -> Local<'_> {
        Local {
            credentials,
            fingerprint: FINGERPRINT,
            codec: VideoCodec::H264,
            nack: true,
            microphone,
        }
    }

    /// Janus' streaming plugin offers like this.
    const SERVER_OFFER: &str = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=Mountpoint 1\r\nt=0 0\r\n\
        a=group:BUNDLE a v\r\na=ice-options:trickle\r\n\
        a=fingerprint:sha-256 AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99\r\n\
        m=audio 9 UDP/TLS/RTP/SAVPF 100\r\nc=IN IP4 127.0.0.1\r\na=sendonly\r\na=mid:a\r\na=rtcp-mux\r\n\
        a=ice-ufrag:jU\r\na=ice-pwd:jP\r\na=setup:actpass\r\na=rtpmap:100 opus/48000/2\r\n\
        a=candidate:1 1 udp 2015363327 10.0.0.1 40000 typ host\r\na=candidate:2 1 tcp 1 10.0.0.1 9 typ host\r\n\
        a=end-of-candidates\r\n\
        m=video 9 UDP/TLS/RTP/SAVPF 96 97\r\nc=IN IP4 127.0.0.1\r\na=sendonly\r\na=mid:v\r\na=rtcp-mux\r\n\
        a=ice-ufrag:jU\r\na=ice-pwd:jP\r\na=setup:actpass\r\na=rtpmap:96 H264/90000\r\n\
        a=fmtp:96 profile-level-id=42e01f;packetization-mode=1\r\na=rtcp-fb:96 nack\r\na=rtcp-fb:96 nack pli\r\n\
        a=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\n\
        m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:d\r\n";

    #[test]
    fn our_offer_reads_as_what_we_meant() {
        let credentials = credentials();
        let sdp = offer(&local(&credentials, Some(7)));
        let read = Remote::parse(&sdp, VideoCodec::H264).unwrap();
        assert_eq!(read.credentials, credentials);
        assert_eq!(read.fingerprint, FINGERPRINT);
        let audio = read.audio.unwrap();
        assert_eq!(
            (
                audio.payload_type,
                audio.level_id,
                audio.sends,
                audio.receives
            ),
            (111, Some(1), true, true)
        );
        let video = read.video.unwrap();
        assert_eq!(
            (video.payload_type, video.rtx, video.nack),
            (109, Some(114), true)
        );
        assert!(!offer(&local(&credentials, None)).contains("a=sendrecv"));
    }

    #[test]
    fn without_nack_nothing_is_offered_that_needs_it() {
        let credentials = credentials();
        let nack = false;
        let sdp = offer(&Local {
            nack,
            ..local(&credentials, None)
        });
        let video = Remote::parse(&sdp, VideoCodec::H264)
            .unwrap()
            .video
            .unwrap();
        assert_eq!((video.rtx, video.nack), (None, false));
        assert!(sdp.contains("nack pli"));
    }

    #[test]
    fn a_server_that_offers_is_answered_line_by_line() {
        let remote = Remote::parse(SERVER_OFFER, VideoCodec::H264).unwrap();
        let candidates: Vec<SocketAddr> = remote.candidates.clone();
        assert_eq!(candidates, [SocketAddr::from(([10, 0, 0, 1], 40_000))]);
        let credentials = credentials();
        let sdp = answer(&local(&credentials, None), &remote);
        for line in [
            "a=group:BUNDLE a v",
            "m=audio 9 UDP/TLS/RTP/SAVPF 100",
            "m=video 9 UDP/TLS/RTP/SAVPF 96 97",
            "m=application 0 UDP/DTLS/SCTP webrtc-datachannel",
            "a=setup:active",
            "a=recvonly",
            "a=rtpmap:97 rtx/90000",
        ] {
            assert!(
                sdp.lines().any(|found| found == line),
                "{line} is missing in\n{sdp}"
            );
        }
        assert!(!sdp.contains("actpass"));
    }

    #[test]
    fn what_cannot_be_used_is_said_in_words() {
        for (sdp, word) in [
            (SERVER_OFFER.replace("a=ice-pwd", "a=x"), "ice-pwd"),
            (SERVER_OFFER.replace("sha-256", "sha-1"), "sha-256"),
            (
                SERVER_OFFER.replace("H264", "AV1").replace("opus", "G729"),
                "no media",
            ),
            ("hello".to_owned(), "ice-ufrag"),
        ] {
            let error = Remote::parse(&sdp, VideoCodec::H264)
                .unwrap_err()
                .to_string();
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn another_codec_of_the_same_section_is_not_taken() {
        assert!(
            Remote::parse(SERVER_OFFER, VideoCodec::Vp8)
                .unwrap()
                .video
                .is_none()
        );
        let other_mode = SERVER_OFFER.replace("packetization-mode=1", "packetization-mode=0");
        assert!(
            Remote::parse(&other_mode, VideoCodec::H264)
                .unwrap()
                .video
                .is_none()
        );
    }
}

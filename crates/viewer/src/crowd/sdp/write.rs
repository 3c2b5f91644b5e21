//! Writing our descriptions. Candidates are trickled, as browsers do.

use std::fmt::Write as _;

use super::read::{Accepted, Audio, Remote, Video};
use crate::VideoCodec;

use super::{AUDIO_LEVEL_ID, AUDIO_LEVEL_URI, Local, OPUS, PLAYOUT_DELAY_URI, VIDEO, VIDEO_RTX};

/// A viewer's offer: audio both ways or in, video in.
pub(in crate::crowd) fn offer(local: &Local<'_>) -> String {
    let mut sdp = session(["0", "1"]);
    section(&mut sdp, local, "audio", "0", &OPUS.to_string(), "actpass");
    let audio = Audio {
        payload_type: OPUS,
        level_id: Some(AUDIO_LEVEL_ID),
        sends: true,
        receives: true,
    };
    write_audio(&mut sdp, local, audio);
    let video = Video {
        payload_type: VIDEO,
        rtx: local.nack.then_some(VIDEO_RTX),
        nack: local.nack,
    };
    section(&mut sdp, local, "video", "1", &formats(video), "actpass");
    write_video(&mut sdp, local.codec, video);
    // As browsers do: it makes keyframes eight bytes a packet longer.
    let _ = write!(sdp, "a=extmap:5/recvonly {PLAYOUT_DELAY_URI}\r\n");
    sdp
}

/// Our answer to the server's offer: what it sends is taken. As DTLS client, we begin (RFC 8842, 5.3).
pub(in crate::crowd) fn answer(local: &Local<'_>, remote: &Remote) -> String {
    let accepted = remote
        .sections
        .iter()
        .filter(|section| section.accepted != Accepted::Nothing);
    let mut sdp = session(accepted.map(|section| &section.mid[..]));
    for offered in &remote.sections {
        match offered.accepted {
            Accepted::Audio(audio) => {
                let formats = audio.payload_type.to_string();
                section(&mut sdp, local, "audio", &offered.mid, &formats, "active");
                write_audio(&mut sdp, local, audio);
            }
            Accepted::Video(offered_video) => {
                let video = Video {
                    rtx: offered_video.rtx.filter(|_| local.nack),
                    nack: offered_video.nack && local.nack,
                    ..offered_video
                };
                section(
                    &mut sdp,
                    local,
                    "video",
                    &offered.mid,
                    &formats(video),
                    "active",
                );
                write_video(&mut sdp, local.codec, video);
            }
            Accepted::Nothing => {
                let _ = write!(
                    sdp,
                    "m={} 0 {} {}\r\nc=IN IP4 0.0.0.0\r\na=mid:{}\r\na=inactive\r\n",
                    offered.media, offered.protocol, offered.formats, offered.mid
                );
            }
        }
    }
    sdp
}

fn session<'a>(mids: impl IntoIterator<Item = &'a str>) -> String {
    /// Ours has some 1,500 bytes.
    const TYPICAL: usize = 2_048;
    let mut sdp = String::with_capacity(TYPICAL);
    let mids: Vec<&str> = mids.into_iter().collect();
    let _ = write!(
        sdp,
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE {}\r\n\
         a=extmap-allow-mixed\r\na=msid-semantic: WMS\r\n",
        mids.join(" ")
    );
    sdp
}

fn section(
    sdp: &mut String,
    local: &Local<'_>,
    media: &str,
    mid: &str,
    formats: &str,
    setup: &str,
) {
    let _ = write!(
        sdp,
        "m={media} 9 UDP/TLS/RTP/SAVPF {formats}\r\nc=IN IP4 0.0.0.0\r\na=rtcp:9 IN IP4 0.0.0.0\r\n\
         a=ice-ufrag:{}\r\na=ice-pwd:{}\r\na=ice-options:trickle\r\na=fingerprint:sha-256 {}\r\n\
         a=setup:{setup}\r\na=mid:{mid}\r\na=rtcp-mux\r\na=rtcp-rsize\r\n",
        local.credentials.ufrag, local.credentials.password, local.fingerprint
    );
}

fn write_audio(sdp: &mut String, local: &Local<'_>, audio: Audio) {
    let payload_type = audio.payload_type;
    let microphone = local.microphone.filter(|_| audio.receives);
    let direction = match (microphone.is_some(), audio.sends) {
        (true, true) => "sendrecv",
        (true, false) => "sendonly",
        (false, true) => "recvonly",
        (false, false) => "inactive",
    };
    if let Some(id) = audio.level_id {
        let _ = write!(sdp, "a=extmap:{id} {AUDIO_LEVEL_URI}\r\n");
    }
    let _ = write!(
        sdp,
        "a={direction}\r\na=rtpmap:{payload_type} opus/48000/2\r\n\
         a=fmtp:{payload_type} minptime=10;useinbandfec=1\r\n"
    );
    if let Some(ssrc) = microphone {
        let _ = write!(
            sdp,
            "a=msid:crowd microphone\r\na=ssrc:{ssrc} cname:crowd\r\na=ssrc:{ssrc} msid:crowd microphone\r\n"
        );
    }
}

fn formats(video: Video) -> String {
    match video.rtx {
        Some(rtx) => format!("{} {rtx}", video.payload_type),
        None => video.payload_type.to_string(),
    }
}

fn write_video(sdp: &mut String, codec: VideoCodec, video: Video) {
    let payload_type = video.payload_type;
    let _ = write!(
        sdp,
        "a=recvonly\r\na=rtpmap:{payload_type} {}\r\na=rtcp-fb:{payload_type} nack pli\r\n",
        codec.encoding()
    );
    if video.nack {
        let _ = write!(sdp, "a=rtcp-fb:{payload_type} nack\r\n");
    }
    let parameters = codec.parameters();
    if !parameters.is_empty() {
        let _ = write!(sdp, "a=fmtp:{payload_type} {parameters}\r\n");
    }
    if let Some(rtx) = video.rtx {
        let _ = write!(
            sdp,
            "a=rtpmap:{rtx} rtx/90000\r\na=fmtp:{rtx} apt={payload_type}\r\n"
        );
    }
}

//! The command line.

use std::time::Duration;

use avatar_viewer::VideoCodec;
use avatar_viewer::crowd::{CrowdOptions, Microphone};
use lexopt::prelude::*;

pub(crate) const USAGE: &str = "\
usage: avatar-crowd --url ws://HOST:PORT [options]

Each viewer is real: its own WebSocket, UDP socket, ICE with consent, DTLS with the fingerprints checked, SRTP
keys, receiver reports, NACK and PLI. Light is what is done with the media: batches are read from the kernel
(recvmmsg, GRO), each packet's header is looked at, and only a share of the packets is decrypted and
authenticated (and all RTCP, all retransmissions, and everything up to a viewer's first keyframe). Nothing is
decoded unless asked for. All share one certificate. Times are the kernel's, taken when a datagram reaches its
viewer's socket: how late this program looks at it is not in them.

  --url URL            signalling server; repeated: viewers are spread over them in turn
  --count N            viewers in all (1)
  --seconds S          how long to watch after all have a picture (10)
  --join-rate R        viewers started a second; 0: all at once (200)
  --connect-timeout S  the longest from a viewer's start to its first picture (20)
  --threads T          media threads (1)
  --pause-us U         look at the sockets at most once in so long while no handshake is under way; 0: whenever
                       something comes (1000)
  --codec h264|vp8|vp9 what video is offered (h264)
  --wait-for-offer     the server offers, viewers answer
  --address IP         local address of media (127.0.0.1)
  --decrypt SHARE      RTP packets authenticated and decrypted, 0 to 1 (0.015625)
  --inspect SHARE      viewers whose packets are looked at once they have a picture, 0 to 1 (1); of the others
                       datagrams and bytes are counted
  --decode N           the first N viewers decode their video, on a thread of its own (0)
  --microphone silent|noise|speech
                       each viewer sends Opus every 20 ms, with its level (RFC 6464) if the server takes that
  --flood N            the first viewer also sends N packets of NACK and PLI a second
  --no-nack            do not ask for lost packets
  --drop SHARE         RTP packets to lose on purpose, 0 to 1 (0)
  --json               print {\"event\":\"joined\",…} once all are there, {\"event\":\"report\",…} at the end";

pub(crate) struct Arguments {
    pub(crate) options: CrowdOptions,
    pub(crate) watch: Duration,
    pub(crate) json: bool,
}

impl Arguments {
    /// `None`: the usage was asked for.
    pub(crate) fn parse() -> Result<Option<Self>, lexopt::Error> {
        let mut options = CrowdOptions::new("");
        options.urls.clear();
        let mut watch = Duration::from_secs(10);
        let mut json = false;
        let mut parser = lexopt::Parser::from_env();
        while let Some(argument) = parser.next()? {
            match argument {
                Long("url") => options.urls.push(parser.value()?.string()?),
                Long("count") => options.count = parser.value()?.parse()?,
                Long("seconds") => watch = parser.value()?.parse_with(seconds)?,
                Long("join-rate") => options.join_rate = parser.value()?.parse()?,
                Long("connect-timeout") => {
                    options.connect_timeout = parser.value()?.parse_with(seconds)?;
                }
                Long("threads") => options.threads = parser.value()?.parse()?,
                Long("pause-us") => {
                    options.pause = Duration::from_micros(parser.value()?.parse()?);
                }
                Long("codec") => options.codec = parser.value()?.parse_with(codec)?,
                Long("wait-for-offer") => options.wait_for_offer = true,
                Long("address") => options.address = parser.value()?.parse()?,
                Long("decrypt") => options.decrypt = parser.value()?.parse()?,
                Long("inspect") => options.inspect = parser.value()?.parse()?,
                Long("decode") => options.decode = parser.value()?.parse()?,
                Long("microphone") => {
                    options.microphone = Some(parser.value()?.parse_with(microphone)?);
                }
                Long("flood") => options.flood = parser.value()?.parse()?,
                Long("no-nack") => options.nack = false,
                Long("drop") => options.drop_incoming = parser.value()?.parse()?,
                Long("json") => json = true,
                Long("help") | Short('h') => return Ok(None),
                _ => return Err(argument.unexpected()),
            }
        }
        Ok(Some(Self {
            options,
            watch,
            json,
        }))
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text
        .parse()
        .map_err(|_| "a number of seconds is expected")?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

fn codec(text: &str) -> Result<VideoCodec, &'static str> {
    match text {
        "h264" => Ok(VideoCodec::H264),
        "vp8" => Ok(VideoCodec::Vp8),
        "vp9" => Ok(VideoCodec::Vp9),
        _ => Err("h264, vp8 or vp9 is expected"),
    }
}

fn microphone(text: &str) -> Result<Microphone, &'static str> {
    match text {
        "silent" => Ok(Microphone::Silent),
        "noise" => Ok(Microphone::Noise),
        "speech" => Ok(Microphone::Speech),
        _ => Err("silent, noise or speech is expected"),
    }
}

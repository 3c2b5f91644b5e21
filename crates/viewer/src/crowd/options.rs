//! What a crowd is told, and why it may refuse.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use rtc_dtls::extension::extension_use_srtp::SrtpProtectionProfile;

use crate::VideoCodec;

/// What viewers say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Microphone {
    /// Digital silence, level 127: a muted microphone.
    Silent,
    /// Noise of about -50 dBov: an open microphone while nobody speaks.
    Noise,
    /// A recording of somebody who speaks, over and over.
    Speech,
}

/// How a crowd behaves. Shares are from 0 to 1.
#[derive(Debug, Clone)]
pub struct CrowdOptions {
    /// Signalling servers, such as `ws://127.0.0.1:8081`; viewers are spread over them in turn.
    pub urls: Vec<String>,
    /// Viewers that [`super::Crowd::connect`] brings.
    pub count: usize,
    /// Viewers started a second; 0 starts all at once.
    pub join_rate: f64,
    /// Media threads, at least 1.
    pub threads: usize,
    /// What video is offered.
    pub codec: VideoCodec,
    /// Whether the server offers and the viewers answer.
    pub wait_for_offer: bool,
    /// The local address for media, and the only candidate of each viewer.
    pub address: IpAddr,
    /// The share of RTP packets that are authenticated and decrypted.
    pub decrypt: f64,
    /// The share of viewers whose packets are looked at, once they have a picture. Of the others datagrams and
    /// bytes are counted.
    pub inspect: f64,
    /// So many viewers, from the first on, decode their video (H.264).
    pub decode: usize,
    /// What all of them say, if anything.
    pub microphone: Option<Microphone>,
    /// Packets of NACK and PLI a second that the first viewer sends besides.
    pub flood: u32,
    /// Whether to ask for lost packets.
    pub nack: bool,
    /// Whether to nominate every address of the server with the first check of it (aggressive nomination, RFC 5245,
    /// 8.1.1.2), then use the first one and hear nothing from the others, as Firefox does.
    pub nominate_all: bool,
    /// The share of RTP packets to throw away as if the network had lost them.
    pub drop_incoming: f64,
    /// Which of them.
    pub seed: u64,
    /// The SRTP profiles to offer, best first.
    pub srtp_profiles: Vec<SrtpProtectionProfile>,
    /// The longest that a viewer may take from its start to its first picture.
    pub connect_timeout: Duration,
    /// Media threads look at their sockets at most once in so long, unless a handshake is under way, so that one
    /// wake-up serves many datagrams. The media's times are the kernel's, taken when a datagram reaches its
    /// socket, so this does not enter them.
    pub pause: Duration,
}

impl CrowdOptions {
    /// One viewer of `url` that does as Chromium would.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            urls: vec![url.into()],
            count: 1,
            join_rate: 200.0,
            threads: 1,
            codec: VideoCodec::H264,
            wait_for_offer: false,
            address: Ipv4Addr::LOCALHOST.into(),
            decrypt: 1.0 / 64.0,
            inspect: 1.0,
            decode: 0,
            microphone: None,
            flood: 0,
            nack: true,
            nominate_all: false,
            drop_incoming: 0.0,
            seed: 0,
            srtp_profiles: vec![
                SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm,
                SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80,
            ],
            connect_timeout: Duration::from_secs(20),
            pause: Duration::from_millis(1),
        }
    }
}

/// Why there is no crowd. A viewer that does not get in is no such reason: it stands in the report.
#[derive(Debug, thiserror::Error)]
pub enum CrowdError {
    /// An option that makes no sense; which.
    #[error("{0}")]
    Option(&'static str),
    /// Two descriptors a viewer are more than the system allows.
    #[error(
        "{needed} file descriptors are needed, {limit} are allowed: raise the limit (ulimit -n)"
    )]
    Descriptors {
        /// For all viewers.
        needed: u64,
        /// The hard limit.
        limit: u64,
    },
    /// No certificate.
    #[error("cannot make a certificate: {0}")]
    Identity(String),
    /// No thread, or no poll.
    #[error("cannot start a media thread: {0}")]
    Thread(#[from] std::io::Error),
    /// No sound to send.
    #[error("cannot encode the microphone: {0}")]
    Microphone(#[from] opus::Error),
    /// A media thread ended before it was told to.
    #[error("a media thread is gone")]
    ThreadGone,
}

impl CrowdOptions {
    pub(super) fn check(&self) -> Result<(), CrowdError> {
        let share = |value: f64| (0.0..=1.0).contains(&value);
        let fault = if self.urls.is_empty() {
            "at least one URL is needed"
        } else if !share(self.decrypt) || !share(self.inspect) || !share(self.drop_incoming) {
            "shares are from 0 to 1"
        } else if self.threads == 0 {
            "at least one media thread is needed"
        } else if !(self.join_rate >= 0.0 && self.join_rate.is_finite()) {
            "the join rate is a number of viewers a second, or 0"
        } else {
            return Ok(());
        };
        Err(CrowdError::Option(fault))
    }
}

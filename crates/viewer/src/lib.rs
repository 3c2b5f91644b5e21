//! Native WebRTC viewers: the browser's part, for tests and as the load generator.
//!
//! [`Viewer::connect`] speaks to the signalling server, offers to receive H.264 and Opus (or what it is told), and then
//! writes down what comes ([`Report`]): everything, on webrtc-rs's own peer connection. One task and one UDP
//! socket a viewer; some hundred fit in a process.
//!
//! [`crowd::Crowd`] is thousands of light ones that look at every packet's header and open a stated share.
//!
//! | file | owns |
//! | --- | --- |
//! | `signalling` | the WebSocket and its messages |
//! | `peer` | the WebRTC peer, without sockets |
//! | `observer` | RTCP and RTX as they pass next to the wire |
//! | `sequence` | what was lost, late or doubled |
//! | `media` | packets → frames |
//! | `decode` | frames → pictures, packets → samples |
//! | `codec` | what can be offered |
//! | `report` | what a viewer saw |
//! | `crowd` | the light viewers |

#![forbid(unsafe_code)]
#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, reason = "tests may")
)]

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::net::UdpSocket;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite;

use peer::Peer;
use signalling::{Incoming, Signalling};

pub use codec::{AudioCodec, VideoCodec};
pub use decode::{DecodeError, Picture, decode, decode_opus};
pub use media::depacketise;
pub use report::{
    AccessUnit, Audio, AudioPacket, Feedback, MAX_KEPT, Report, SenderReport, Sequence, Times,
    Video,
};
pub use rtc::dtls::extension::extension_use_srtp::SrtpProtectionProfile;

mod codec;
pub mod crowd;
mod decode;
mod media;
mod observer;
mod peer;
mod report;
mod sequence;
mod signalling;

/// How a viewer behaves.
#[derive(Debug, Clone)]
pub struct ViewerOptions {
    /// The signalling server, such as `ws://127.0.0.1:8081`.
    pub url: String,
    /// The local address for media, and the only candidate.
    pub address: IpAddr,
    /// Whether the candidate is sent after the offer rather than in it.
    pub trickle: bool,
    /// The SRTP profiles to offer, best first.
    pub srtp_profiles: Vec<SrtpProtectionProfile>,
    /// The video to offer, best first.
    pub video_codecs: Vec<VideoCodec>,
    /// The sound to offer, best first; the first is what the microphone sends.
    pub audio_codecs: Vec<AudioCodec>,
    /// Whether reports hold the frames.
    pub keep_video: bool,
    /// Whether reports hold the packets of sound.
    pub keep_audio: bool,
    /// Whether to offer NACK and RTX, and ask for lost video packets.
    pub send_nack: bool,
    /// Whether to ask for a keyframe, as browsers do, when a frame could not be completed.
    pub pli_after_loss: bool,
    /// The share, 0 to 1, of RTP packets to throw away as if the network had lost them.
    pub drop_incoming: Option<f64>,
    /// Which of them: the same seed loses the same ones.
    pub seed: u64,
    /// Packets of 20 ms to send, from when connected on.
    pub microphone: Option<Vec<Vec<u8>>>,
    /// The level of each of those packets, in -dBov, to be offered and sent in their headers (RFC 6464).
    pub microphone_levels: Option<Vec<u8>>,
    /// Whether the media connection goes on when the server closes the WebSocket, as a page's does.
    pub outlive_signalling: bool,
    /// The longest that [`Viewer::connect`] takes.
    pub connect_timeout: Duration,
}

impl ViewerOptions {
    /// A viewer of `url` that does as Chromium would, and keeps no media.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            address: Ipv4Addr::LOCALHOST.into(),
            trickle: true,
            srtp_profiles: vec![
                SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm,
                SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80,
            ],
            video_codecs: vec![VideoCodec::H264],
            audio_codecs: vec![AudioCodec::Opus],
            keep_video: false,
            keep_audio: false,
            send_nack: true,
            pli_after_loss: true,
            drop_incoming: None,
            seed: 0,
            microphone: None,
            microphone_levels: None,
            outlive_signalling: false,
            connect_timeout: Duration::from_secs(10),
        }
    }
}

/// Why a viewer could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum ViewerError {
    /// No UDP socket.
    #[error("cannot open a UDP socket: {0}")]
    Socket(#[from] std::io::Error),
    /// No WebSocket.
    #[error("cannot reach the signalling server: {0}")]
    Signalling(#[from] Box<tungstenite::Error>),
    /// `rtc` would not.
    #[error("cannot set up the peer: {0}")]
    Peer(#[from] rtc::shared::error::Error),
    /// What was waited for did not happen; how far it got.
    #[error("nothing after {after:?}: {state}")]
    Timeout {
        /// How long it was waited for.
        after: Duration,
        /// What had happened by then.
        state: String,
    },
    /// The viewer ended before.
    #[error("the viewer ended: {0}")]
    Closed(String),
}

/// A connected viewer. It ends when it is dropped.
pub struct Viewer {
    shared: Arc<Shared>,
    controls: mpsc::Sender<Control>,
    task: JoinHandle<()>,
}

impl Viewer {
    /// Connects; resolves when DTLS is connected.
    pub async fn connect(options: ViewerOptions) -> Result<Self, ViewerError> {
        /// Nobody gives a viewer this many orders before it gets to them.
        const CONTROLS: usize = 64;
        let started = Instant::now();
        let elapsed_ms = move || started.elapsed().as_secs_f64() * 1000.0;
        let timeout = options.connect_timeout;

        let mut signalling = tokio::time::timeout(timeout, Signalling::connect(&options.url))
            .await
            .map_err(|_| ViewerError::Timeout {
                after: timeout,
                state: "the WebSocket is not open".to_owned(),
            })?
            .map_err(Box::new)?;
        let shared = Arc::<Shared>::default();
        shared.report.lock().times.websocket_ms = Some(elapsed_ms());

        let socket = UdpSocket::bind((options.address, 0)).await?;
        let mut peer = Peer::new(&options, socket.local_addr()?, started)?;
        send_offer(&mut signalling, &mut peer, options.trickle, false).await?;

        let (controls, orders) = mpsc::channel(CONTROLS);
        let driver = Driver {
            peer,
            socket,
            signalling,
            orders,
            shared: shared.clone(),
            started,
            loss: Loss::new(options.drop_incoming.unwrap_or(0.0), options.seed),
            options,
            signalling_over: false,
        };
        let viewer = Self {
            shared,
            controls,
            task: tokio::spawn(driver.run()),
        };
        viewer
            .wait_for(timeout, |report| report.times.dtls_ms.is_some())
            .await?;
        Ok(viewer)
    }

    /// Waits until `done` says so of the report.
    pub async fn wait_for(
        &self,
        timeout: Duration,
        mut done: impl FnMut(&Report) -> bool,
    ) -> Result<Report, ViewerError> {
        let deadline = tokio::time::Instant::now() + timeout;
        loop {
            let mut changed = std::pin::pin!(self.shared.changed.notified());
            changed.as_mut().enable();
            {
                let report = self.shared.report.lock();
                if done(&report) {
                    return Ok(report.clone());
                }
                if let Some(reason) = &report.closed {
                    let reasons = report.errors.iter().chain([reason]);
                    let reasons: Vec<&str> = reasons.map(String::as_str).collect();
                    return Err(ViewerError::Closed(reasons.join("; ")));
                }
            }
            if tokio::time::timeout_at(deadline, changed).await.is_err() {
                let report = self.shared.report.lock();
                return Err(ViewerError::Timeout {
                    after: timeout,
                    state: format!(
                        "{:?}, {} frames ({} incomplete), video {:?}, audio {:?}, errors {:?}",
                        report.times,
                        report.video.frames,
                        report.video.incomplete_frames,
                        report.video.sequence,
                        report.audio.sequence,
                        report.errors,
                    ),
                });
            }
        }
    }

    /// What it saw so far.
    pub fn report(&self) -> Report {
        self.shared.report.lock().clone()
    }

    /// Asks for a keyframe (PLI).
    pub async fn request_keyframe(&self) {
        self.order(Control::RequestKeyframe).await;
    }

    /// Sends a text on the data channel.
    pub async fn send_command(&self, text: impl Into<String>) {
        self.order(Control::Send(text.into())).await;
    }

    /// Offers again over the same connection, with new ICE credentials if `restart_ice`.
    pub async fn renegotiate(&self, restart_ice: bool) {
        self.order(Control::Renegotiate { restart_ice }).await;
    }

    /// Drops the media connection without a word and offers a new one (certificate, socket and all) over the
    /// same WebSocket.
    pub async fn begin_anew(&self) {
        self.order(Control::BeginAnew).await;
    }

    /// Sends bytes of the caller's own making from this viewer's address.
    pub async fn send_datagram(&self, data: Vec<u8>, to: SocketAddr) {
        self.order(Control::Datagram(data, to)).await;
    }

    /// Ends without a good-bye on any connection, as a machine that loses its power.
    pub async fn vanish(self) {
        self.task.abort();
        // An aborted task's result says no more than that.
        let _ = self.task.await;
    }

    /// Closes the connection and the WebSocket.
    pub async fn close(self) {
        self.finish().await;
    }

    /// Closes, and gives the last report.
    pub async fn finish(self) -> Report {
        self.order(Control::Close).await;
        let Self { shared, task, .. } = self;
        if let Err(error) = task.await {
            tracing::error!(%error, "a viewer's task failed");
        }
        shared.report.lock().clone()
    }

    /// A viewer that has ended takes no orders; its report says why.
    async fn order(&self, control: Control) {
        let _ = self.controls.send(control).await;
    }
}

#[derive(Default)]
struct Shared {
    report: Mutex<Report>,
    /// Notified after each change of the report.
    changed: Notify,
}

enum Control {
    RequestKeyframe,
    Send(String),
    Renegotiate { restart_ice: bool },
    BeginAnew,
    Datagram(Vec<u8>, SocketAddr),
    Close,
}

/// Makes an offer and sends it, and the candidate after it when `trickle`.
async fn send_offer(
    signalling: &mut Signalling,
    peer: &mut Peer,
    trickle: bool,
    restart_ice: bool,
) -> Result<(), ViewerError> {
    let (sdp, candidate) = peer.offer(trickle, restart_ice, Instant::now())?;
    let mut sent = signalling.offer(&sdp).await;
    if let (Ok(()), Some(candidate)) = (&sent, candidate) {
        sent = signalling.candidate(&candidate).await;
    }
    if let Err(error) = sent {
        // What the server said before it hung up is still to be read, and says more.
        tracing::debug!(%error, "the offer was not sent");
    }
    Ok(())
}

/// The task of one viewer.
struct Driver {
    peer: Peer,
    socket: UdpSocket,
    signalling: Signalling,
    orders: mpsc::Receiver<Control>,
    shared: Arc<Shared>,
    started: Instant,
    loss: Loss,
    options: ViewerOptions,
    /// The server has closed the WebSocket.
    signalling_over: bool,
}

impl Driver {
    async fn run(mut self) {
        /// No timer is set: any time far away.
        const IDLE: Duration = Duration::from_secs(3600);
        let mut timer = std::pin::pin!(tokio::time::sleep(Duration::ZERO));
        loop {
            let ended = self.process();
            self.transmit().await;
            self.shared.changed.notify_waiters();
            if ended {
                break;
            }
            let due = self.peer.poll_timeout().unwrap_or(Instant::now() + IDLE);
            if timer.deadline() != due.into() {
                timer.as_mut().reset(due.into());
            }
            tokio::select! {
                () = timer.as_mut() => {}
                readable = self.socket.readable() => match readable {
                    Ok(()) => self.receive(),
                    Err(error) => self.end(format!("the UDP socket failed: {error}")),
                },
                message = self.signalling.next(), if !self.signalling_over => self.on_message(message).await,
                order = self.orders.recv() => self.on_order(order.unwrap_or(Control::Close)).await,
            }
        }
        self.peer.close();
        self.transmit().await;
        self.signalling.close().await;
        let drops = self.socket.local_addr().map_or(0, socket_drops);
        self.shared.report.lock().socket_drops = drops;
        self.shared.changed.notify_waiters();
    }

    /// Does what is due. Whether the viewer has ended.
    fn process(&mut self) -> bool {
        let mut report = self.shared.report.lock();
        self.peer.process(&mut report, Instant::now());
        report.closed.is_some()
    }

    async fn transmit(&mut self) {
        while let Some((datagram, to)) = self.peer.poll_transmit() {
            if let Err(error) = self.socket.send_to(&datagram, to).await {
                tracing::debug!(%to, %error, "a datagram was not sent");
            }
        }
    }

    /// Takes what lies in the socket, within reason.
    fn receive(&mut self) {
        /// So many datagrams, then timers and the WebSocket have their turn.
        const BATCH: usize = 64;
        /// More than any Ethernet's datagram.
        const MTU: usize = 2048;
        let mut buffer = [0; MTU];
        let mut report = self.shared.report.lock();
        for _ in 0..BATCH {
            let Ok((length, from)) = self.socket.try_recv_from(&mut buffer) else {
                return;
            };
            let datagram = buffer.get(..length).unwrap_or_default();
            report.dtls_alerts += u64::from(is_dtls_alert(datagram));
            if is_rtp(datagram) && self.loss.next() {
                report.dropped_on_purpose += 1;
            } else {
                self.peer
                    .receive(datagram, from, &mut report, Instant::now());
            }
        }
    }

    async fn on_message(&mut self, message: Incoming) {
        let now = Instant::now();
        match message {
            Incoming::Config { peer_id } => self.shared.report.lock().peer_id = peer_id,
            Incoming::Ping => {
                if let Err(error) = self.signalling.pong().await {
                    self.end(format!("the WebSocket failed: {error}"));
                }
            }
            Incoming::Answer(sdp) => {
                let elapsed_ms = (now - self.started).as_secs_f64() * 1000.0;
                {
                    let mut report = self.shared.report.lock();
                    report.times.answer_ms.get_or_insert(elapsed_ms);
                    report.answers += 1;
                    report.answer = Some(sdp.clone());
                }
                if let Err(error) = self.peer.answer(sdp, now) {
                    self.end(format!("the answer is unusable: {error}"));
                }
            }
            Incoming::Candidate(candidate) => {
                if let Err(error) = self.peer.candidate(candidate) {
                    tracing::debug!(%error, "a candidate was refused");
                }
            }
            Incoming::Error(error) => {
                report::keep(&mut self.shared.report.lock().errors, error);
            }
            Incoming::Offer(_) | Incoming::Other => {}
            Incoming::Closed(_) if self.options.outlive_signalling => self.signalling_over = true,
            Incoming::Closed(reason) => self.end(reason),
        }
    }

    async fn on_order(&mut self, order: Control) {
        let now = Instant::now();
        match order {
            Control::RequestKeyframe => self.peer.request_keyframe(now),
            Control::Send(text) => {
                if let Err(error) = self.peer.send_text(text, now) {
                    let error = format!("the command was not sent: {error}");
                    report::keep(&mut self.shared.report.lock().errors, error);
                }
            }
            Control::Renegotiate { restart_ice } => {
                let trickle = self.options.trickle;
                let offered =
                    send_offer(&mut self.signalling, &mut self.peer, trickle, restart_ice).await;
                if let Err(error) = offered {
                    self.end(format!("no new offer: {error}"));
                }
            }
            Control::BeginAnew => {
                if let Err(error) = self.begin_anew().await {
                    self.end(format!("no new connection: {error}"));
                }
            }
            Control::Datagram(data, to) => {
                if let Err(error) = self.socket.send_to(&data, to).await {
                    tracing::debug!(%to, %error, "a datagram was not sent");
                }
            }
            Control::Close => self.end("closed by its owner".to_owned()),
        }
    }

    async fn begin_anew(&mut self) -> Result<(), ViewerError> {
        self.socket = UdpSocket::bind((self.options.address, 0)).await?;
        self.peer = Peer::new(&self.options, self.socket.local_addr()?, self.started)?;
        send_offer(
            &mut self.signalling,
            &mut self.peer,
            self.options.trickle,
            false,
        )
        .await
    }

    fn end(&self, reason: String) {
        self.shared.report.lock().closed.get_or_insert(reason);
    }
}

/// Whether a datagram is RTP rather than STUN, DTLS or RTCP (RFC 7983, RFC 5761).
fn is_rtp(datagram: &[u8]) -> bool {
    matches!(datagram, [128..=191, kind, ..] if !matches!(kind, 192..=223))
}

/// Whether a datagram begins with a DTLS alert (RFC 6347, 4.1): once connected, the good-bye.
fn is_dtls_alert(datagram: &[u8]) -> bool {
    matches!(datagram, [21, 254, ..])
}

/// Random loss that a seed repeats: SplitMix64 (Steele et al., 2014).
struct Loss {
    share: f64,
    state: u64,
}

impl Loss {
    fn new(share: f64, seed: u64) -> Self {
        Self { share, state: seed }
    }

    /// Whether the next packet is lost.
    fn next(&mut self) -> bool {
        if self.share <= 0.0 {
            return false;
        }
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        // The upper 53 bits are a fraction of 1.
        ((z >> 11) as f64 / (1u64 << 53) as f64) < self.share
    }
}

/// What the kernel dropped at a full socket: the last column of its line in `/proc/net/udp` (proc(5)).
fn socket_drops(local: SocketAddr) -> u64 {
    let path = match local {
        SocketAddr::V4(_) => "/proc/self/net/udp",
        SocketAddr::V6(_) => "/proc/self/net/udp6",
    };
    let port = format!(":{:04X}", local.port());
    let table = std::fs::read_to_string(path).unwrap_or_default();
    table
        .lines()
        .map(|line| line.split_ascii_whitespace())
        .filter(|columns| columns.clone().nth(1).is_some_and(|at| at.ends_with(&port)))
        .filter_map(|columns| columns.last()?.parse::<u64>().ok())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_rtp_is_lost_on_purpose() {
        assert!(is_rtp(&[0x80, 0x6d, 0, 1]));
        assert!(is_rtp(&[0x80, 0xed, 0, 1]));
        for other in [
            &[0x80, 200][..],
            &[0x81, 206],
            &[0x00, 0x01],
            &[22, 254],
            &[],
        ] {
            assert!(!is_rtp(other), "{other:?}");
        }
    }

    #[test]
    fn loss_has_the_share_that_was_asked_for_and_repeats() {
        let lost = |seed| {
            let mut loss = Loss::new(0.1, seed);
            (0..10_000).filter(|_| loss.next()).collect::<Vec<_>>()
        };
        assert!((900..1100).contains(&lost(1).len()));
        assert_eq!(lost(1), lost(1));
        assert_ne!(lost(1), lost(2));
    }
}

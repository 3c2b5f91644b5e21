//! The way in of one viewer: its WebSocket, offer and answer, and then its media thread.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Instant;

use rtc::peer_connection::transport::RTCIceCandidateInit;
use tokio::sync::oneshot;

use super::dtls::Identity;
use super::ice::{Credentials, HOST_PRIORITY, Ice};
use super::member::{Member, Negotiated, Role};
use super::options::CrowdOptions;
use super::sdp::{self, Local, Remote};
use super::thread::{Command, Leaving, Orders};
use crate::report::Times;
use crate::signalling::{Incoming, Signalling};

/// What one viewer is made of.
pub(super) struct Attendance {
    pub(super) role: Role,
    pub(super) url: String,
    pub(super) options: Arc<CrowdOptions>,
    pub(super) identity: Arc<Identity>,
    pub(super) orders: Orders,
    /// Told once: a picture, or why there is none.
    pub(super) joined: oneshot::Sender<Result<(), String>>,
    /// How it is to go. An owner that forgets about it closes it.
    pub(super) leave: oneshot::Receiver<Leaving>,
}

/// Joins, stays until told to leave, and leaves.
pub(super) async fn attend(attendance: Attendance) {
    let Attendance {
        role,
        url,
        options,
        identity,
        orders,
        joined,
        leave,
    } = attendance;
    let id = role.id;
    let agreed = tokio::time::timeout(options.connect_timeout, agree(&url, &options, &identity));
    let (signalling, socket, negotiated) = match agreed.await {
        Ok(Ok(agreement)) => agreement,
        Ok(Err(error)) => return drop(joined.send(Err(error))),
        Err(_) => return drop(joined.send(Err("no answer in time".to_owned()))),
    };
    let member = Member::new(role, negotiated, joined);
    if orders.give(Command::Add(Box::new(member), socket)).await {
        stay(id, signalling, &orders, leave).await;
    }
}

/// Answers the server until told to leave.
async fn stay(
    id: u64,
    mut signalling: Signalling,
    orders: &Orders,
    mut leave: oneshot::Receiver<Leaving>,
) {
    let leaving = loop {
        tokio::select! {
            leaving = &mut leave => break leaving.unwrap_or(Leaving::Closing),
            message = signalling.next() => match message {
                Incoming::Ping => {
                    if let Err(error) = signalling.pong().await {
                        tracing::debug!(viewer = id, %error, "no pong");
                    }
                }
                Incoming::Candidate(candidate) => {
                    if let Some(address) = sdp::candidate(&candidate.candidate) {
                        orders.give(Command::Candidate(id, address)).await;
                    }
                }
                Incoming::Error(error) => {
                    orders.give(Command::Fail(id, format!("the server says: {error}"))).await;
                }
                Incoming::Closed(reason) => {
                    orders.give(Command::Fail(id, reason)).await;
                    break leave.await.unwrap_or(Leaving::Closing);
                }
                _ => {}
            }
        }
    };
    orders.give(Command::Remove(id, leaving)).await;
    match leaving {
        Leaving::Closing => signalling.close().await,
        // The TCP connection stays open, unread, until the crowd goes.
        Leaving::Vanishing => std::future::pending().await,
    }
}

async fn agree(
    url: &str,
    options: &CrowdOptions,
    identity: &Identity,
) -> Result<(Signalling, UdpSocket, Negotiated), String> {
    let started = Instant::now();
    let elapsed_ms = || started.elapsed().as_secs_f64() * 1_000.0;
    let mut signalling = Signalling::connect(url)
        .await
        .map_err(|error| error.to_string())?;
    let mut times = Times {
        websocket_ms: Some(elapsed_ms()),
        ..Times::default()
    };
    let (socket, local) = bind(options)?;
    let credentials = Credentials::generate().map_err(|_| "no random numbers".to_owned())?;
    let ssrc = new_ssrc(&credentials);
    let ours = Local {
        credentials: &credentials,
        fingerprint: &identity.fingerprint,
        codec: options.codec,
        nack: options.nack,
        microphone: options.microphone.map(|_| ssrc),
    };
    let mut early = Vec::new();
    if !options.wait_for_offer {
        send(signalling.offer(&sdp::offer(&ours)).await)?;
        send(signalling.candidate(&host_candidate(local, "0")).await)?;
    }
    let theirs = description(&mut signalling, options.wait_for_offer, &mut early).await?;
    let mut remote = Remote::parse(&theirs, options.codec).map_err(|error| error.to_string())?;
    let Some(video) = &mut remote.video else {
        return Err("the server has no video for us".to_owned());
    };
    // What was not offered is not used, whatever the answer says.
    video.nack &= options.nack;
    times.answer_ms = Some(elapsed_ms());
    if options.wait_for_offer {
        send(signalling.answer(&sdp::answer(&ours, &remote)).await)?;
        let mid = remote.first_mid().to_owned();
        send(signalling.candidate(&host_candidate(local, &mid)).await)?;
    }
    let now = Instant::now();
    // The offerer controls, unless the other side cannot (RFC 8445, 6.1.1).
    let controlling = !options.wait_for_offer || remote.ice_lite;
    let mut ice = Ice::new(now, controlling, &credentials, &remote.credentials);
    ice.nominates_all = controlling && options.nominate_all;
    for address in remote.candidates.iter().copied().chain(early) {
        ice.add_remote(address, now);
    }
    let negotiated = Negotiated {
        started,
        deadline: started + options.connect_timeout,
        times,
        remote,
        ssrc,
        ice,
        port: local.port(),
    };
    Ok((signalling, socket, negotiated))
}

/// Waits for the server's offer or answer.
async fn description(
    signalling: &mut Signalling,
    wait_for_offer: bool,
    early: &mut Vec<SocketAddr>,
) -> Result<String, String> {
    /// Candidates that came before the description; what else comes by then, the checks will show.
    const MAX_EARLY: usize = 16;
    loop {
        match signalling.next().await {
            Incoming::Offer(sdp) if wait_for_offer => return Ok(sdp),
            Incoming::Answer(sdp) if !wait_for_offer => return Ok(sdp),
            Incoming::Ping => send(signalling.pong().await)?,
            Incoming::Candidate(candidate) if early.len() < MAX_EARLY => {
                early.extend(sdp::candidate(&candidate.candidate));
            }
            Incoming::Error(error) => return Err(format!("the server says: {error}")),
            Incoming::Closed(reason) => return Err(reason),
            _ => {}
        }
    }
}

fn bind(options: &CrowdOptions) -> Result<(UdpSocket, SocketAddr), String> {
    let bound =
        UdpSocket::bind((options.address, 0)).and_then(|socket| Ok((socket.local_addr()?, socket)));
    let (local, socket) = bound.map_err(|error| format!("no UDP socket: {error}"))?;
    Ok((socket, local))
}

fn send(sent: Result<(), tokio_tungstenite::tungstenite::Error>) -> Result<(), String> {
    sent.map_err(|error| format!("the WebSocket failed: {error}"))
}

/// As random as the password that it is taken from, and not to be told apart from it by anybody else.
fn new_ssrc(credentials: &Credentials) -> u32 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(&credentials.password) as u32
}

fn host_candidate(local: SocketAddr, mid: &str) -> RTCIceCandidateInit {
    let (ip, port) = (local.ip(), local.port());
    RTCIceCandidateInit {
        candidate: format!("candidate:1 1 udp {HOST_PRIORITY} {ip} {port} typ host"),
        sdp_mid: Some(mid.to_owned()),
        sdp_mline_index: Some(0),
        ..Default::default()
    }
}

//! What strangers and broken clients send must not reach anyone else.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod support;

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use avatar_core::event::{Event, PeerId};
use avatar_viewer::{Report, Viewer};
use futures_util::{SinkExt, StreamExt};
use ring::hmac;
use serde_json::{Value, json};
use support::{PATIENCE, Renderer, System, eventually, more_frames, peer_id};
use tokio_tungstenite::tungstenite::Message;

const REQUEST: u16 = 0x0001;
const INDICATION: u16 = 0x0011;
const SUCCESS: u16 = 0x0101;
const USERNAME: u16 = 0x0006;
const MESSAGE_INTEGRITY: u16 = 0x0008;
const PRIORITY: u16 = 0x0024;
const USE_CANDIDATE: u16 = 0x0025;
const ICE_CONTROLLED: u16 = 0x8029;
const ICE_CONTROLLING: u16 = 0x802a;

/// A STUN message (RFC 8489) as a connectivity check has it, sealed with `password` if there is one.
fn stun(kind: u16, attributes: &[u16], username: &str, password: Option<&str>) -> Vec<u8> {
    let mut body = Vec::new();
    let mut attribute = |kind: u16, value: &[u8]| {
        body.extend(kind.to_be_bytes());
        body.extend((value.len() as u16).to_be_bytes());
        body.extend(value);
        body.resize(body.len().next_multiple_of(4), 0);
    };
    attribute(USERNAME, username.as_bytes());
    attribute(PRIORITY, &[0x6e, 0, 1, 0xff]);
    for &kind in attributes {
        // A tie-breaker of 0 or of the largest number wins one of the two conflicts.
        match kind {
            ICE_CONTROLLED => attribute(kind, &[0; 8]),
            ICE_CONTROLLING => attribute(kind, &[0xff; 8]),
            _ => attribute(kind, &[]),
        }
    }
    let sealed = body.len() + if password.is_some() { 24 } else { 0 };
    let mut message = Vec::new();
    message.extend(kind.to_be_bytes());
    message.extend((sealed as u16).to_be_bytes());
    message.extend(0x2112_a442u32.to_be_bytes());
    message.extend(PeerId::new_v4().as_bytes().iter().take(12));
    message.extend(body);
    if let Some(password) = password {
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, password.as_bytes());
        let tag = hmac::sign(&key, &message);
        message.extend(MESSAGE_INTEGRITY.to_be_bytes());
        message.extend(20u16.to_be_bytes());
        message.extend(tag.as_ref());
    }
    message
}

/// What an eavesdropper on a peer's signalling knows.
struct Session {
    username: String,
    password: String,
}

impl Session {
    fn of(system: &System, viewer: &Viewer) -> Self {
        let offer = offer_of(system, viewer);
        Self::new(&offer, &viewer.report().answer.unwrap())
    }

    fn new(offer: &str, answer: &str) -> Self {
        let field = |sdp: &str, name: &str| {
            let line = sdp.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap().to_owned()
        };
        let (ours, theirs) = (field(answer, "a=ice-ufrag:"), field(offer, "a=ice-ufrag:"));
        Self {
            username: format!("{ours}:{theirs}"),
            password: field(answer, "a=ice-pwd:"),
        }
    }
}

/// The SDP that a viewer offered.
fn offer_of(system: &System, viewer: &Viewer) -> String {
    let id = peer_id(viewer);
    system.event(|event| match event {
        Event::Offer { peer, offer } if peer == id => offer["sdp"].as_str().map(str::to_owned),
        _ => None,
    })
}

/// The first message of a DTLS 1.2 handshake (RFC 6347, 4.2.1), as a browser might send it.
fn client_hello() -> Vec<u8> {
    let mut body = vec![254, 253];
    body.extend([7; 32]);
    // No session, no cookie, two cipher suites, no compression.
    body.extend([0, 0, 0, 4, 0xc0, 0x2b, 0xc0, 0x2f, 1, 0]);
    let extensions: [&[u8]; 5] = [
        &[0, 10, 0, 6, 0, 4, 0, 29, 0, 23],  // supported_groups
        &[0, 11, 0, 2, 1, 0],                // ec_point_formats
        &[0, 13, 0, 4, 0, 2, 4, 3],          // signature_algorithms
        &[0, 14, 0, 7, 0, 4, 0, 7, 0, 1, 0], // use_srtp
        &[0, 23, 0, 0],                      // extended_master_secret
    ];
    let extensions = extensions.concat();
    body.extend((extensions.len() as u16).to_be_bytes());
    body.extend(extensions);
    let length = (body.len() as u32).to_be_bytes();
    let mut record = vec![22, 254, 255, 0, 0, 0, 0, 0, 0, 0, 0];
    record.extend((12 + body.len() as u16).to_be_bytes());
    record.push(1);
    record.extend(&length[1..]);
    record.extend([0, 0, 0, 0, 0]);
    record.extend(&length[1..]);
    record.extend(body);
    record
}

/// A machine that nobody invited.
struct Stranger {
    socket: UdpSocket,
    victim: SocketAddr,
}

impl Stranger {
    fn new(victim: SocketAddr) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket
            .set_read_timeout(Some(Duration::from_millis(500)))
            .unwrap();
        Self { socket, victim }
    }

    fn send(&self, data: &[u8]) {
        self.socket.send_to(data, self.victim).unwrap();
    }

    /// The next datagram, if one comes.
    fn receive(&self) -> Option<Vec<u8>> {
        let mut buffer = [0; 2_048];
        let length = self.socket.recv(&mut buffer).ok()?;
        Some(buffer[..length].to_vec())
    }
}

/// Bytes that look random; the same for the same seed.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..length)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 24) as u8
        })
        .collect()
}

/// Datagrams of every protocol on the port, none of them good.
fn garbage() -> Vec<Vec<u8>> {
    let mut all = vec![Vec::new(), vec![0; 65_000]];
    for seed in 0..600 {
        let mut data = noise(seed, 1 + (seed as usize * 37) % 1_300);
        // Once as it is, else as STUN, as DTLS, as RTP and as RTCP.
        match seed % 6 {
            1 => data[0] = 0,
            2 => data[0] = 20 + (seed / 6 % 6) as u8,
            3 => data[0] = 128,
            4 => data
                .splice(..1, [129, 200 + (seed / 6 % 7) as u8])
                .for_each(drop),
            5 => {
                // A STUN header that is right, then attributes that are not.
                let mut header = vec![0, 1];
                header.extend((data.len() as u16).to_be_bytes());
                header.extend(0x2112_a442u32.to_be_bytes());
                header.extend(noise(seed, 12));
                data.splice(..0, header).for_each(drop);
            }
            _ => {}
        }
        all.push(data);
    }
    // Fragments of a ClientHello that never fit together, and alerts outside of any epoch.
    for part in 0..20u8 {
        let mut fragment = vec![22, 254, 253, 0, 0, 0, 0, 0, 0, 0, part, 0, 32];
        fragment.extend([1, 0, 1, 0, 0, part, 0, part, 0, 0, 0, 20]);
        fragment.extend(noise(u64::from(part), 20));
        all.push(fragment);
    }
    for alert in [[1, 0], [2, 40], [2, 0]] {
        let mut record = vec![21, 254, 253, 0, 0, 0, 0, 0, 0, 0, 99, 0, 2];
        record.extend(alert);
        all.push(record);
    }
    all
}

/// A viewer who is to notice nothing of it all.
async fn watcher(system: &System) -> Viewer {
    let viewer = system.viewer().await;
    more_frames(&viewer, 10).await;
    viewer
}

fn assert_undisturbed(report: &Report) {
    assert_eq!(
        (
            report.video.sequence.lost,
            report.video.incomplete_frames,
            report.audio.sequence.lost
        ),
        (0, 0, 0)
    );
    let longest = report
        .video
        .intervals_ms
        .iter()
        .copied()
        .fold(0.0, f32::max);
    assert!(longest < 1_000.0, "no frame for {longest:.0} ms");
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_from_strangers_disturbs_nobody() {
    let system = System::start(json!({}));
    let _renderer = Renderer::start(&system.source, 30);
    let viewer = watcher(&system).await;
    for _ in 0..10 {
        let stranger = Stranger::new(system.media_address());
        garbage().iter().for_each(|data| stranger.send(data));
    }
    assert_undisturbed(&more_frames(&viewer, 30).await);
    more_frames(&system.viewer().await, 5).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_from_a_peers_own_address_disturbs_nobody() {
    let system = System::start(json!({}));
    let _renderer = Renderer::start(&system.source, 30);
    let (viewer, mouth) = (watcher(&system).await, watcher(&system).await);
    for data in garbage() {
        mouth.send_datagram(data, system.media_address()).await;
    }
    assert_undisturbed(&more_frames(&viewer, 30).await);
    // A forged datagram does not even harm the one whose address it bears.
    assert_undisturbed(&more_frames(&mouth, 30).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_who_knows_the_password_is_answered() {
    let system = System::start(json!({}));
    let _renderer = Renderer::start(&system.source, 30);
    let viewer = watcher(&system).await;
    let Session { username, password } = Session::of(&system, &viewer);
    let swapped = username.split(':').rev().collect::<Vec<_>>().join(":");
    let stranger = Stranger::new(system.media_address());
    for role in [ICE_CONTROLLING, ICE_CONTROLLED] {
        let role = &[role, USE_CANDIDATE];
        for kind in [REQUEST, INDICATION, SUCCESS] {
            stranger.send(&stun(kind, role, &username, None));
            stranger.send(&stun(kind, role, &username, Some("wrong")));
            stranger.send(&stun(kind, role, "nobody:nobody", Some(&password)));
            stranger.send(&stun(kind, role, &swapped, Some(&password)));
        }
    }
    assert_eq!(stranger.receive(), None);
    // That the checks are well made: with the password there is an answer.
    for attributes in [&[ICE_CONTROLLING][..], &[ICE_CONTROLLING, USE_CANDIDATE]] {
        stranger.send(&stun(REQUEST, attributes, &username, Some(&password)));
    }
    // Nor does that alone lead media there: the address has not answered a check of ours.
    let until = Instant::now() + Duration::from_secs(1);
    let mut answered = false;
    while Instant::now() < until {
        let data = stranger.receive().unwrap_or_default();
        answered |= data.starts_with(&SUCCESS.to_be_bytes());
        assert!(
            data.first().is_none_or(|first| *first < 4),
            "media went astray"
        );
    }
    assert!(answered);
    assert_undisturbed(&more_frames(&viewer, 30).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_with_a_known_ufrag_does_not_take_a_path() {
    let system = System::start(json!({}));
    let _renderer = Renderer::start(&system.source, 30);
    let viewer = watcher(&system).await;
    let Session { username, .. } = Session::of(&system, &viewer);
    let stranger = Stranger::new(system.media_address());
    for round in 0..200 {
        let role = &[[ICE_CONTROLLING, ICE_CONTROLLED][round % 2], USE_CANDIDATE];
        let kind = [REQUEST, INDICATION, SUCCESS][round % 3];
        stranger.send(&stun(kind, role, &username, Some("guess")));
        stranger.send(&stun(kind, role, &username, None));
        for data in garbage().iter().skip(round).step_by(50) {
            stranger.send(data);
        }
    }
    assert_undisturbed(&more_frames(&viewer, 60).await);
    assert_eq!(stranger.receive(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn keyframe_requests_without_end_cost_few_keyframes() {
    let system = System::start(json!({}));
    let _renderer = Renderer::start(&system.source, 30);
    let (viewer, flooder) = (watcher(&system).await, watcher(&system).await);
    let before = viewer.report().video.keyframes;
    let began = Instant::now();
    let flood = async {
        loop {
            flooder.request_keyframe().await;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let report = tokio::select! {
        report = more_frames(&viewer, 90) => report,
        () = flood => unreachable!(),
    };
    assert_undisturbed(&report);
    // The gap between keyframes grows to a second: 0, 0.2, 0.6, 1.4 s, then one a second.
    let most = 4 + began.elapsed().as_secs();
    let made = report.video.keyframes - before;
    assert!((1..=most).contains(&made), "{made} keyframes");
}

#[tokio::test(flavor = "multi_thread")]
async fn viewers_who_come_and_go_disturb_nobody() {
    let system = System::start(json!({}));
    let _renderer = Renderer::start(&system.source, 30);
    let viewer = watcher(&system).await;
    for round in 0..30 {
        let guest = system.viewer().await;
        match round % 3 {
            0 => guest.close().await,
            1 => guest.vanish().await,
            _ => {
                more_frames(&guest, 1).await;
            }
        }
    }
    assert_undisturbed(&more_frames(&viewer, 30).await);
    eventually("the guests are gone", || system.server.peer_count() == 1).await;
}

/// A client that speaks signalling and no WebRTC.
struct Client(
    tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<tokio::net::TcpStream>>,
);

impl Client {
    /// Connects, and reads the greeting.
    async fn new(system: &System) -> Self {
        let url = format!("ws://127.0.0.1:{}", system.port);
        let (socket, _) = tokio_tungstenite::connect_async(url).await.unwrap();
        let mut client = Self(socket);
        assert_eq!(client.next().await["type"], "config");
        client
    }

    async fn send(&mut self, message: Value) {
        let text = Message::text(message.to_string());
        self.0.send(text).await.unwrap();
    }

    async fn next(&mut self) -> Value {
        let message = tokio::time::timeout(PATIENCE, self.0.next()).await;
        let text = message.unwrap().unwrap().unwrap().into_text().unwrap();
        serde_json::from_str(&text).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_offers_and_candidates_are_told_and_the_connection_is_kept() {
    let system = System::start(json!({}));
    let _renderer = Renderer::start(&system.source, 30);
    let viewer = watcher(&system).await;
    let good = offer_of(&system, &viewer);
    let mut client = Client::new(&system).await;
    let without = |line: &str| {
        let kept = good.lines().filter(|kept| !kept.starts_with(line));
        kept.map(|line| format!("{line}\r\n")).collect::<String>()
    };
    let half = &good[..good.len() / 3];
    for sdp in [
        "",
        "v=0",
        "garbage",
        half,
        &without("a=ice-ufrag"),
        &without("a=ice-pwd"),
        &without("a=fingerprint"),
        &without("m="),
        &"v=0\r\n".repeat(2_000),
    ] {
        client
            .send(json!({"type": "offer", "data": {"type": "offer", "sdp": sdp}}))
            .await;
        let reply = client.next().await;
        assert_eq!(reply["type"], "error", "{reply} to {sdp:.80}");
    }
    for candidate in [json!(3), json!("x"), json!({"candidate": "garbage"})] {
        client
            .send(json!({"type": "ice-candidate", "data": candidate}))
            .await;
        assert_eq!(client.next().await["type"], "error", "{candidate}");
    }
    // Good candidates without any offer lead nowhere, and far too many do no harm.
    for port in 1..300 {
        let line = format!("candidate:1 1 udp 1 127.0.0.1 {port} typ host");
        client
            .send(json!({"type": "ice-candidate", "data": {"candidate": line, "sdpMid": "0"}}))
            .await;
    }
    client
        .send(json!({"type": "offer", "data": {"type": "offer", "sdp": good}}))
        .await;
    assert_eq!(client.next().await["type"], "answer");
    assert_undisturbed(&more_frames(&viewer, 30).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn dtls_is_spoken_only_with_an_address_that_a_check_proved() {
    const HANDSHAKE: u8 = 22;
    let system = System::start(json!({}));
    let offer = offer_of(&system, &system.viewer().await);
    let mut client = Client::new(&system).await;
    client
        .send(json!({"type": "offer", "data": {"type": "offer", "sdp": offer}}))
        .await;
    let answer = client.next().await;
    let Session { username, password } =
        Session::new(&offer, answer["data"]["sdp"].as_str().unwrap());
    let stranger = Stranger::new(system.media_address());
    stranger.send(&client_hello());
    for password in [None, Some("wrong")] {
        for kind in [REQUEST, INDICATION, SUCCESS] {
            let attributes = &[ICE_CONTROLLING, USE_CANDIDATE];
            stranger.send(&stun(kind, attributes, &username, password));
            stranger.send(&client_hello());
        }
    }
    assert_eq!(stranger.receive(), None);
    stranger.send(&stun(
        REQUEST,
        &[ICE_CONTROLLING],
        &username,
        Some(&password),
    ));
    // Repeated, as clients do: the first may overtake its check on the way to the thread whose peer it is.
    eventually("a reply to the ClientHello", || {
        stranger.send(&client_hello());
        let data = stranger.receive().unwrap_or_default();
        data.first() == Some(&HANDSHAKE)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_never_offer_are_there_and_then_gone() {
    let system = System::start(json!({}));
    let mut idle = Vec::new();
    for _ in 0..20 {
        idle.push(Client::new(&system).await);
    }
    assert_eq!(system.server.peer_count(), 20);
    let _renderer = Renderer::start(&system.source, 30);
    let viewer = watcher(&system).await;
    drop(idle);
    eventually("the idle are gone", || system.server.peer_count() == 1).await;
    assert_undisturbed(&more_frames(&viewer, 10).await);
}

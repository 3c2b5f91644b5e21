//! The whole room over real sockets.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Map, Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};

use super::*;
use crate::config::Audience;
use crate::error::StartError;
use crate::event::PeerId;
use crate::viewer_statistics::ViewerStatistics;

const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Debug, Clone, PartialEq)]
enum Seen {
    Connected(PeerId, ClientInfo),
    Offer(PeerId, Value),
    Answer(PeerId, Value),
    Candidate(PeerId, Value),
    Resumed(PeerId, ClientInfo),
    Statistics(PeerId, Box<ViewerStatistics>),
    Disconnected(PeerId, String),
}

struct Recorder(mpsc::UnboundedSender<Seen>);

impl Recorder {
    fn record(&self, seen: Seen) {
        self.0.send(seen).ok();
    }
}

impl Delegate for Recorder {
    fn config(&self, _: PeerId) -> Map<String, Value> {
        let data = json!({"iceServers": [{"urls": ["stun:a"]}], "videoCodec": "auto", "audioCodec": "opus"});
        data.as_object().unwrap().clone()
    }
    fn is_lost(&self, _: PeerId) -> bool {
        false
    }
    fn away(&self, _: PeerId) {}
    fn resumed(&self, peer: PeerId, client: ClientInfo) {
        self.record(Seen::Resumed(peer, client));
    }
    fn statistics(&self, peer: PeerId, told: ViewerStatistics) {
        self.record(Seen::Statistics(peer, Box::new(told)));
    }
    fn dashboard(&self) -> String {
        "{}".to_owned()
    }
    fn connected(&self, peer: PeerId, client: ClientInfo, _: Option<String>) {
        self.record(Seen::Connected(peer, client));
    }
    fn offer(&self, peer: PeerId, offer: Value) {
        self.record(Seen::Offer(peer, offer));
    }
    fn answer(&self, peer: PeerId, answer: Value) {
        self.record(Seen::Answer(peer, answer));
    }
    fn candidate(&self, peer: PeerId, candidate: Value) {
        self.record(Seen::Candidate(peer, candidate));
    }
    fn disconnected(&self, peer: PeerId, reason: String) {
        self.record(Seen::Disconnected(peer, reason));
    }
    fn metrics(&self) -> String {
        "avatar_peers 7\n".to_owned()
    }
}

struct Server {
    server: SignallingServer,
    seen: mpsc::UnboundedReceiver<Seen>,
}

fn config(port: u16) -> SignallingConfig {
    SignallingConfig {
        host: Some(LOCALHOST),
        port,
        max_clients: 100,
        dashboard: Audience::Loopback,
    }
}

fn start(config: SignallingConfig) -> Result<Server, StartError> {
    let (sender, seen) = mpsc::unbounded_channel();
    let server = SignallingServer::bind(config, &Handle::current(), Arc::new(Recorder(sender)))?;
    Ok(Server { server, seen })
}

impl Server {
    fn any() -> Self {
        start(config(0)).unwrap()
    }

    fn address(&self) -> SocketAddr {
        SocketAddr::new(LOCALHOST, self.server.port())
    }

    async fn seen(&mut self) -> Seen {
        timeout(PATIENCE, self.seen.recv()).await.unwrap().unwrap()
    }

    async fn disconnected(&mut self) -> String {
        match self.seen().await {
            Seen::Disconnected(_, reason) => reason,
            other => panic!("{other:?}"),
        }
    }

    /// A client whose `config` message is read.
    async fn client(&mut self) -> Client {
        let mut client = Client::connect(self.address(), "/").await;
        let config = client.json().await;
        client.peer = config["peerId"].as_str().unwrap().parse().unwrap();
        assert!(matches!(self.seen().await, Seen::Connected(peer, _) if peer == client.peer));
        client
    }

    async fn http(&self, request: &str) -> String {
        http(self.address(), request.as_bytes()).await
    }

    async fn get(&self, path: &str) -> String {
        self.http(&format!(
            "GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        ))
        .await
    }
}

async fn http(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut response = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut response))
        .await
        .unwrap()
        .unwrap();
    String::from_utf8(response).unwrap()
}

struct Client {
    peer: PeerId,
    socket: WebSocketStream<TcpStream>,
}

impl Client {
    async fn connect(address: SocketAddr, path: &str) -> Self {
        Self::over(TcpStream::connect(address).await.unwrap(), address, path).await
    }

    async fn over(stream: TcpStream, address: SocketAddr, path: &str) -> Self {
        let (socket, _) = client_async(format!("ws://{address}{path}"), stream)
            .await
            .unwrap();
        Self {
            peer: PeerId::nil(),
            socket,
        }
    }

    async fn next(&mut self) -> Option<Message> {
        timeout(PATIENCE, self.socket.next())
            .await
            .unwrap()
            .map(Result::unwrap)
    }

    async fn json(&mut self) -> Value {
        let message = self.next().await.unwrap();
        serde_json::from_str(message.to_text().unwrap()).unwrap()
    }

    async fn error(&mut self) -> String {
        let message = self.json().await;
        assert_eq!(message["type"], "error");
        message["error"].as_str().unwrap().to_owned()
    }

    /// Reads up to the close frame, then to the end.
    async fn close_code(&mut self) -> (u16, String) {
        let closed = loop {
            if let Message::Close(frame) = self.next().await.unwrap() {
                break frame.unwrap();
            }
        };
        assert_eq!(self.next().await, None, "the server closes first");
        (closed.code.into(), closed.reason.to_string())
    }

    async fn send(&mut self, message: impl ToString) {
        let text = message.to_string();
        self.socket.send(Message::Text(text.into())).await.unwrap();
    }
}

#[tokio::test]
async fn the_first_message_is_the_config() {
    let mut server = Server::any();
    let mut client = Client::connect(server.address(), "/").await;
    let first = client.json().await;
    let Seen::Connected(peer, info) = server.seen().await else {
        panic!("connected comes first")
    };
    assert_eq!(peer.get_version_num(), 4);
    let data = json!({
        "iceServers": [{"urls": ["stun:a"]}],
        "videoCodec": "auto",
        "audioCodec": "opus",
    });
    assert_eq!(
        first,
        json!({"type": "config", "peerId": peer.to_string(), "data": data})
    );
    assert_eq!(info.remote, client.socket.get_ref().local_addr().unwrap());
    assert_eq!(info.local, Some(server.address()));
}

#[tokio::test]
async fn a_websocket_is_accepted_at_any_path() {
    let server = Server::any();
    for path in ["/", "/ws", "/a/b?c=d", "/webrtc-client.js", "/healthz"] {
        let mut client = Client::connect(server.address(), path).await;
        assert_eq!(client.json().await["type"], "config");
    }
}

#[tokio::test]
async fn a_dual_stack_server_writes_ipv4_addresses_as_such() {
    let mut server = start(SignallingConfig {
        host: None,
        ..config(0)
    })
    .unwrap();
    server.client().await;
    server.disconnected().await;
    let _client = Client::connect(server.address(), "/").await;
    let Seen::Connected(_, info) = server.seen().await else {
        panic!("connected comes first")
    };
    assert_eq!(info.remote.ip(), LOCALHOST);
    assert_eq!(info.local, Some(server.address()));
}

#[tokio::test]
async fn what_a_client_sends_reaches_the_delegate_in_order_as_it_was_sent() {
    let mut server = Server::any();
    let mut client = server.client().await;
    let peer = client.peer;
    let offer = json!({"type": "offer", "sdp": "v=0\r\n", "more": 1});
    let answer = json!({"type": "answer", "sdp": "v=0"});
    let candidate = json!({"candidate": "candidate:1", "sdpMid": "0", "sdpMLineIndex": 0});
    client.send(json!({"type": "offer", "data": offer})).await;
    client
        .send(json!({"type": "ice-candidate", "data": candidate}))
        .await;
    client
        .send(json!({"type": "ice-candidate", "data": null}))
        .await;
    client.send(json!({"type": "pong"})).await;
    client.send(json!({"type": "answer", "data": answer})).await;
    assert_eq!(server.seen().await, Seen::Offer(peer, offer));
    assert_eq!(server.seen().await, Seen::Candidate(peer, candidate));
    assert_eq!(server.seen().await, Seen::Candidate(peer, Value::Null));
    assert_eq!(server.seen().await, Seen::Answer(peer, answer));
}

#[tokio::test]
async fn what_the_server_sends_reaches_the_client() {
    let mut server = Server::any();
    let mut client = server.client().await;
    let peer = client.peer;
    assert!(server.server.send(peer, ServerMessage::answer(peer, "v=0")));
    assert!(server.server.send(
        peer,
        ServerMessage::ice_candidate(peer, json!({"candidate": "c"}))
    ));
    assert_eq!(
        client.json().await,
        json!({"type": "answer", "peerId": peer.to_string(), "data": {"type": "answer", "sdp": "v=0"}})
    );
    assert_eq!(
        client.json().await,
        json!({"type": "ice-candidate", "peerId": peer.to_string(), "data": {"candidate": "c"}})
    );
    assert!(!server.server.send(PeerId::nil(), ServerMessage::Ping));
}

#[tokio::test]
async fn unusable_messages_are_answered_and_the_connection_kept() {
    let mut server = Server::any();
    let mut client = server.client().await;
    client.send("not json").await;
    assert_eq!(client.error().await, "Invalid message format");
    client.send(json!({"type": "dance"})).await;
    assert!(client.error().await.contains("`type` \"dance\""));
    client.send(json!({"type": "offer"})).await;
    assert!(client.error().await.contains("`data` of offer"));
    client
        .socket
        .send(Message::Binary(vec![0; 100].into()))
        .await
        .unwrap();
    assert_eq!(
        client.error().await,
        "binary messages are not supported: send JSON text"
    );
    client
        .send(json!({"type": "answer", "data": {"sdp": ""}}))
        .await;
    assert!(matches!(server.seen().await, Seen::Answer(..)));
}

#[tokio::test]
async fn one_client_too_many_is_told_and_closed_and_never_seen() {
    let mut server = start(SignallingConfig {
        max_clients: 1,
        ..config(0)
    })
    .unwrap();
    let first = server.client().await;
    let mut second = Client::connect(server.address(), "/").await;
    assert_eq!(
        second.json().await,
        json!({"type": "error", "error": "Server full"})
    );
    assert_eq!(second.close_code().await, (1013, "Server full".to_owned()));
    drop(first);
    assert!(matches!(server.seen().await, Seen::Disconnected(..)));
    server.client().await;
}

#[tokio::test]
async fn a_message_over_64_kib_closes_with_1009_which_reaches_the_client() {
    let mut server = Server::any();
    let mut client = server.client().await;
    client.send("x".repeat(65_536)).await;
    assert_eq!(client.error().await, "Invalid message format");
    // Far more than the kernel's buffers: the client is still writing when it is refused.
    let (mut sink, mut stream) = client.socket.split();
    let writing = tokio::spawn(async move {
        let message = "x".repeat(20_000_000);
        sink.send(Message::Text(message.into())).await
    });
    let message = timeout(PATIENCE, stream.next()).await.unwrap().unwrap();
    let Ok(Message::Close(Some(frame))) = message else {
        panic!("{message:?}")
    };
    assert_eq!(u16::from(frame.code), 1009);
    assert_eq!(server.disconnected().await, "message too large");
    writing.await.unwrap().ok();
    // A message in pieces has the same limit.
    let mut client = server.client().await;
    use tokio_tungstenite::tungstenite::protocol::frame::Frame;
    use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
    for kind in [Data::Text, Data::Continue] {
        let frame = Frame::message(vec![b'x'; 40_000], OpCode::Data(kind), false);
        client.socket.send(Message::Frame(frame)).await.unwrap();
    }
    assert_eq!(client.close_code().await.0, 1009);
}

#[tokio::test]
async fn a_client_that_leaves_is_reported_once_with_the_reason() {
    let mut server = Server::any();
    let mut client = server.client().await;
    client.socket.close(None).await.unwrap();
    while client.next().await.is_some() {}
    assert_eq!(
        server.seen().await,
        Seen::Disconnected(client.peer, "closed by client".to_owned())
    );
    let client = server.client().await;
    client.socket.get_ref().set_zero_linger().unwrap();
    drop(client);
    let reason = server.disconnected().await;
    assert!(reason.starts_with("connection lost: "), "{reason}");
    assert_eq!(server.server.client_count(), 0);
    server.server.stop().await;
    assert!(server.seen.try_recv().is_err(), "reported twice");
}

#[tokio::test]
async fn a_peer_that_is_closed_gets_what_was_sent_before_and_the_reason() {
    let mut server = Server::any();
    let mut client = server.client().await;
    let reason = "é".repeat(100);
    server
        .server
        .send(client.peer, ServerMessage::error("goodbye"));
    server.server.close(client.peer, &reason);
    server.server.close(PeerId::nil(), "nobody");
    assert_eq!(client.error().await, "goodbye");
    assert_eq!(client.close_code().await, (4403, "é".repeat(61)));
    assert_eq!(server.disconnected().await, reason);
}

#[tokio::test]
async fn a_flooding_client_is_closed_and_others_do_not_notice() {
    let mut server = Server::any();
    let mut other = server.client().await;
    let mut client = server.client().await;
    for _ in 0..2_000 {
        if client.socket.send(Message::text("{}")).await.is_err() {
            break;
        }
    }
    assert_eq!(
        client.close_code().await,
        (1008, "too many messages".to_owned())
    );
    assert_eq!(server.disconnected().await, "too many messages");
    other.send("x").await;
    assert_eq!(other.error().await, "Invalid message format");
}

#[tokio::test]
async fn broadcast_reaches_every_client_as_it_is() {
    let mut server = Server::any();
    let mut clients = [server.client().await, server.client().await];
    let message = json!({"type": "mood", "data": [1, {"a": null}]});
    server.server.broadcast(&message);
    for client in &mut clients {
        assert_eq!(client.json().await, message);
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_is_closed_and_others_do_not_notice() {
    let mut server = Server::any();
    let mut other = server.client().await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let stream = socket.connect(server.address()).await.unwrap();
    let mut silent = Client::over(stream, server.address(), "/").await;
    silent.json().await;
    assert!(matches!(server.seen().await, Seen::Connected(..)));
    let message = json!({"type": "big", "data": "x".repeat(60_000)});
    let deadline = Instant::now() + PATIENCE;
    while server.server.client_count() > 1 {
        assert!(Instant::now() < deadline, "the queue has no bound");
        server.server.broadcast(&message);
        assert_eq!(other.json().await, message);
    }
    assert_eq!(server.disconnected().await, "too slow");
    drop(silent);
}

#[tokio::test]
async fn two_servers_cannot_share_a_port() {
    let server = Server::any();
    let error = start(config(server.server.port())).err().unwrap();
    assert_eq!(error.code(), "EADDRINUSE");
    assert!(error.to_string().starts_with(&format!(
        "cannot listen on signalling port 127.0.0.1:{}: ",
        server.server.port()
    )));
    let everywhere = SignallingConfig {
        host: None,
        ..config(server.server.port())
    };
    assert_eq!(start(everywhere).err().unwrap().code(), "EADDRINUSE");
}

#[tokio::test]
async fn stop_closes_clients_and_frees_the_port_at_once() {
    let mut port = 0;
    for _ in 0..3 {
        let mut server = start(config(port)).unwrap();
        port = server.server.port();
        let mut client = server.client().await;
        let peer = client.peer;
        let reading = tokio::spawn(async move { client.close_code().await });
        server.server.stop().await;
        server.server.stop().await;
        assert_eq!(reading.await.unwrap(), (1001, "server stopping".to_owned()));
        assert_eq!(
            server.seen.try_recv().unwrap(),
            Seen::Disconnected(peer, "server stopping".to_owned()),
            "said before stop() returns"
        );
        assert!(TcpStream::connect(server.address()).await.is_err());
    }
}

#[tokio::test]
async fn stop_does_not_wait_for_clients_that_do_not_read() {
    let mut server = Server::any();
    let silent = server.client().await;
    let _half_a_request = TcpStream::connect(server.address()).await.unwrap();
    let begun = Instant::now();
    server.server.stop().await;
    assert!(begun.elapsed() < Duration::from_secs(3));
    assert_eq!(server.disconnected().await, "server stopping");
    drop(server.server);
    assert!(
        server
            .seen
            .try_recv()
            .is_err_and(|error| error == mpsc::error::TryRecvError::Disconnected),
        "the delegate is let go"
    );
    drop(silent);
}

#[tokio::test]
async fn dropping_the_server_stops_it() {
    let mut server = Server::any();
    let mut client = server.client().await;
    drop(server.server);
    assert_eq!(client.close_code().await.0, 1001);
}

#[tokio::test]
async fn the_page_and_its_files_are_served_with_their_types() {
    let server = Server::any();
    let mut paths = vec!["/".to_owned(), "/?server=ws://a:1".to_owned()];
    for folder in ["", "vendor/uplot/"] {
        let web = format!("{}/../../web/{folder}", env!("CARGO_MANIFEST_DIR"));
        for entry in std::fs::read_dir(web).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            paths.push(format!("/{folder}{name}"));
        }
    }
    assert!(paths.contains(&"/webrtc-client.js".to_owned()));
    for path in &paths {
        let kind = match path.rsplit_once('.') {
            Some((_, "js")) => "text/javascript; charset=utf-8",
            Some((_, "css")) => "text/css; charset=utf-8",
            Some((_, "html")) if path != "/dashboard.html" => "text/html; charset=utf-8",
            None if path.starts_with("/?") || path == "/" => "text/html; charset=utf-8",
            _ => continue,
        };
        let response = server.get(path).await;
        let (head, body) = response.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 "), "{path}: {head}");
        assert!(
            head.contains(&format!("content-type: {kind}\r\n")),
            "{head}"
        );
        assert!(head.contains("cache-control: no-cache\r\n"), "{head}");
        assert!(
            head.contains("x-content-type-options: nosniff\r\n"),
            "{head}"
        );
        let policy = "content-security-policy: default-src 'none'; script-src 'self'; ";
        assert_eq!(
            head.contains(policy),
            kind.starts_with("text/html"),
            "{head}"
        );
        // Modules load into pages of other origins, pages do not.
        assert_eq!(
            head.contains("access-control-allow-origin: *\r\n"),
            !kind.starts_with("text/html"),
            "{head}"
        );
        assert!(!body.is_empty());
        let request = format!("HEAD {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let response = server.http(&request).await;
        assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
        assert!(response.contains(&format!("content-length: {}\r\n", body.len())));
        assert!(response.ends_with("\r\n\r\n"), "a body: {response}");
    }
}

#[tokio::test]
async fn healthz_counts_the_peers() {
    let mut server = Server::any();
    let _client = server.client().await;
    let response = server.get("/healthz").await;
    assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
    assert!(response.contains("content-type: application/json\r\n"));
    let (_, body) = response.split_once("\r\n\r\n").unwrap();
    assert_eq!(
        serde_json::from_str::<Value>(body).unwrap(),
        json!({"status": "ok", "peers": 1, "maxClients": 100})
    );
}

#[tokio::test]
async fn metrics_are_what_the_delegate_counts() {
    let response = Server::any().get("/metrics").await;
    assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
    assert!(response.contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"));
    assert!(response.ends_with("\r\n\r\navatar_peers 7\n"), "{response}");
}

#[tokio::test]
async fn the_dashboard_is_for_this_machine_unless_it_is_opened() {
    for (audience, near, far) in [
        (Audience::Loopback, "200", "403"),
        (Audience::Everyone, "200", "200"),
        (Audience::Nobody, "403", "403"),
    ] {
        let server = start(SignallingConfig {
            dashboard: audience,
            ..config(0)
        })
        .unwrap();
        for path in ["/dashboard", "/dashboard/data"] {
            for host in ["localhost", "127.0.0.1:8081", "[::1]:8081", "a.localhost"] {
                let request =
                    format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
                let response = server.http(&request).await;
                assert!(
                    response.starts_with(&format!("HTTP/1.1 {near} ")),
                    "{response}"
                );
            }
            // A name that somebody points to us, and a proxy that speaks for others.
            for head in [
                "Host: avatar.example",
                "Host: localhost\r\nX-Forwarded-For: 192.0.2.1",
            ] {
                let request = format!("GET {path} HTTP/1.1\r\n{head}\r\nConnection: close\r\n\r\n");
                let response = server.http(&request).await;
                assert!(
                    response.starts_with(&format!("HTTP/1.1 {far} ")),
                    "{response}"
                );
            }
        }
    }
    let response = Server::any().get("/dashboard.html").await;
    assert!(response.starts_with("HTTP/1.1 404 "), "{response}");
}

/// A client that knows how to resume, its token, and what it was told of that.
async fn resuming(server: &Server, query: &str) -> (Client, String, bool) {
    let mut client = Client::connect(server.address(), &format!("/?{query}")).await;
    let config = client.json().await;
    client.peer = config["peerId"].as_str().unwrap().parse().unwrap();
    let data = &config["data"];
    assert_eq!(data["extensions"], json!(["clock", "statistics", "resume"]));
    assert_eq!(
        (&data["protocol"], &data["videoCodec"]),
        (&json!(1), &json!("auto"))
    );
    let token = data["resumeToken"].as_str().unwrap().to_owned();
    let resumed = data["resumed"].as_bool().unwrap();
    // Who has not said anything may not have its token.
    client
        .send(json!({"type": "clock", "data": {"sentAt": 0}}))
        .await;
    assert_eq!(client.json().await["type"], "clock");
    (client, token, resumed)
}

/// Ends a connection as a dead network does.
fn cut(client: Client) {
    client.socket.get_ref().set_zero_linger().unwrap();
}

#[tokio::test]
async fn a_client_whose_connection_breaks_has_its_seat_again_with_its_token() {
    let mut server = Server::any();
    let (client, token, resumed) = resuming(&server, "resume").await;
    let peer = client.peer;
    assert!(!resumed);
    assert!(matches!(server.seen().await, Seen::Connected(of, _) if of == peer));
    cut(client);
    // Told to nobody, and kept for nobody.
    let broken = Instant::now();
    while server.server.send(peer, ServerMessage::Ping) && broken.elapsed().as_millis() < 200 {
        tokio::task::yield_now().await;
    }
    for round in 0..2 {
        let (mut client, again, resumed) = resuming(&server, &format!("resume={token}")).await;
        assert_eq!(
            (client.peer, &again, resumed),
            (peer, &token, true),
            "{round}"
        );
        assert!(matches!(server.seen().await, Seen::Resumed(of, _) if of == peer));
        assert_eq!(server.server.client_count(), 1);
        let offer = json!({"type": "offer", "sdp": "v=0"});
        client.send(json!({"type": "offer", "data": offer})).await;
        assert_eq!(server.seen().await, Seen::Offer(peer, offer));
        server.server.send(peer, ServerMessage::answer(peer, "v=0"));
        while client.json().await["type"] != "answer" {}
        cut(client);
    }
    // The next one takes the place of one that has not noticed yet that it is dead.
    let (mut old, _, _) = resuming(&server, &format!("resume={token}")).await;
    let (mut new, _, _) = resuming(&server, &format!("resume={token}")).await;
    assert_eq!(
        old.close_code().await,
        (1000, "resumed elsewhere".to_owned())
    );
    assert!(matches!(server.seen().await, Seen::Resumed(..)));
    assert!(matches!(server.seen().await, Seen::Resumed(..)));
    new.socket.close(None).await.unwrap();
    assert_eq!(
        server.seen().await,
        Seen::Disconnected(peer, "closed by client".to_owned())
    );
    let (client, other, resumed) = resuming(&server, &format!("resume={token}")).await;
    assert!(
        !resumed && client.peer != peer && other != token,
        "it had left"
    );
}

#[tokio::test]
async fn who_breaks_off_without_a_word_leaves_no_seat_behind() {
    let mut server = Server::any();
    let client = Client::connect(server.address(), "/?resume").await;
    server.seen().await;
    cut(client);
    assert!(matches!(server.seen().await, Seen::Disconnected(..)));
    assert_eq!(server.server.client_count(), 0);
}

#[tokio::test]
async fn who_is_away_when_the_server_stops_is_reported_at_once() {
    let mut server = Server::any();
    let (client, ..) = resuming(&server, "resume").await;
    server.seen().await;
    cut(client);
    let begun = Instant::now();
    server.server.stop().await;
    assert!(begun.elapsed() < Duration::from_secs(3));
    assert!(matches!(server.seen().await, Seen::Disconnected(..)));
}

#[tokio::test]
async fn the_clock_is_told_and_statistics_are_passed_on() {
    let mut server = Server::any();
    let mut client = server.client().await;
    client
        .send(json!({"type": "clock", "data": {"sentAt": 12.25}}))
        .await;
    let told = client.json().await;
    assert_eq!(
        (&told["type"], &told["data"]["sentAt"]),
        (&json!("clock"), &json!(12.25))
    );
    let theirs = told["data"]["serverTime"].as_f64().unwrap();
    assert!((theirs - crate::wall_clock::system_ms()).abs() < 5_000.0);
    let data = json!({"latencyMs": 18.5, "path": "relay"});
    client
        .send(json!({"type": "statistics", "data": data}))
        .await;
    let expected = ViewerStatistics {
        latency_ms: Some(18.5),
        path: Some("relay".to_owned()),
        ..ViewerStatistics::default()
    };
    assert_eq!(
        server.seen().await,
        Seen::Statistics(client.peer, Box::new(expected))
    );
}

#[tokio::test]
async fn what_is_not_served_and_what_is_not_http_is_refused() {
    let server = Server::any();
    for path in ["/missing", "/../Cargo.toml", "/web/style.css", "/%00"] {
        let response = server.get(path).await;
        assert!(response.starts_with("HTTP/1.1 404 "), "{path}: {response}");
    }
    let response = server.http("hello\r\n\r\n").await;
    assert!(response.starts_with("HTTP/1.1 400 "), "{response}");
    let response = http(server.address(), &[0x16, 3, 1, 2, 0, 1, 0, 1]).await;
    assert!(response.starts_with("HTTP/1.1 400 "), "{response}");
    let long = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}", "x".repeat(20_000));
    let response = server.http(&long).await;
    assert!(response.starts_with("HTTP/1.1 431 "), "{response}");
    let response = server
        .http(
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade, close\r\nUpgrade: websocket\r\n\r\n",
        )
        .await;
    assert!(response.starts_with("HTTP/1.1 400 "), "{response}");
    assert!(
        response.contains("sec-websocket-version: 13\r\n"),
        "{response}"
    );
}

#[tokio::test]
async fn half_a_request_is_dropped_after_ten_seconds() {
    let server = Server::any();
    let begun = Instant::now();
    let response = server.http("GET / HTTP/1.1\r\nHost: a\r\n").await;
    assert_eq!(response, "");
    let elapsed = begun.elapsed();
    assert!(elapsed > Duration::from_secs(9), "{elapsed:?}");
}

#[tokio::test]
async fn connections_are_bounded_and_the_next_one_waits_its_turn() {
    let server = start(SignallingConfig {
        max_clients: 1,
        ..config(0)
    })
    .unwrap();
    let mut idle = Vec::new();
    for _ in 0..65 {
        idle.push(TcpStream::connect(server.address()).await.unwrap());
    }
    let mut waiting = Box::pin(server.get("/healthz"));
    let early = timeout(Duration::from_millis(300), &mut waiting).await;
    assert!(early.is_err(), "{early:?}");
    idle.pop();
    assert!(waiting.await.starts_with("HTTP/1.1 200 "));
}

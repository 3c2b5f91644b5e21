//! One TCP connection: HTTP for as long as it takes to ask for a file, or to become a WebSocket.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{HeaderValue, SEC_WEBSOCKET_VERSION, UPGRADE};
use axum::http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use parking_lot::Mutex;
use socket2::TcpKeepalive;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::server::create_response_with_body;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use super::client;
use super::page;
use super::seats::Ticket;
use super::server::{ClientInfo, Shared, stopped};

/// How long a client may take to send a request's header; also closes idle keep-alive connections.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection may speak HTTP in all: a client that does not read its response is dropped then.
const HTTP_LIFETIME: Duration = Duration::from_secs(60);
/// Bytes of a request's header. Browsers send about 1 KiB; cookies of other applications on the host add to it.
const MAX_HEADER: usize = 16 * 1024;
/// Bytes of a client's message. An SDP offer has about 5 KiB.
pub(super) const MAX_MESSAGE: usize = 64 * 1024;
/// What each idle client costs for reading; tungstenite's default is 128 KiB.
const READ_BUFFER: usize = 4 * 1024;

/// Serves one connection to its end.
pub(super) async fn serve(
    stream: TcpStream,
    remote: SocketAddr,
    shared: Arc<Shared>,
    mut stop: watch::Receiver<bool>,
) {
    // Messages are small and each one is waited for.
    stream.set_nodelay(true).ok();
    notice_death(&stream);
    let info = ClientInfo {
        remote: canonical(remote),
        local: stream.local_addr().ok().map(canonical),
    };
    let upgrade = Mutex::new(None);
    let files = TowerToHyperService::new(shared.router.clone());
    let service = service_fn(|mut request: Request<Incoming>| {
        request.extensions_mut().insert(info);
        let websocket = wants_websocket(&request).then(|| accept(&mut request, &upgrade));
        let file = websocket.is_none().then(|| files.call(request));
        async move {
            match (websocket, file) {
                (Some(response), _) => Ok::<_, Infallible>(response),
                (None, Some(file)) => file.await,
                (None, None) => Ok(page::text(StatusCode::NOT_FOUND, "not found\n")),
            }
        }
    });
    let http = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(MAX_HEADER)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    tokio::select! {
        () = stopped(&mut stop) => return,
        _ = tokio::time::timeout(HTTP_LIFETIME, http) => {}
    }
    let upgrade = upgrade.lock().take();
    let Some((ticket, upgrade)) = upgrade else {
        return;
    };
    let Ok(upgraded) = upgrade.await else { return };
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .max_message_size(Some(MAX_MESSAGE))
        .max_frame_size(Some(MAX_MESSAGE));
    let socket =
        WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, Some(config)).await;
    client::run(socket, info, ticket, shared, stop).await;
}

/// Has the kernel give up a client that does not answer any more: after 14 s, be there something to be sent or not.
fn notice_death(stream: &TcpStream) {
    let socket = socket2::SockRef::from(stream);
    let probes = TcpKeepalive::new()
        .with_time(Duration::from_secs(5))
        .with_interval(Duration::from_secs(3));
    #[cfg(any(target_os = "linux", target_os = "macos"))]
    let probes = probes.with_retries(3);
    socket.set_tcp_keepalive(&probes).ok();
    #[cfg(target_os = "linux")]
    socket
        .set_tcp_user_timeout(Some(Duration::from_secs(14)))
        .ok();
}

fn wants_websocket(request: &Request<Incoming>) -> bool {
    request
        .headers()
        .get(UPGRADE)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

/// Answers the opening handshake (RFC 6455, section 4.2), at any path, and keeps what becomes of the connection.
fn accept(
    request: &mut Request<Incoming>,
    upgrade: &Mutex<Option<(Ticket, OnUpgrade)>>,
) -> Response<Body> {
    match create_response_with_body(request, Body::empty) {
        Ok(response) => {
            let ticket = Ticket::read(request.uri().query());
            *upgrade.lock() = Some((ticket, hyper::upgrade::on(request)));
            response
        }
        Err(error) => {
            let mut response = page::text(StatusCode::BAD_REQUEST, format!("{error}\n"));
            response
                .headers_mut()
                .insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
            response
        }
    }
}

/// A dual-stack socket writes IPv4 addresses as `::ffff:a.b.c.d`.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

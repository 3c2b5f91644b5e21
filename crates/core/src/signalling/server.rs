//! The listening port, its clients and its limits.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use axum::Router;
use parking_lot::Mutex;
use serde_json::{Map, Value, json};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::client::{Ending, code};
use super::protocol::{EXTENSIONS, GENERATION, ServerMessage};
use super::seats::{Admission, Seats, Ticket};
use super::{connection, page};
use crate::config::Audience;
use crate::error::StartError;
use crate::event::PeerId;
use crate::viewer_statistics::ViewerStatistics;

/// Connections beside the clients: those that load the page, ask for `/healthz` or `/metrics`, or are told that the server is full.
const SPARE_CONNECTIONS: usize = 64;
/// Connections that the kernel keeps while we are not fast enough, or full.
const BACKLOG: i32 = 1024;
/// How long `stop` waits for clients to read their close frame.
const STOP_GRACE: Duration = Duration::from_secs(1);
/// How long accepting rests when the process has no file descriptor left.
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// Clients' timers wait for the next of these.
const BEAT: Duration = Duration::from_millis(250);

/// How to listen and whom to serve.
#[derive(Debug, Clone, PartialEq)]
pub struct SignallingConfig {
    /// Address to listen on. None: every address, IPv6 and IPv4.
    pub host: Option<IpAddr>,
    /// TCP port; 0 takes a free one.
    pub port: u16,
    /// Most WebSocket clients at once, those who may come back included.
    pub max_clients: usize,
    /// Who may see the dashboard.
    pub dashboard: Audience,
}

/// Where a client is. IPv4 addresses are written as such, also on a dual-stack socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientInfo {
    /// The client's address.
    pub remote: SocketAddr,
    /// The address by which it reached us.
    pub local: Option<SocketAddr>,
}

/// What becomes of what clients do. Called from the runtime's threads: it must not block. For each peer, first
/// `connected`, then the others in the order of its messages, last `disconnected`, once.
pub trait Delegate: Send + Sync + 'static {
    /// `data` of the first message to a client: `iceServers`, `videoCodec`, `audioCodec`.
    fn config(&self, peer: PeerId) -> Map<String, Value>;
    /// A client's WebSocket was accepted; `token` of its address is the application's.
    fn connected(&self, peer: PeerId, client: ClientInfo, token: Option<String>);
    /// Whether its media connection is lost for good: then whoever is back needs a new one.
    fn is_lost(&self, peer: PeerId) -> bool;
    /// Its WebSocket broke; it may be back.
    fn away(&self, peer: PeerId);
    /// The client is there again, with a new WebSocket.
    fn resumed(&self, peer: PeerId, client: ClientInfo);
    /// It offers: `data` as it was sent.
    fn offer(&self, peer: PeerId, offer: Value);
    /// It answers: `data` as it was sent.
    fn answer(&self, peer: PeerId, answer: Value);
    /// It has a candidate (`null`, or an empty `candidate`: no more): `data` as it was sent.
    fn candidate(&self, peer: PeerId, candidate: Value);
    /// It tells how the avatar arrives.
    fn statistics(&self, peer: PeerId, told: ViewerStatistics);
    /// Its WebSocket ended, for a reason in words, and it did not come back.
    fn disconnected(&self, peer: PeerId, reason: String);
    /// Everything that is counted, in Prometheus's text format: what `GET /metrics` answers.
    fn metrics(&self) -> String;
    /// What the dashboard shows, as JSON.
    fn dashboard(&self) -> String;
}

/// A running server. Dropping it stops it too, without waiting.
#[derive(Debug)]
pub struct SignallingServer {
    port: u16,
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    /// Never written: closed once nothing of the server runs.
    finished: watch::Receiver<()>,
}

impl SignallingServer {
    /// Listens before it returns; everything then runs on `runtime`.
    pub fn bind(
        config: SignallingConfig,
        runtime: &Handle,
        delegate: Arc<dyn Delegate>,
    ) -> Result<Self, StartError> {
        let failed = |source| StartError::Listen {
            what: "signalling port",
            address: match config.host {
                Some(host) => SocketAddr::new(host, config.port).to_string(),
                None => config.port.to_string(),
            },
            source,
        };
        let (listener, port) = listen(config.host, config.port)
            .and_then(|listener| {
                let port = listener.local_addr()?.port();
                let _context = runtime.enter();
                Ok((TcpListener::from_std(listener)?, port))
            })
            .map_err(failed)?;
        let limit = config.max_clients.saturating_add(SPARE_CONNECTIONS);
        let shared = Shared::new(config, delegate);
        let (stop, stopping) = watch::channel(false);
        let (running, finished) = watch::channel(());
        let accepting = Arc::clone(&shared);
        runtime.spawn(async move {
            accept(listener, limit, accepting, stopping).await;
            drop(running);
        });
        Ok(Self {
            port,
            shared,
            stop,
            finished,
        })
    }

    /// The TCP port that is listened on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Clients at the moment.
    pub fn client_count(&self) -> usize {
        self.shared.seats.lock().len()
    }

    /// Queues a message; false if there is no such client. Never blocks: a client whose queue is full is closed.
    pub fn send(&self, peer: PeerId, message: ServerMessage) -> bool {
        let text = message.to_json().into();
        self.shared.send(peer, text)
    }

    /// Queues any JSON object for every client.
    pub fn broadcast(&self, message: &Value) {
        let text = Utf8Bytes::from(message.to_string());
        let peers = self.shared.seats.lock().peers();
        for peer in peers {
            self.shared.send(peer, text.clone());
        }
    }

    /// Turns a client away once it was sent what is queued for it; an unknown one is none of our business.
    pub fn close(&self, peer: PeerId, reason: &str) {
        self.shared
            .close(peer, Ending::close(code::TURNED_AWAY, reason));
    }

    /// Frees the port, closes every client and waits until all is gone: a second or less. May be called twice.
    pub async fn stop(&self) {
        self.stop.send_replace(true);
        let mut finished = self.finished.clone();
        while finished.changed().await.is_ok() {}
    }
}

/// Returns once the server is to stop, or its handle was dropped.
pub(super) async fn stopped(stop: &mut watch::Receiver<bool>) {
    stop.wait_for(|stop| *stop).await.ok();
}

/// What the handle and the connections share.
pub(super) struct Shared {
    pub(super) delegate: Arc<dyn Delegate>,
    pub(super) router: Router,
    max_clients: usize,
    seats: Mutex<Seats>,
    started: Instant,
}

impl Shared {
    fn new(config: SignallingConfig, delegate: Arc<dyn Delegate>) -> Arc<Self> {
        Arc::new_cyclic(|shared: &Weak<Self>| {
            let shared = Weak::clone(shared);
            let max = config.max_clients;
            let health = move || {
                let peers = shared
                    .upgrade()
                    .map_or(0, |shared| shared.seats.lock().len());
                json!({"status": "ok", "peers": peers, "maxClients": max}).to_string()
            };
            let (counted, shown) = (Arc::clone(&delegate), Arc::clone(&delegate));
            let router = page::router(health, move || counted.metrics());
            Self {
                delegate,
                router: page::add_dashboard(router, config.dashboard, move || shown.dashboard()),
                max_clients: max,
                seats: Mutex::default(),
                started: Instant::now(),
            }
        })
    }

    /// Gives a client its seat and its first message, unless the server is full.
    pub(super) fn admit(&self, ticket: &Ticket) -> Option<Admission> {
        // Held to the end: nobody sends anything before the first message.
        let mut seats = self.seats.lock();
        let admission = seats.admit(ticket, self.max_clients)?;
        let mut data = self.delegate.config(admission.peer);
        // Who does not know of tokens knows of no other extension either, and gets what the original server sent.
        if let Some(token) = admission.token {
            let told = [
                ("protocol", json!(GENERATION)),
                ("version", json!(env!("CARGO_PKG_VERSION"))),
                ("extensions", json!(EXTENSIONS)),
                (
                    "resumed",
                    json!(admission.is_resumed && !self.delegate.is_lost(admission.peer)),
                ),
                ("resumeToken", json!(token)),
            ];
            data.extend(told.map(|(name, value)| (name.to_owned(), value)));
        }
        let first = ServerMessage::config(admission.peer, data.into());
        if let Some(queue) = seats.queue(admission.peer) {
            queue.try_send(first.to_json().into()).ok();
        }
        Some(admission)
    }

    /// A connection has ended. False: its client has another by now.
    pub(super) fn leave(&self, peer: PeerId, visit: u64) -> bool {
        self.seats.lock().leave(peer, visit)
    }

    fn close(&self, peer: PeerId, ending: Ending) {
        let order = self.seats.lock().order_to_close(peer);
        if let Some(order) = order {
            // The client may end by itself at this moment.
            order.send(ending).ok();
        }
    }

    fn send(&self, peer: PeerId, text: Utf8Bytes) -> bool {
        let queued = match self.seats.lock().queue(peer) {
            Some(queue) => queue.try_send(text),
            None => return false,
        };
        if let Err(TrySendError::Full(_)) = queued {
            self.close(peer, Ending::too_slow());
        }
        queued.is_ok()
    }

    /// The first beat that is not before `at`. What is due to a thousand clients in thirty seconds is done with four
    /// awakenings a second instead of thirty.
    pub(super) fn beat(&self, at: Instant) -> Instant {
        let since = at.saturating_duration_since(self.started);
        let beats = since.as_nanos().div_ceil(BEAT.as_nanos());
        self.started + BEAT.saturating_mul(u32::try_from(beats).unwrap_or(u32::MAX))
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("max_clients", &self.max_clients)
            .finish_non_exhaustive()
    }
}

async fn accept(
    listener: TcpListener,
    limit: usize,
    shared: Arc<Shared>,
    mut stop: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = stopped(&mut stop) => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(), if connections.len() < limit => match accepted {
                Ok((stream, remote)) => {
                    let shared = Arc::clone(&shared);
                    connections.spawn(connection::serve(stream, remote, shared, stop.clone()));
                }
                Err(error) if is_of_connection(&error) => {}
                Err(error) => {
                    tracing::warn!("cannot accept a connection: {error}");
                    tokio::time::sleep(ACCEPT_REST).await;
                }
            },
        }
    }
    drop(listener);
    let all = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(STOP_GRACE, all).await.is_err() {
        connections.shutdown().await;
    }
}

/// Linux hands errors of a connection that has gone already to `accept` (accept(2)).
fn is_of_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset
    )
}

fn listen(host: Option<IpAddr>, port: u16) -> io::Result<std::net::TcpListener> {
    if let Some(host) = host {
        return listen_on(SocketAddr::new(host, port));
    }
    match listen_on((Ipv6Addr::UNSPECIFIED, port).into()) {
        Err(error) if !is_taken_or_denied(&error) => {
            tracing::debug!("no IPv6, listening on IPv4 only: {error}");
            listen_on((Ipv4Addr::UNSPECIFIED, port).into())
        }
        listener => listener,
    }
}

/// Errors that IPv4 would not help against, and that name the cause better.
fn is_taken_or_denied(error: &io::Error) -> bool {
    use io::ErrorKind::{AddrInUse, PermissionDenied};
    matches!(error.kind(), AddrInUse | PermissionDenied)
}

fn listen_on(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if address.ip() == Ipv6Addr::UNSPECIFIED {
        socket.set_only_v6(false)?;
    }
    // On Unix it lets us take a port whose old connections are in TIME_WAIT; on Windows, one that is listened on.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

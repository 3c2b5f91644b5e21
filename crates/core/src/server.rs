//! The server handle: joins signalling and transport, which do not know each other.

use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::{Map, Value, json};

use crate::codec::PerLayer;
use crate::config::{IceServer, ServerConfig};
use crate::dashboard::{self, Premises};
use crate::doctor::{self, Finding, Ports};
use crate::error::StartError;
use crate::event::{Event, EventSink, PeerId, PeerInfo};
use crate::exposition;
use crate::ice_url::IceUrl;
use crate::microphone::{MicrophoneUsage, Wanted};
use crate::peers::Peers;
use crate::process::Process;
use crate::signalling::{
    ClientInfo, Delegate, ErrorCode, ServerMessage, SignallingConfig, SignallingServer,
};
use crate::snapshot::Snapshot;
use crate::source::{MediaOutput, Source};
use crate::stream::{CONTROL_CHANNEL, Stream};
use crate::transport::{
    IceTcp, Network, NetworkConfig, NetworkStats, Offer, OfferError, Reach, StreamHandle,
    parse_remote,
};
use crate::turn;
use crate::viewer_statistics::ViewerStatistics;
use crate::wall_clock::system_ms;

/// Signalling ends within one second; what takes longer is our bug.
const SIGNALLING_STOP: Duration = Duration::from_millis(1_500);

/// TCP connections of media beside one a client: browsers try several candidates at once.
const SPARE_TCP: usize = 64;

/// How long the name of a STUN server is looked up.
const STUN_LOOKUP: Duration = Duration::from_secs(5);

/// One avatar's server: its signalling port and its viewers. [`Server::start`] and [`Server::stop`] may take
/// some time; everything else returns at once.
pub struct Server {
    config: ServerConfig,
    events: Arc<dyn EventSink>,
    peers: Arc<Peers>,
    source: Arc<Mutex<Option<Arc<Source>>>>,
    listening: Mutex<Wanted>,
    /// Held by `start` and `stop` from beginning to end, and by nothing else: those take their time.
    lifecycle: Mutex<()>,
    /// Held for moments only.
    running: Mutex<Option<Running>>,
}

/// What lives from start to stop. Dropped from the top: first nobody comes in any more, then the media
/// threads end, then the viewers' transports, last what the process shares.
struct Running {
    signalling: Arc<SignallingServer>,
    tcp: Option<IceTcp>,
    stream: Arc<Stream>,
    handle: Arc<StreamHandle>,
    process: Arc<Process>,
}

/// Where everybody who has a WebSocket is reached, once it is there.
type Lobby = OnceLock<Weak<SignallingServer>>;

impl Server {
    /// A server that does not listen yet.
    pub fn new(config: ServerConfig, events: Arc<dyn EventSink>) -> Arc<Self> {
        Arc::new(Self {
            config,
            events,
            peers: Arc::default(),
            source: Arc::default(),
            listening: Mutex::new(Wanted {
                chunks: true,
                utterances: true,
                speech: true,
            }),
            lifecycle: Mutex::new(()),
            running: Mutex::new(None),
        })
    }

    /// Listens on the signalling port and returns it. If that fails, nothing is left running.
    pub fn start(self: &Arc<Self>) -> Result<u16, StartError> {
        let _lifecycle = self.lifecycle.lock();
        if self.running.lock().is_some() {
            return Err(StartError::AlreadyStarted);
        }
        let config = &self.config;
        let process = Process::get()?;
        let network = Network::open(&NetworkConfig {
            port: config.udp_port,
            listen_ips: config.listen_ips.clone(),
            threads: config.network_threads,
        })?;
        let lobby = Arc::new(Lobby::new());
        let stream = Stream::new(
            self.peers.clone(),
            process.media(),
            process.microphones(),
            self.events.clone(),
            {
                let lobby = lobby.clone();
                Arc::new(move |message| {
                    if let Some(signalling) = lobby.get().and_then(Weak::upgrade) {
                        signalling.broadcast(&message);
                    }
                })
            },
        );
        let handle = Arc::new(network.add_stream(stream.clone()));
        let tcp = config
            .tcp_port
            .map(|port| {
                let most = config.max_clients + SPARE_TCP;
                handle.listen_tcp(&config.listen_ips, port, most, process.runtime())
            })
            .transpose()?;
        let desk = Arc::new(Desk {
            config: config.clone(),
            events: self.events.clone(),
            peers: self.peers.clone(),
            source: self.source.clone(),
            stream: Arc::downgrade(&stream),
            handle: Arc::downgrade(&handle),
            signalling: lobby,
            started_ms: system_ms(),
            tcp_port: tcp.as_ref().map(IceTcp::port),
        });
        let signalling = Arc::new(SignallingServer::bind(
            SignallingConfig {
                host: config.signaling_host,
                port: config.signaling_port,
                max_clients: config.max_clients,
                dashboard: config.dashboard,
            },
            process.runtime(),
            desk.clone(),
        )?);
        let _ = desk.signalling.set(Arc::downgrade(&signalling));
        let port = signalling.port();
        process.runtime().spawn(find_stun_servers(
            config.ice_servers.clone(),
            Arc::downgrade(&handle),
        ));
        let started = Running {
            signalling,
            tcp,
            stream,
            handle,
            process,
        };
        let mut running = self.running.lock();
        started.stream.hearing.set_wanted(*self.listening.lock());
        let source = self.source.lock().clone();
        if let Some(source) = source
            && let Err(error) = started.connect(&source)
        {
            drop(running);
            started.stop();
            return Err(error);
        }
        *running = Some(started);
        Ok(port)
    }

    /// Ends every peer, thread and socket; at most 2 s. Does nothing if the server does not run.
    pub fn stop(&self) {
        // Held to the end, so that whoever starts next finds the port free.
        let _lifecycle = self.lifecycle.lock();
        let running = self.running.lock().take();
        let Some(running) = running else {
            return;
        };
        // A copy: the lock must not be held while threads end, since `attach` takes it on its caller's thread.
        let source = self.source.lock().clone();
        if let Some(source) = source {
            running.disconnect(&source);
        }
        running.stop();
    }

    /// Streams what is pushed into `source`, in the place of any source before.
    pub fn attach(self: &Arc<Self>, source: &Arc<Source>) {
        let running = self.running.lock();
        let old = self.source.lock().replace(source.clone());
        let Some(running) = &*running else { return };
        if old.as_ref().is_some_and(|old| Arc::ptr_eq(old, source)) {
            return;
        }
        if let Some(old) = old {
            running.disconnect(&old);
        }
        if let Err(error) = running.connect(source) {
            self.events.emit(Event::Error(error.to_string()));
        }
    }

    /// What of microphones somebody listens to; everything until told otherwise.
    /// Microphones are decoded for nobody else. Also takes effect in mid-speech.
    pub fn set_listening(&self, wanted: Wanted) {
        *self.listening.lock() = wanted;
        // Whoever starts meanwhile reads it once this lock is free.
        if let Some(running) = &*self.running.lock() {
            running.stream.hearing.set_wanted(wanted);
        }
    }

    /// What the microphones cost since the server was started; nothing while it does not run.
    pub fn microphone_usage(&self) -> MicrophoneUsage {
        let running = self.running.lock();
        let usage = |running: &Running| running.stream.hearing.usage();
        running.as_ref().map(usage).unwrap_or_default()
    }

    /// The signalling port, while the server runs.
    pub fn port(&self) -> Option<u16> {
        self.running
            .lock()
            .as_ref()
            .map(|running| running.signalling.port())
    }

    /// The TCP port of media, while the server runs and has one.
    pub fn tcp_port(&self) -> Option<u16> {
        let running = self.running.lock();
        running.as_ref()?.tcp.as_ref().map(IceTcp::port)
    }

    /// The UDP port of all viewers, while the server runs.
    pub fn udp_port(&self) -> Option<u16> {
        self.running
            .lock()
            .as_ref()
            .map(|running| running.handle.port())
    }

    /// What was sent to all viewers since the last start, and what was refused.
    pub fn network_stats(&self) -> NetworkStats {
        let running = self.running.lock();
        running
            .as_ref()
            .map(|running| running.handle.stats())
            .unwrap_or_default()
    }

    /// How many receive each layer.
    pub fn layer_viewers(&self) -> PerLayer<usize> {
        let running = self.running.lock();
        running
            .as_ref()
            .map(|running| running.stream.layer_viewers())
            .unwrap_or_default()
    }

    /// Looks what is wrong with the set-up. Takes some seconds.
    pub fn examine(&self) -> Vec<Finding> {
        let ports = (self.running.lock().as_ref()).map(|running| Ports {
            signalling: running.signalling.port(),
            udp: running.handle.port(),
            tcp: running.tcp.as_ref().map(IceTcp::port),
        });
        doctor::examine(&self.config, ports)
    }

    /// Everyone with an open WebSocket, and who may come back.
    pub fn peers(&self) -> Vec<PeerInfo> {
        self.peers.list()
    }

    /// What a viewer told of itself, as JSON; `None`: no such peer, or it has not told anything.
    pub fn peer_statistics(&self, peer: PeerId) -> Option<Value> {
        let (at, told) = self.peers.told(peer)?;
        Some(dashboard::told_json(at, &told))
    }

    /// How many those are.
    pub fn peer_count(&self) -> usize {
        self.peers.count()
    }

    /// Sends an answer of the application's own as it is. False: no such peer.
    pub fn send_answer(&self, peer: PeerId, answer: Value) -> bool {
        self.send(peer, ServerMessage::answer_as_is(peer, answer))
    }

    /// Sends a candidate of the application's own as it is. False: no such peer.
    pub fn send_ice_candidate(&self, peer: PeerId, candidate: Value) -> bool {
        self.send(peer, ServerMessage::ice_candidate(peer, candidate))
    }

    /// Sends any JSON object to every client.
    pub fn broadcast(&self, message: Value) {
        if let Some(running) = &*self.running.lock() {
            running.signalling.broadcast(&message);
        }
    }

    /// Closes a client's WebSocket and its media, for this reason. False: no such peer.
    pub fn disconnect(&self, peer: PeerId, reason: &str) -> bool {
        let running = self.running.lock();
        running.as_ref().is_some_and(|running| {
            let is_there = self.peers.is_local(peer).is_some();
            running.signalling.close(peer, reason);
            is_there
        })
    }

    /// Sends a command over the control channel to one peer or to all; to how many connected ones.
    pub fn send_command(&self, peer: Option<PeerId>, command: &str, data: Value) -> usize {
        let Some(running) = &*self.running.lock() else {
            return 0;
        };
        let reached = match peer {
            Some(peer) => usize::from(self.peers.is_connected(peer)),
            None => self.peers.connected(),
        };
        let text = json!({"command": command, "data": data}).to_string();
        match running.handle.send_text(peer, CONTROL_CHANNEL, &text) {
            true => reached,
            false => 0,
        }
    }

    /// Hears nothing of a peer's microphone from now on, or hears it again. False: no such peer, or it was so before.
    pub fn mute_microphone(&self, peer: PeerId, muted: bool) -> bool {
        let running = self.running.lock();
        running.as_ref().is_some_and(|running| {
            self.peers.is_local(peer).is_some() && running.stream.set_muted(peer, muted)
        })
    }

    fn send(&self, peer: PeerId, message: ServerMessage) -> bool {
        let running = self.running.lock();
        running
            .as_ref()
            .is_some_and(|running| running.signalling.send(peer, message))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Running {
    fn connect(&self, source: &Arc<Source>) -> Result<(), StartError> {
        self.stream.open_media(source, &self.handle)?;
        source.add_output(self.output());
        Ok(())
    }

    fn disconnect(&self, source: &Source) {
        source.remove_output(&self.output());
        if self.stream.close_media() {
            // Whoever waits for the end of what was being said waits no longer.
            source.events().emit(Event::PlayoutEnded);
        }
    }

    fn output(&self) -> Weak<dyn MediaOutput> {
        let stream: Weak<Stream> = Arc::downgrade(&self.stream);
        stream
    }

    fn stop(self) {
        // Not `block_on`: a caller may itself be on a tokio thread.
        let (stopped, done) = std::sync::mpsc::channel();
        let (signalling, tcp) = (self.signalling.clone(), self.tcp);
        self.process.runtime().spawn(async move {
            signalling.stop().await;
            if let Some(tcp) = tcp {
                tcp.stop().await;
            }
            let _ = stopped.send(());
        });
        if done.recv_timeout(SIGNALLING_STOP).is_err() {
            tracing::error!("signalling did not end in time");
        }
        self.stream.close_media();
    }
}

/// Looks up the STUN servers among `ice_servers`; whoever cannot be found is left out.
async fn find_stun_servers(ice_servers: Vec<IceServer>, handle: Weak<StreamHandle>) {
    let urls = ice_servers.iter().flat_map(|server| &server.urls);
    let read = urls.filter_map(|url| IceUrl::parse(url));
    for IceUrl { host, .. } in read.filter(|url| !url.is_turn && !url.is_tcp) {
        match tokio::time::timeout(STUN_LOOKUP, tokio::net::lookup_host(&host)).await {
            Ok(Ok(addresses)) => match handle.upgrade() {
                Some(handle) => handle.ask_stun_servers(addresses.collect()),
                None => return,
            },
            Ok(Err(error)) => tracing::debug!(%host, %error, "STUN server not found"),
            Err(_) => tracing::debug!(%host, "STUN server not found in time"),
        }
    }
}

/// Where the messages of clients end up.
struct Desk {
    config: ServerConfig,
    events: Arc<dyn EventSink>,
    peers: Arc<Peers>,
    source: Arc<Mutex<Option<Arc<Source>>>>,
    stream: Weak<Stream>,
    handle: Weak<StreamHandle>,
    signalling: Arc<Lobby>,
    started_ms: f64,
    tcp_port: Option<u16>,
}

impl Desk {
    fn snapshot(&self) -> Snapshot {
        let source = self.source.lock().clone();
        let (stream, handle) = (self.stream.upgrade(), self.handle.upgrade());
        Snapshot {
            peers: self.peers.entries(),
            turnover: self.peers.turnover(),
            media: source.map(|source| source.metrics(system_ms())),
            viewers: (stream.as_ref())
                .map(|stream| stream.layer_viewers())
                .unwrap_or_default(),
            network: handle.map(|handle| handle.stats()).unwrap_or_default(),
            microphones: stream
                .map(|stream| stream.hearing.usage())
                .unwrap_or_default(),
            dropped_events: self.events.dropped(),
        }
    }

    fn reply(&self, peer: PeerId, message: ServerMessage) {
        if let Some(signalling) = self.signalling.get().and_then(Weak::upgrade) {
            signalling.send(peer, message);
        }
    }

    fn negotiate(&self, peer: PeerId, offer: &Value) {
        let Some(sdp) = offer.get("sdp").and_then(Value::as_str) else {
            let text = "`data.sdp` of offer must be a string";
            return self.reply(peer, ServerMessage::coded_error(ErrorCode::BadOffer, text));
        };
        let offer = match Offer::parse(sdp, &self.config.preferences) {
            Ok(offer) => offer,
            Err(error) => {
                let code = match error {
                    OfferError::NoCommonCodec { .. } => ErrorCode::NoSharedCodec,
                    _ => ErrorCode::BadOffer,
                };
                return self.reply(peer, ServerMessage::coded_error(code, error.to_string()));
            }
        };
        let (Some(handle), Some(is_local)) = (self.handle.upgrade(), self.peers.is_local(peer))
        else {
            return;
        };
        // A browser does not begin DTLS anew on a connection that has had it.
        if self.peers.has_failed(peer) && handle.is_of_last_connection(peer, &offer) {
            let text = "this connection was given up: offer a new one";
            return self.reply(peer, ServerMessage::coded_error(ErrorCode::BadOffer, text));
        }
        let (mid, line) = offer.transport_section();
        let mid = mid.to_owned();
        let reach = Reach {
            announced: &self.config.announced_ips,
            loopback: is_local,
            tcp_port: self.tcp_port,
        };
        let (answer, candidates) = handle.answer(peer, offer, reach);
        self.reply(peer, ServerMessage::answer(peer, &answer));
        // They stand in the answer too, where a client finds them soonest; a client that takes trickled ones
        // only finds them here (RFC 8838 lets a candidate be told twice).
        for candidate in candidates {
            let candidate = json!({
                "candidate": candidate,
                "sdpMid": mid,
                "sdpMLineIndex": line,
            });
            self.reply(peer, ServerMessage::ice_candidate(peer, candidate));
        }
    }
}

impl Delegate for Desk {
    fn config(&self, peer: PeerId) -> Map<String, Value> {
        let config = &self.config;
        let mut ice_servers = config.ice_servers.clone();
        let now = (system_ms() / 1_000.0) as u64;
        let minted = (config.turn.as_ref()).map(|turn| turn::ice_server(turn, peer, now));
        ice_servers.extend(minted);
        [
            ("iceServers", json!(ice_servers)),
            ("videoCodec", json!(config.video_codec)),
            ("audioCodec", json!(config.audio_codec)),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into_iter()
        .collect()
    }

    fn connected(&self, peer: PeerId, client: ClientInfo, token: Option<String>) {
        let info = self.peers.add(peer, client.remote.ip(), token);
        self.events.emit(Event::PeerConnected(info));
    }

    fn is_lost(&self, peer: PeerId) -> bool {
        self.peers.has_failed(peer)
    }

    fn away(&self, peer: PeerId) {
        self.peers.away(peer);
    }

    fn resumed(&self, peer: PeerId, client: ClientInfo) {
        if let Some(info) = self.peers.back(peer, client.remote.ip()) {
            self.events.emit(Event::PeerResumed(info));
        }
    }

    fn offer(&self, peer: PeerId, offer: Value) {
        if self.config.auto_answer {
            self.negotiate(peer, &offer);
        }
        self.events.emit(Event::Offer { peer, offer });
    }

    fn answer(&self, peer: PeerId, answer: Value) {
        self.events.emit(Event::Answer { peer, answer });
    }

    fn candidate(&self, peer: PeerId, candidate: Value) {
        if self.config.auto_answer {
            match (parse_remote(&candidate), self.handle.upgrade()) {
                (Ok(parsed), Some(handle)) => handle.add_candidate(peer, parsed),
                (Ok(_), None) => {}
                (Err(error), _) => self.reply(peer, ServerMessage::error(error.to_string())),
            }
        }
        self.events.emit(Event::IceCandidate { peer, candidate });
    }

    fn statistics(&self, peer: PeerId, told: ViewerStatistics) {
        self.peers.tell(peer, (system_ms(), told));
    }

    fn disconnected(&self, peer: PeerId, reason: String) {
        if let Some(handle) = self.handle.upgrade() {
            handle.remove_peer(peer);
        }
        if let Some(stream) = self.stream.upgrade() {
            stream.forget(peer);
        }
        self.peers.remove(peer, &reason);
        self.events.emit(Event::PeerDisconnected { peer, reason });
    }

    fn metrics(&self) -> String {
        exposition::text(&self.snapshot())
    }

    fn dashboard(&self) -> String {
        let premises = Premises {
            started_ms: self.started_ms,
            max_clients: self.config.max_clients,
        };
        dashboard::json(system_ms(), premises, &self.snapshot()).to_string()
    }
}

//! The native half of `WebRTCStreamingServer`.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use avatar_core::codec::Layer;
use avatar_core::config::ServerConfig;
use avatar_core::event::{EventSink, PeerId};
use avatar_core::microphone::Wanted;
use avatar_core::server::Server;
use napi::bindgen_prelude::*;
use napi_derive::napi;
use serde_json::{Value, json};

use crate::events::{EventQueue, NativeDroppedEvents, NativeEvent, peer_json};
use crate::source::NativeSource;
use crate::{Failure, invalid_option, log, parse_json};

/// A signalling server and its peers.
#[napi]
pub struct NativeServer {
    host: Arc<Host>,
}

/// What the JavaScript object, libuv's pool and the clean-up of the environment share.
struct Host {
    server: Arc<Server>,
    events: Arc<EventQueue>,
    /// Held during a start and a stop, so that one never overtakes the other. True once the environment ends.
    is_closed: Mutex<bool>,
}

/// What became of a start: the port, or why there is none.
#[napi(object, object_from_js = false)]
pub struct NativeStart {
    /// The TCP port of signalling.
    pub port: Option<u16>,
    /// `EADDRINUSE`, `EACCES`, …
    pub code: Option<&'static str>,
    /// A sentence for people.
    pub message: Option<String>,
}

/// What the microphones cost, in the words of `getMicrophoneUsage()`.
#[napi(object, object_from_js = false)]
pub struct NativeMicrophoneUsage {
    pub decoders: f64,
    pub packets: f64,
    pub dropped: f64,
}

#[napi]
impl NativeServer {
    /// `config` is the JSON of the `webrtc` options.
    #[napi(constructor)]
    pub fn new(config: String) -> std::result::Result<Self, Failure> {
        let config = ServerConfig::from_json(&parse_json(&config)?)
            .map_err(|error| invalid_option(&error))?;
        if config.debug {
            log::enable();
        }
        let events = Arc::new(EventQueue::default());
        let sink: Arc<dyn EventSink> = events.clone();
        let server = Server::new(config, sink);
        // A new EventEmitter has no listeners.
        server.set_listening(Wanted {
            chunks: false,
            utterances: false,
            speech: false,
        });
        Ok(Self {
            host: Arc::new(Host {
                server,
                events,
                is_closed: Mutex::new(false),
            }),
        })
    }

    /// Listens. `wake` is called when events wait, and keeps the process alive until `stop`.
    #[napi(ts_return_type = "Promise<NativeStart>")]
    pub fn start(&self, env: &Env, wake: Function<'_, (), ()>) -> Result<AsyncTask<Start>> {
        self.host.events.ring(&wake, true)?;
        stop_with_environment(env, &self.host)?;
        Ok(AsyncTask::new(Start(Arc::clone(&self.host))))
    }

    /// Closes every peer and every socket.
    #[napi(ts_return_type = "Promise<void>")]
    pub fn stop(&self) -> AsyncTask<Stop> {
        AsyncTask::new(Stop(Arc::clone(&self.host)))
    }

    /// Feeds the peers from `source`, and its `media.microphone` options to their microphones.
    #[napi]
    pub fn attach(&self, source: &NativeSource) {
        self.host.server.attach(&source.source);
    }

    /// Whether anybody listens to `incoming-audio`, to `utterance`, and to `speech-start` or `speech-end`. Nobody does until
    /// told otherwise.
    #[napi]
    pub fn set_listening(&self, chunks: bool, utterances: bool, speech: bool) {
        self.host.server.set_listening(Wanted {
            chunks,
            utterances,
            speech,
        });
    }

    /// Closes a peer's connection. False: there is no such peer.
    #[napi]
    pub fn disconnect_peer(&self, peer_id: String, reason: String) -> bool {
        peer(&peer_id).is_some_and(|peer| self.host.server.disconnect(peer, &reason))
    }

    /// False: there is no such peer, or it was so before.
    #[napi]
    pub fn mute_microphone(&self, peer_id: String, muted: bool) -> bool {
        peer(&peer_id).is_some_and(|peer| self.host.server.mute_microphone(peer, muted))
    }

    /// What the microphones cost since the server was started.
    #[napi]
    pub fn microphone_usage(&self) -> NativeMicrophoneUsage {
        let usage = self.host.server.microphone_usage();
        NativeMicrophoneUsage {
            decoders: usage.decoders as f64,
            packets: usage.packets as f64,
            dropped: usage.dropped as f64,
        }
    }

    /// The TCP port, while it listens.
    #[napi(getter)]
    pub fn port(&self) -> Option<u16> {
        self.host.server.port()
    }

    /// The peers as a JSON array of the payloads of `peer-connected`.
    #[napi]
    pub fn peers(&self) -> String {
        Value::Array(self.host.server.peers().iter().map(peer_json).collect()).to_string()
    }

    /// What a viewer told of itself, as JSON; none: no such peer, or nothing told.
    #[napi]
    pub fn peer_stats(&self, peer_id: String) -> Option<String> {
        let told = self.host.server.peer_statistics(peer(&peer_id)?)?;
        Some(told.to_string())
    }

    /// How many peers there are.
    #[napi]
    pub fn peer_count(&self) -> u32 {
        self.host.server.peer_count() as u32
    }

    /// How many receive each encoding, by the name of its codec.
    #[napi]
    pub fn viewers(&self) -> HashMap<String, u32> {
        let viewers = self.host.server.layer_viewers();
        Layer::all()
            .map(|layer| (layer.codec_name().to_owned(), viewers[layer] as u32))
            .collect()
    }

    /// What was sent and refused, as JSON.
    #[napi]
    pub fn network_stats(&self) -> String {
        json!(self.host.server.network_stats()).to_string()
    }

    /// False: there is no such peer.
    #[napi]
    pub fn send_answer(
        &self,
        peer_id: String,
        answer: String,
    ) -> std::result::Result<bool, Failure> {
        let answer = parse_json(&answer)?;
        Ok(peer(&peer_id).is_some_and(|peer| self.host.server.send_answer(peer, answer)))
    }

    /// False: there is no such peer.
    #[napi]
    pub fn send_ice_candidate(
        &self,
        peer_id: String,
        candidate: String,
    ) -> std::result::Result<bool, Failure> {
        let candidate = parse_json(&candidate)?;
        Ok(peer(&peer_id).is_some_and(|peer| self.host.server.send_ice_candidate(peer, candidate)))
    }

    /// Sends `message` to every client.
    #[napi]
    pub fn broadcast(&self, message: String) -> std::result::Result<(), Failure> {
        self.host.server.broadcast(parse_json(&message)?);
        Ok(())
    }

    /// Sends over the data channel to one peer, or to all if `peer_id` is `"all"`; how many got it.
    #[napi]
    pub fn send_command(
        &self,
        peer_id: String,
        command: String,
        data: String,
    ) -> std::result::Result<u32, Failure> {
        let data = parse_json(&data)?;
        let to = match peer_id.as_str() {
            "all" => None,
            id => match peer(id) {
                Some(peer) => Some(peer),
                None => return Ok(0),
            },
        };
        Ok(self.host.server.send_command(to, &command, data) as u32)
    }

    /// What is wrong with the set-up: a JSON array of findings.
    #[napi(ts_return_type = "Promise<string>")]
    pub fn examine(&self) -> AsyncTask<Examination> {
        AsyncTask::new(Examination(Arc::clone(&self.host)))
    }

    /// The TCP port of media, while it listens.
    #[napi(getter)]
    pub fn tcp_port(&self) -> Option<u16> {
        self.host.server.tcp_port()
    }

    /// The UDP port of media, while it listens.
    #[napi(getter)]
    pub fn udp_port(&self) -> Option<u16> {
        self.host.server.udp_port()
    }

    /// Everything that happened since the last call, oldest first.
    #[napi]
    pub fn take_events(&self) -> Vec<NativeEvent> {
        self.host.events.take()
    }

    /// How many events JavaScript came too late for.
    #[napi]
    pub fn dropped_events(&self) -> NativeDroppedEvents {
        self.host.events.dropped().into()
    }
}

/// A start on libuv's pool.
pub struct Start(Arc<Host>);

impl Task for Start {
    type Output = NativeStart;
    type JsValue = NativeStart;

    fn compute(&mut self) -> Result<NativeStart> {
        let is_closed = self.0.is_closed();
        if *is_closed {
            return Err(Error::from_reason("the environment is shutting down"));
        }
        Ok(match self.0.server.start() {
            Ok(port) => NativeStart {
                port: Some(port),
                code: None,
                message: None,
            },
            Err(error) => {
                self.0.events.hang_up();
                NativeStart {
                    port: None,
                    code: Some(error.code()),
                    message: Some(error.to_string()),
                }
            }
        })
    }

    fn resolve(&mut self, _env: Env, started: NativeStart) -> Result<NativeStart> {
        Ok(started)
    }
}

/// A stop on libuv's pool.
pub struct Stop(Arc<Host>);

impl Task for Stop {
    type Output = ();
    type JsValue = ();

    fn compute(&mut self) -> Result<()> {
        let _held = self.0.is_closed();
        self.0.server.stop();
        self.0.events.hang_up();
        Ok(())
    }

    fn resolve(&mut self, _env: Env, _output: ()) -> Result<()> {
        Ok(())
    }
}

/// A look at the set-up, on libuv's pool.
pub struct Examination(Arc<Host>);

impl Task for Examination {
    type Output = String;
    type JsValue = String;

    fn compute(&mut self) -> Result<String> {
        serde_json::to_string(&self.0.server.examine())
            .map_err(|error| Error::from_reason(error.to_string()))
    }

    fn resolve(&mut self, _env: Env, findings: String) -> Result<String> {
        Ok(findings)
    }
}

impl Host {
    fn is_closed(&self) -> MutexGuard<'_, bool> {
        self.is_closed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self) {
        let mut is_closed = self.is_closed();
        *is_closed = true;
        self.server.stop();
        self.events.hang_up();
    }
}

fn peer(id: &str) -> Option<PeerId> {
    id.parse().ok()
}

thread_local! {
    /// The servers of this environment: a JavaScript thread has exactly one. None before the first start.
    static STARTED: RefCell<Option<Vec<Weak<Host>>>> = const { RefCell::new(None) };
}

/// Stops `host` when the environment ends without a `stop`: `process.exit()`, `worker.terminate()`.
fn stop_with_environment(env: &Env, host: &Arc<Host>) -> Result<()> {
    let is_first = STARTED.with_borrow(Option::is_none);
    if is_first {
        env.add_env_cleanup_hook((), |()| {
            let hosts = STARTED.take().unwrap_or_default();
            hosts
                .iter()
                .filter_map(Weak::upgrade)
                .for_each(|host| host.close());
        })?;
    }
    STARTED.with_borrow_mut(|started| {
        let hosts = started.get_or_insert_default();
        hosts.retain(|other| other.strong_count() > 0);
        if !hosts
            .iter()
            .any(|other| other.as_ptr() == Arc::as_ptr(host))
        {
            hosts.push(Arc::downgrade(host));
        }
    });
    Ok(())
}

//! Events on their way to JavaScript: a bounded queue, and a bell that says that it is not empty.
//!
//! The engine's threads put events here and ring; JavaScript takes all of them at once. One ring is under way
//! at most, so that a blocked JavaScript thread costs this queue and nothing else.

use std::collections::VecDeque;

use avatar_core::date_ms;
use avatar_core::event::{DroppedEvents, Event, EventSink, PeerInfo, Speech};
use napi::bindgen_prelude::*;
use napi::threadsafe_function::ThreadsafeFunctionCallMode;
use napi_derive::napi;
use serde_json::{Value, json};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Sound: half a second of a hundred talking browsers.
const AUDIO_LIMIT: usize = 512;
/// What clients write, and warnings.
const MESSAGE_LIMIT: usize = 2_048;
/// Who came and left, and what failed.
const STATE_LIMIT: usize = 8_192;

/// One event: its name in the JavaScript API and its payload.
#[napi(object, object_from_js = false)]
pub struct NativeEvent {
    /// `peer-connected`, `incoming-audio`, …
    pub name: &'static str,
    /// The payload as JSON text, without what JSON cannot carry.
    pub payload: String,
    /// The samples of `incoming-audio` and `utterance`.
    pub data: Option<Buffer>,
}

/// How many events were dropped because JavaScript did not take them in time.
#[napi(object, object_from_js = false)]
pub struct NativeDroppedEvents {
    /// `incoming-audio` and `utterance`.
    pub audio: u32,
    /// `offer`, `answer`, `ice-candidate`, `command` and warnings.
    pub messages: u32,
    /// `peer-connected`, `peer-disconnected` and `error`.
    pub state: u32,
}

/// How JavaScript is told that events wait.
type Bell = Box<dyn Fn() + Send>;

/// The queue between the engine and one JavaScript object.
#[derive(Default)]
pub(crate) struct EventQueue {
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    events: VecDeque<Event>,
    /// How many of each class wait.
    audio: usize,
    messages: usize,
    state: usize,
    dropped: DroppedEvents,
    /// None while nobody listens: events then wait to be taken.
    bell: Option<Bell>,
    /// Whether JavaScript was told and has not come yet.
    is_rung: bool,
}

impl EventQueue {
    /// Rings `wake` from now on. With `keeps_alive` the process does not end until [`EventQueue::hang_up`].
    pub(crate) fn ring(&self, wake: &Function<'_, (), ()>, keeps_alive: bool) -> Result<()> {
        let builder = wake.build_threadsafe_function().callee_handled::<false>();
        let bell: Bell = if keeps_alive {
            let wake = builder.build()?;
            Box::new(move || {
                wake.call((), ThreadsafeFunctionCallMode::NonBlocking);
            })
        } else {
            let wake = builder.weak::<true>().build()?;
            Box::new(move || {
                wake.call((), ThreadsafeFunctionCallMode::NonBlocking);
            })
        };
        let mut waiting = self.waiting();
        waiting.bell = Some(bell);
        waiting.is_rung = false;
        if !waiting.events.is_empty() {
            waiting.ring();
        }
        Ok(())
    }

    /// Rings no more; what waits can still be taken.
    pub(crate) fn hang_up(&self) {
        self.waiting().bell = None;
    }

    /// Everything that waits, oldest first.
    pub(crate) fn take(&self) -> Vec<NativeEvent> {
        let events = {
            let mut waiting = self.waiting();
            waiting.is_rung = false;
            (waiting.audio, waiting.messages, waiting.state) = (0, 0, 0);
            std::mem::take(&mut waiting.events)
        };
        events.into_iter().map(to_native).collect()
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EventSink for EventQueue {
    fn emit(&self, event: Event) {
        let waiting = &mut *self.waiting();
        let dropped = &mut waiting.dropped;
        // Each class has room of its own: a flood of one never pushes out another.
        let (length, limit, dropped) = match &event {
            Event::IncomingAudio(_) | Event::Utterance(_) => {
                (&mut waiting.audio, AUDIO_LIMIT, &mut dropped.audio)
            }
            Event::Offer { .. }
            | Event::Answer { .. }
            | Event::IceCandidate { .. }
            | Event::Command { .. }
            | Event::Warning(_) => (&mut waiting.messages, MESSAGE_LIMIT, &mut dropped.messages),
            Event::PeerConnected(_)
            | Event::PeerResumed(_)
            | Event::PeerDisconnected { .. }
            | Event::PlayoutEnded
            | Event::SpeechStarted { .. }
            | Event::SpeechEnded { .. }
            | Event::Error(_) => (&mut waiting.state, STATE_LIMIT, &mut dropped.state),
        };
        if *length >= limit {
            *dropped = dropped.saturating_add(1);
            return;
        }
        *length += 1;
        waiting.events.push_back(event);
        waiting.ring();
    }

    fn dropped(&self) -> DroppedEvents {
        self.waiting().dropped
    }
}

impl From<DroppedEvents> for NativeDroppedEvents {
    fn from(dropped: DroppedEvents) -> Self {
        let DroppedEvents {
            audio,
            messages,
            state,
        } = dropped;
        Self {
            audio,
            messages,
            state,
        }
    }
}

impl Waiting {
    fn ring(&mut self) {
        if let Some(bell) = &self.bell
            && !self.is_rung
        {
            self.is_rung = true;
            bell();
        }
    }
}

/// The payload of `peer-connected`; `createdAt` in ms of the Unix clock, since JSON has no dates.
pub(crate) fn peer_json(peer: &PeerInfo) -> Value {
    let mut payload = json!({
        "id": peer.id.to_string(),
        "state": peer.state.as_str(),
        "createdAt": date_ms(peer.created_at),
    });
    if let Some(token) = &peer.token {
        payload["token"] = Value::from(token.as_str());
    }
    payload
}

fn to_native(event: Event) -> NativeEvent {
    let (name, payload) = match event {
        Event::IncomingAudio(speech) => return speech_event("incoming-audio", speech),
        Event::Utterance(speech) => return speech_event("utterance", speech),
        Event::PeerConnected(peer) => ("peer-connected", peer_json(&peer)),
        Event::PeerResumed(peer) => {
            let mut payload = peer_json(&peer);
            payload["resumed"] = Value::Bool(true);
            ("peer-connected", payload)
        }
        Event::PeerDisconnected { peer, reason } => (
            "peer-disconnected",
            json!({"peerId": peer.to_string(), "reason": reason}),
        ),
        Event::Offer { peer, offer } => {
            ("offer", json!({"peerId": peer.to_string(), "offer": offer}))
        }
        Event::Answer { peer, answer } => (
            "answer",
            json!({"peerId": peer.to_string(), "answer": answer}),
        ),
        Event::IceCandidate { peer, candidate } => (
            "ice-candidate",
            json!({"peerId": peer.to_string(), "candidate": candidate}),
        ),
        Event::Command {
            peer,
            command,
            data,
        } => (
            "command",
            json!({"peerId": peer.to_string(), "command": command, "data": data}),
        ),
        Event::SpeechStarted {
            peer,
            timestamp_ms,
            avatar_speaking,
        } => (
            "speech-start",
            json!({
                "peerId": peer.to_string(),
                "timestamp": timestamp_ms,
                "avatarSpeaking": avatar_speaking,
            }),
        ),
        Event::SpeechEnded { peer, timestamp_ms } => (
            "speech-end",
            json!({"peerId": peer.to_string(), "timestamp": timestamp_ms}),
        ),
        Event::PlayoutEnded => ("playout-ended", Value::Null),
        Event::Warning(text) => ("warning", Value::from(text)),
        Event::Error(text) => ("error", Value::from(text)),
    };
    NativeEvent {
        name,
        payload: payload.to_string(),
        data: None,
    }
}

fn speech_event(name: &'static str, speech: Speech) -> NativeEvent {
    let mut payload = json!({
        "peerId": speech.peer.to_string(),
        "sampleRate": speech.sample_rate,
        "channels": speech.channels,
        "timestamp": speech.timestamp_ms,
        "avatarSpeaking": speech.avatar_speaking,
        "format": "PCM",
    });
    if name == "utterance" {
        let bytes_per_second = f64::from(speech.sample_rate) * f64::from(speech.channels) * 2.0;
        let duration_ms = speech.data.len() as f64 * 1_000.0 / bytes_per_second.max(1.0);
        payload["durationMs"] = Value::from(duration_ms);
    }
    NativeEvent {
        name,
        payload: payload.to_string(),
        // The vector itself becomes the Buffer's memory: no copy.
        data: Some(Buffer::from(speech.data)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use avatar_core::event::PeerId;

    fn speech() -> Event {
        Event::IncomingAudio(Speech {
            peer: PeerId::nil(),
            data: vec![0; 3_200],
            sample_rate: 16_000,
            channels: 1,
            timestamp_ms: 0.0,
            avatar_speaking: false,
        })
    }

    fn left() -> Event {
        Event::PeerDisconnected {
            peer: PeerId::nil(),
            reason: String::new(),
        }
    }

    #[test]
    fn what_nobody_takes_is_dropped_and_counted_by_class_and_never_pushes_out_another_class() {
        let queue = EventQueue::default();
        for _ in 0..AUDIO_LIMIT + 7 {
            queue.emit(speech());
        }
        for _ in 0..MESSAGE_LIMIT + 3 {
            queue.emit(Event::Warning(String::new()));
        }
        queue.emit(left());
        let dropped = queue.dropped();
        assert_eq!((dropped.audio, dropped.messages, dropped.state), (7, 3, 0));
        assert_eq!(queue.take().len(), AUDIO_LIMIT + MESSAGE_LIMIT + 1);
        queue.emit(speech());
        assert_eq!(queue.take().len(), 1, "there is room again");
    }

    #[test]
    fn the_bell_rings_once_until_the_events_are_taken() {
        use std::sync::Arc;
        use std::sync::atomic::{AtomicUsize, Ordering};
        let queue = EventQueue::default();
        let rings = Arc::new(AtomicUsize::new(0));
        let bell = Arc::clone(&rings);
        queue.waiting().bell = Some(Box::new(move || {
            bell.fetch_add(1, Ordering::Relaxed);
        }));
        queue.emit(left());
        queue.emit(left());
        assert_eq!(rings.load(Ordering::Relaxed), 1);
        assert_eq!(queue.take().len(), 2);
        queue.emit(left());
        assert_eq!(rings.load(Ordering::Relaxed), 2);
    }
}

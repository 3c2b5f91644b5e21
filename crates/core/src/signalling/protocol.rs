//! The messages of the wire, JSON text in both directions.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::event::PeerId;
use crate::viewer_statistics::ViewerStatistics;

/// The generation of this protocol: a client of an older one is told so by a higher number, and may refuse.
pub const GENERATION: u32 = 1;

/// What we understand beyond the original protocol; a client uses only what it finds here.
pub const EXTENSIONS: [&str; 3] = ["clock", "statistics", "resume"];

/// What a client sends. `data` is kept as it was sent; fields that we do not know are ignored.
#[derive(Debug, Clone, PartialEq)]
pub enum ClientMessage {
    /// `RTCSessionDescriptionInit`: an object, not looked into.
    Offer(Value),
    /// `RTCSessionDescriptionInit`: an object, not looked into.
    Answer(Value),
    /// `RTCIceCandidateInit`, not looked into. `null`, or an empty `candidate`, says that there will be no more.
    IceCandidate(Value),
    /// The answer to [`ServerMessage::Ping`].
    Pong,
    /// Asks for the time; what the client's clock says.
    Clock(f64),
    /// How the avatar arrives.
    Statistics(Box<ViewerStatistics>),
}

/// What kind of failure an `error` tells of, for programs; the sentence is for people. (Sentences that are part of the
/// contract have none.)
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorCode {
    /// The offer has no codec that we have.
    NoSharedCodec,
    /// The offer cannot be used.
    BadOffer,
}

/// What a client is sent.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(
    tag = "type",
    rename_all = "kebab-case",
    rename_all_fields = "camelCase"
)]
pub enum ServerMessage {
    /// The first message: who the client is, and what it needs for its `RTCPeerConnection`.
    Config {
        /// The client's name.
        peer_id: PeerId,
        /// `iceServers`, `videoCodec`, `audioCodec`.
        data: Value,
    },
    /// The answer to the client's offer.
    Answer {
        /// The client's name.
        peer_id: PeerId,
        /// `RTCSessionDescriptionInit`.
        data: Value,
    },
    /// One of our candidates.
    IceCandidate {
        /// The client's name.
        peer_id: PeerId,
        /// `RTCIceCandidateInit`.
        data: Value,
    },
    /// To be answered with `pong`.
    Ping,
    /// The answer to [`ClientMessage::Clock`].
    Clock {
        /// What both clocks say.
        data: ClockReading,
    },
    /// What was wrong with the client's last message, or why it is closed.
    Error {
        /// A sentence for people.
        error: String,
        /// The same for programs, where they may want to act on it.
        #[serde(skip_serializing_if = "Option::is_none")]
        code: Option<ErrorCode>,
    },
    /// An object of the application, sent as it is.
    #[serde(untagged)]
    Raw(Map<String, Value>),
}

/// Two clocks at about the same time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClockReading {
    /// What the client said.
    pub sent_at: f64,
    /// Ours when that arrived, in ms since 1970.
    pub server_time: f64,
}

/// Why a client's message cannot be used; its text is sent back to the client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// The text is not JSON. The sentence is part of the contract.
    #[error("Invalid message format")]
    NotJson,
    /// JSON, but not an object.
    #[error("a message must be a JSON object with a `type`")]
    NotAnObject,
    /// A field is missing or is not what it must be.
    #[error("`{field}` of {message} must be {expected}")]
    BadField {
        /// Where it belongs, such as `data.sdp`.
        field: &'static str,
        /// The `type` of the message.
        message: &'static str,
        /// What is accepted.
        expected: &'static str,
    },
    /// `type` is none that a client sends.
    #[error(
        "unknown `type` {0}: offer, answer, ice-candidate, clock, statistics and pong are accepted"
    )]
    UnknownType(String),
}

impl ClientMessage {
    /// Reads one text message.
    pub fn parse(text: &str) -> Result<Self, ProtocolError> {
        let value = serde_json::from_str(text).map_err(|_| ProtocolError::NotJson)?;
        let Value::Object(mut message) = value else {
            return Err(ProtocolError::NotAnObject);
        };
        let data = message.remove("data");
        match message.get("type") {
            Some(Value::String(kind)) => match kind.as_str() {
                "offer" => Ok(Self::Offer(description("offer", data)?)),
                "answer" => Ok(Self::Answer(description("answer", data)?)),
                "ice-candidate" => Ok(Self::IceCandidate(candidate(data)?)),
                "pong" => Ok(Self::Pong),
                "clock" => {
                    let sent_at = data.as_ref().and_then(|data| data.get("sentAt")?.as_f64());
                    let missing = || bad("data.sentAt", "clock", "a number");
                    sent_at.map(Self::Clock).ok_or_else(missing)
                }
                "statistics" => data
                    .filter(Value::is_object)
                    .and_then(|data| ViewerStatistics::deserialize(data).ok())
                    .map(|told| Self::Statistics(Box::new(told)))
                    .ok_or_else(|| bad("data", "statistics", "an object of numbers and words")),
                unknown => Err(ProtocolError::UnknownType(quote(unknown))),
            },
            _ => Err(bad("type", "a message", "a string")),
        }
    }
}

impl ServerMessage {
    /// The first message to `peer`.
    pub fn config(peer: PeerId, data: Value) -> Self {
        Self::Config {
            peer_id: peer,
            data,
        }
    }

    /// The engine's own answer.
    pub fn answer(peer: PeerId, sdp: &str) -> Self {
        Self::answer_as_is(peer, json!({"type": "answer", "sdp": sdp}))
    }

    /// The application's answer, passed on as it is.
    pub fn answer_as_is(peer: PeerId, data: Value) -> Self {
        Self::Answer {
            peer_id: peer,
            data,
        }
    }

    /// One of our candidates, or the application's, passed on as it is.
    pub fn ice_candidate(peer: PeerId, data: Value) -> Self {
        Self::IceCandidate {
            peer_id: peer,
            data,
        }
    }

    /// A sentence about what is wrong.
    pub fn error(text: impl Into<String>) -> Self {
        Self::Error {
            error: text.into(),
            code: None,
        }
    }

    /// The same with its kind.
    pub fn coded_error(code: ErrorCode, text: impl Into<String>) -> Self {
        Self::Error {
            error: text.into(),
            code: Some(code),
        }
    }

    /// The text of the wire.
    pub fn to_json(&self) -> String {
        // Serialising fails only for maps whose keys are not strings: there is none.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// What is inside is for whoever answers to judge: an unusable description is still worth an event.
fn description(message: &'static str, data: Option<Value>) -> Result<Value, ProtocolError> {
    match data {
        Some(data @ Value::Object(_)) => Ok(data),
        _ => Err(bad("data", message, "an object with an `sdp` string")),
    }
}

fn candidate(data: Option<Value>) -> Result<Value, ProtocolError> {
    match data {
        Some(data @ (Value::Object(_) | Value::Null)) => Ok(data),
        _ => Err(bad(
            "data",
            "ice-candidate",
            "null or an object with a `candidate` string",
        )),
    }
}

fn bad(field: &'static str, message: &'static str, expected: &'static str) -> ProtocolError {
    ProtocolError::BadField {
        field,
        message,
        expected,
    }
}

/// What a client wrote, short enough to be sent back.
fn quote(text: &str) -> String {
    let mut quoted: String = text.chars().take(40).collect();
    if quoted.len() < text.len() {
        quoted.push('…');
    }
    format!("{quoted:?}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn error(text: &str) -> String {
        ClientMessage::parse(text).unwrap_err().to_string()
    }

    #[test]
    fn data_is_kept_as_it_was_sent() {
        let data = json!({"type": "offer", "sdp": "v=0\r\n", "extra": [1, 2.5, null]});
        let text = json!({"type": "offer", "data": data, "peerId": 7}).to_string();
        assert_eq!(
            ClientMessage::parse(&text).unwrap(),
            ClientMessage::Offer(data)
        );
        let data = json!({"sdp": ""});
        let text = json!({"type": "answer", "data": data}).to_string();
        assert_eq!(
            ClientMessage::parse(&text).unwrap(),
            ClientMessage::Answer(data)
        );
    }

    #[test]
    fn the_end_of_candidates_is_a_candidate() {
        for data in [
            json!(null),
            json!({"candidate": ""}),
            json!({"candidate": "candidate:1 1 udp 1 10.0.0.1 9 typ host", "sdpMid": "0", "sdpMLineIndex": 0}),
            json!({"candidate": "c", "sdpMid": null, "sdpMLineIndex": null, "usernameFragment": "u"}),
        ] {
            let text = json!({"type": "ice-candidate", "data": data}).to_string();
            assert_eq!(
                ClientMessage::parse(&text).unwrap(),
                ClientMessage::IceCandidate(data)
            );
        }
    }

    #[test]
    fn text_that_is_not_json_is_named_as_the_contract_says() {
        for text in ["", "hello", "{", "{\"type\":\"pong\"} x", "\u{0}"] {
            assert_eq!(error(text), "Invalid message format");
        }
        // Nesting is bounded: this is refused, not recursed into.
        assert_eq!(error(&"[".repeat(60_000)), "Invalid message format");
    }

    #[test]
    fn a_bad_message_is_answered_with_the_name_of_its_field() {
        for (message, field) in [
            (json!([]), "`type`"),
            (json!(5), "`type`"),
            (json!({}), "`type`"),
            (json!({"type": 5}), "`type`"),
            (json!({"type": "dance"}), "`type` \"dance\""),
            (json!({"type": "offer"}), "`data` of offer"),
            (json!({"type": "offer", "data": null}), "`data` of offer"),
            (json!({"type": "offer", "data": "v=0"}), "`data` of offer"),
            (json!({"type": "ice-candidate"}), "`data` of ice-candidate"),
            (
                json!({"type": "ice-candidate", "data": "c"}),
                "`data` of ice-candidate",
            ),
            (json!({"type": "clock"}), "`data.sentAt` of clock"),
            (
                json!({"type": "clock", "data": {"sentAt": "now"}}),
                "`data.sentAt` of clock",
            ),
            (json!({"type": "statistics"}), "`data` of statistics"),
            (
                json!({"type": "statistics", "data": [1, 2]}),
                "`data` of statistics",
            ),
            (
                json!({"type": "statistics", "data": {"latencyMs": "20"}}),
                "`data` of statistics",
            ),
        ] {
            let error = error(&message.to_string());
            assert!(error.contains(field), "{message} gave: {error}");
        }
        let long = json!({"type": "x".repeat(60_000)}).to_string();
        assert!(error(&long).len() < 200);
    }

    #[test]
    fn messages_are_written_to_the_letter() {
        let peer = Uuid::nil();
        let id = "00000000-0000-0000-0000-000000000000";
        for (message, text) in [
            (
                ServerMessage::config(peer, json!({"iceServers": []})),
                format!(r#"{{"type":"config","peerId":"{id}","data":{{"iceServers":[]}}}}"#),
            ),
            (
                ServerMessage::answer(peer, "v=0\r\n"),
                format!(
                    r#"{{"type":"answer","peerId":"{id}","data":{{"sdp":"v=0\r\n","type":"answer"}}}}"#
                ),
            ),
            (
                ServerMessage::answer_as_is(peer, json!("mine")),
                format!(r#"{{"type":"answer","peerId":"{id}","data":"mine"}}"#),
            ),
            (
                ServerMessage::ice_candidate(peer, json!({"candidate": ""})),
                format!(r#"{{"type":"ice-candidate","peerId":"{id}","data":{{"candidate":""}}}}"#),
            ),
            (ServerMessage::Ping, r#"{"type":"ping"}"#.to_owned()),
            (
                ServerMessage::error("What?"),
                r#"{"type":"error","error":"What?"}"#.to_owned(),
            ),
            (
                ServerMessage::coded_error(ErrorCode::BadOffer, "What?"),
                r#"{"type":"error","error":"What?","code":"bad-offer"}"#.to_owned(),
            ),
            (
                ServerMessage::Clock {
                    data: ClockReading {
                        sent_at: 5.5,
                        server_time: 1.7e12,
                    },
                },
                r#"{"type":"clock","data":{"sentAt":5.5,"serverTime":1700000000000.0}}"#.to_owned(),
            ),
        ] {
            let value: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(
                serde_json::from_str::<Value>(&message.to_json()).unwrap(),
                value
            );
        }
        let Value::Object(raw) = json!({"type": "ping", "mine": true}) else {
            unreachable!()
        };
        assert_eq!(
            serde_json::from_str::<Value>(&ServerMessage::Raw(raw.clone()).to_json()).unwrap(),
            Value::Object(raw)
        );
    }
}

//! The WebSocket to the server: what comes in as a type, what goes out as a method.

use futures_util::{SinkExt, StreamExt};
use rtc::peer_connection::transport::RTCIceCandidateInit;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

/// A message of the server.
#[derive(Debug)]
pub(crate) enum Incoming {
    /// The name it gave us.
    Config { peer_id: Option<String> },
    /// To be answered with [`Signalling::pong`].
    Ping,
    /// The SDP of a server that makes the offers.
    Offer(String),
    /// The SDP that answers our offer.
    Answer(String),
    /// One of its candidates.
    Candidate(RTCIceCandidateInit),
    /// What it did not like.
    Error(String),
    /// A message that a viewer has no use for.
    Other,
    /// The end, and why.
    Closed(String),
}

/// An open WebSocket.
pub(crate) struct Signalling {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl Signalling {
    pub(crate) async fn connect(url: &str) -> Result<Self, tungstenite::Error> {
        /// Each poll zeroes this much, and we poll with each datagram: the default of 128 KiB was a fifth of
        /// a viewer's time.
        const READ_BUFFER: usize = 4096;
        let config = WebSocketConfig::default().read_buffer_size(READ_BUFFER);
        let (socket, _) =
            tokio_tungstenite::connect_async_with_config(url, Some(config), true).await?;
        Ok(Self { socket })
    }

    /// The next message. May be dropped while it waits.
    pub(crate) async fn next(&mut self) -> Incoming {
        match self.socket.next().await {
            Some(Ok(Message::Text(text))) => parse(&text),
            Some(Ok(Message::Close(frame))) => Incoming::Closed(match frame {
                Some(frame) => format!("the server closed: {} {}", frame.code, frame.reason),
                None => "the server closed".to_owned(),
            }),
            Some(Ok(_)) => Incoming::Other,
            Some(Err(error)) => Incoming::Closed(format!("the WebSocket failed: {error}")),
            None => Incoming::Closed("the WebSocket ended".to_owned()),
        }
    }

    pub(crate) async fn offer(&mut self, sdp: &str) -> Result<(), tungstenite::Error> {
        self.send(json!({"type": "offer", "data": {"type": "offer", "sdp": sdp}}))
            .await
    }

    pub(crate) async fn answer(&mut self, sdp: &str) -> Result<(), tungstenite::Error> {
        self.send(json!({"type": "answer", "data": {"type": "answer", "sdp": sdp}}))
            .await
    }

    pub(crate) async fn candidate(
        &mut self,
        candidate: &RTCIceCandidateInit,
    ) -> Result<(), tungstenite::Error> {
        self.send(json!({"type": "ice-candidate", "data": candidate}))
            .await
    }

    pub(crate) async fn pong(&mut self) -> Result<(), tungstenite::Error> {
        self.send(json!({"type": "pong"})).await
    }

    pub(crate) async fn close(&mut self) {
        // The server may be gone already; then there is nothing left to close.
        let _ = self.socket.close(None).await;
    }

    async fn send(&mut self, message: Value) -> Result<(), tungstenite::Error> {
        self.socket.send(Message::text(message.to_string())).await
    }
}

fn parse(text: &str) -> Incoming {
    let Ok(mut message) = serde_json::from_str::<Value>(text) else {
        return Incoming::Other;
    };
    let text_of = |value: &Value| value.as_str().map(str::to_owned);
    match message["type"].as_str() {
        Some("config") => Incoming::Config {
            peer_id: text_of(&message["peerId"]),
        },
        Some("ping") => Incoming::Ping,
        Some("offer") => text_of(&message["data"]["sdp"]).map_or(Incoming::Other, Incoming::Offer),
        Some("answer") => {
            text_of(&message["data"]["sdp"]).map_or(Incoming::Other, Incoming::Answer)
        }
        Some("ice-candidate") => serde_json::from_value(message["data"].take())
            .map_or(Incoming::Other, Incoming::Candidate),
        Some("error") => Incoming::Error(text_of(&message["error"]).unwrap_or_default()),
        _ => Incoming::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_the_server_are_understood_and_unknown_ones_ignored() {
        assert!(
            matches!(parse(r#"{"type":"config","peerId":"a","data":{}}"#), Incoming::Config { peer_id: Some(id) } if id == "a")
        );
        assert!(
            matches!(parse(r#"{"type":"answer","data":{"type":"answer","sdp":"v=0"}}"#), Incoming::Answer(sdp) if sdp == "v=0")
        );
        assert!(
            matches!(parse(r#"{"type":"offer","data":{"type":"offer","sdp":"v=1"}}"#), Incoming::Offer(sdp) if sdp == "v=1")
        );
        let candidate = r#"{"type":"ice-candidate","peerId":"a","data":{"candidate":"candidate:1","sdpMid":"0","sdpMLineIndex":0}}"#;
        assert!(
            matches!(parse(candidate), Incoming::Candidate(c) if c.sdp_mid.as_deref() == Some("0"))
        );
        for other in [
            "",
            "[]",
            "{}",
            r#"{"type":"answer"}"#,
            r#"{"type":"new","data":1}"#,
        ] {
            assert!(matches!(parse(other), Incoming::Other), "{other}");
        }
    }
}

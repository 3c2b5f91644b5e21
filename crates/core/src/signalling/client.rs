//! One WebSocket client, from its admission to the last byte.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{sleep_until, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::{CapacityError, Error, ProtocolError};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use super::protocol::{ClockReading, ServerMessage};
use super::seats::{Admission, Ticket};
use super::server::{ClientInfo, Shared, stopped};
use super::session::{Action, Session};
use crate::event::PeerId;
use crate::wall_clock::system_ms;

/// How long one message may take to leave: the kernel's buffers hold thousands of them.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a closed client may take to read the close frame. See [`farewell`].
const LINGER: Duration = Duration::from_secs(1);
/// How long a seat is kept for a client whose connection broke.
const RESUME_WITHIN: Duration = Duration::from_secs(30);
/// The same when the kernel gave the connection up: then nothing has been heard for this much longer already:
/// the 14 s of `connection.rs`, and what its timers round up.
const UNHEARD: Duration = Duration::from_secs(15);
/// RFC 6455, section 5.5: 125 bytes of a control frame, less the code.
const MAX_CLOSE_REASON: usize = 123;

/// RFC 6455, section 7.4.1, and the IANA registry of close codes.
pub(super) mod code {
    pub(in super::super) const NORMAL: u16 = 1000;
    pub(in super::super) const GOING_AWAY: u16 = 1001;
    pub(super) const PROTOCOL_ERROR: u16 = 1002;
    pub(super) const NOT_UTF8: u16 = 1007;
    pub(in super::super) const POLICY_VIOLATION: u16 = 1008;
    pub(super) const TOO_BIG: u16 = 1009;
    pub(super) const TRY_AGAIN_LATER: u16 = 1013;
    /// Of ours (RFC 6455, section 7.4.2): the application does not want this client, and it should not come back.
    pub(in super::super) const TURNED_AWAY: u16 = 4403;
}

type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// Why a client ends.
#[derive(Debug)]
pub(super) struct Ending {
    /// The code of our close frame; none if the client has gone already.
    code: Option<u16>,
    reason: String,
    /// How long the client may take to come back, if it did not mean to go.
    resume_within: Option<Duration>,
}

impl Ending {
    pub(super) fn close(code: u16, reason: impl Into<String>) -> Self {
        Self {
            code: Some(code),
            reason: reason.into(),
            resume_within: None,
        }
    }

    fn gone(reason: impl Into<String>) -> Self {
        Self {
            code: None,
            reason: reason.into(),
            resume_within: None,
        }
    }

    fn broken(error: &Error) -> Self {
        use std::io::ErrorKind::{HostUnreachable, NetworkUnreachable, TimedOut};
        let unheard = match error {
            // A neighbour that has vanished is unreachable, says Linux.
            Error::Io(error)
                if matches!(
                    error.kind(),
                    TimedOut | HostUnreachable | NetworkUnreachable
                ) =>
            {
                UNHEARD
            }
            _ => Duration::ZERO,
        };
        Self {
            resume_within: Some(RESUME_WITHIN - unheard),
            ..Self::gone(format!("connection lost: {error}"))
        }
    }

    /// Another connection of the same client has its seat.
    pub(super) fn resumed() -> Self {
        Self::close(code::NORMAL, "resumed elsewhere")
    }

    pub(super) fn too_slow() -> Self {
        Self::close(code::POLICY_VIOLATION, "too slow")
    }
}

/// Serves one WebSocket to its end.
pub(super) async fn run(
    mut socket: Socket,
    info: ClientInfo,
    ticket: Ticket,
    shared: Arc<Shared>,
    mut stop: watch::Receiver<bool>,
) {
    let Some(admission) = shared.admit(&ticket) else {
        let full = ServerMessage::error("Server full").to_json();
        let ending = Ending::close(code::TRY_AGAIN_LATER, "Server full");
        return farewell(&mut socket, &[full.into()], &ending).await;
    };
    let (mut presence, mut queue, mut closing) =
        Presence::new(shared, admission, info, ticket.pass);
    let mut ending = tokio::select! {
        biased;
        () = stopped(&mut stop) => Ending::close(code::GOING_AWAY, "server stopping"),
        Ok(ending) = &mut closing => ending,
        Err(ending) = presence.talk(&mut socket, &mut queue) => ending,
    };
    if let Some(within) = ending
        .resume_within
        .filter(|_| presence.can_resume && presence.has_token)
    {
        drop(socket);
        presence.shared.delegate.away(presence.peer);
        tokio::select! {
            biased;
            () = stopped(&mut stop) => ending.reason = "server stopping".to_owned(),
            Ok(ordered) = &mut closing => ending = ordered,
            () = discard(&mut queue) => {}
            () = tokio::time::sleep(within) => {}
        }
        presence.reason = ending.reason;
        return;
    }
    presence.reason = ending.reason.clone();
    drop(presence);
    let mut rest = Vec::new();
    while let Ok(text) = queue.try_recv() {
        rest.push(text);
    }
    farewell(&mut socket, &rest, &ending).await;
}

/// What is sent to a client that is not there: it would be old news when it is back.
async fn discard(queue: &mut mpsc::Receiver<Utf8Bytes>) {
    while queue.recv().await.is_some() {}
    // Without a sender the seat is another's.
    std::future::pending().await
}

/// One WebSocket's time on a seat, between `connected` and `disconnected`, however it ends.
struct Presence {
    shared: Arc<Shared>,
    peer: PeerId,
    visit: u64,
    can_resume: bool,
    /// The client has its token, or else it would not be heard. Who gave up before would never come back.
    has_token: bool,
    reason: String,
}

impl Presence {
    fn new(
        shared: Arc<Shared>,
        admission: Admission,
        info: ClientInfo,
        pass: Option<String>,
    ) -> (Self, mpsc::Receiver<Utf8Bytes>, oneshot::Receiver<Ending>) {
        let presence = Self {
            shared,
            peer: admission.peer,
            visit: admission.visit,
            can_resume: admission.token.is_some(),
            has_token: admission.is_resumed,
            // Replaced by the real one, unless the task is aborted.
            reason: "connection lost: aborted".to_owned(),
        };
        let delegate = &presence.shared.delegate;
        match admission.is_resumed {
            true => delegate.resumed(presence.peer, info),
            false => delegate.connected(presence.peer, info, pass),
        }
        (presence, admission.queue, admission.closing)
    }

    /// Passes messages both ways. May be dropped at any point: a message is then sent whole by [`farewell`], or not at all.
    async fn talk(
        &mut self,
        socket: &mut Socket,
        queue: &mut mpsc::Receiver<Utf8Bytes>,
    ) -> Result<Infallible, Ending> {
        let delegate = &self.shared.delegate;
        let mut session = Session::new(Instant::now());
        loop {
            let action = tokio::select! {
                Some(text) = queue.recv() => {
                    write(socket, text).await?;
                    None
                }
                message = socket.next() => {
                    self.has_token |= matches!(message, Some(Ok(Message::Text(_))));
                    on_message(&mut session, message)?
                }
                () = sleep_until(self.shared.beat(session.deadline()).into()) => session.on_timer(Instant::now()),
            };
            match action {
                None => {}
                Some(Action::Reply(message)) => write(socket, message.to_json().into()).await?,
                Some(Action::Offer(offer)) => delegate.offer(self.peer, offer),
                Some(Action::Answer(answer)) => delegate.answer(self.peer, answer),
                Some(Action::Candidate(candidate)) => delegate.candidate(self.peer, candidate),
                Some(Action::Clock(sent_at)) => {
                    let data = ClockReading {
                        sent_at,
                        server_time: system_ms(),
                    };
                    write(socket, ServerMessage::Clock { data }.to_json().into()).await?;
                }
                Some(Action::Statistics(told)) => delegate.statistics(self.peer, *told),
                Some(Action::Close { code, reason }) => return Err(Ending::close(code, reason)),
            }
        }
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        if self.shared.leave(self.peer, self.visit) {
            let reason = std::mem::take(&mut self.reason);
            self.shared.delegate.disconnected(self.peer, reason);
        }
    }
}

async fn write(socket: &mut Socket, text: Utf8Bytes) -> Result<(), Ending> {
    match timeout(WRITE_TIMEOUT, socket.send(Message::Text(text))).await {
        Ok(sent) => sent.map_err(lost),
        Err(_) => Err(Ending::too_slow()),
    }
}

fn on_message(
    session: &mut Session,
    message: Option<Result<Message, Error>>,
) -> Result<Option<Action>, Ending> {
    let now = Instant::now();
    match message {
        Some(Ok(Message::Text(text))) => Ok(session.on_text(&text, now)),
        Some(Ok(Message::Binary(_))) => Ok(session.on_binary(now)),
        Some(Ok(Message::Close(_))) => Err(Ending::gone("closed by client")),
        Some(Ok(_)) => Ok(session.on_control(now)),
        Some(Err(error)) => Err(lost(error)),
        None => Err(Ending::gone("connection lost: end of stream")),
    }
}

fn lost(error: Error) -> Ending {
    match error {
        Error::Capacity(CapacityError::MessageTooLong { .. }) => {
            Ending::close(code::TOO_BIG, "message too large")
        }
        Error::Utf8(_) => Ending::close(code::NOT_UTF8, "message is not UTF-8"),
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) | Error::Io(_) => {
            Ending::broken(&error)
        }
        Error::Protocol(_) => Ending::close(code::PROTOCOL_ERROR, error.to_string()),
        error => Ending::broken(&error),
    }
}

/// Sends the rest and the close frame (or the echo of the client's), then reads until the client has closed too:
/// closing a socket with unread bytes makes the kernel send RST, which can overtake the close frame.
async fn farewell(socket: &mut Socket, rest: &[Utf8Bytes], ending: &Ending) {
    let farewell = async {
        match ending.code {
            Some(code) => {
                for text in rest {
                    socket.feed(Message::Text(text.clone())).await?;
                }
                let reason = close_reason(&ending.reason);
                let code = code.into();
                socket
                    .send(Message::Close(Some(CloseFrame { code, reason })))
                    .await?;
            }
            None => socket.flush().await?,
        }
        let stream = socket.get_mut();
        stream.shutdown().await?;
        let mut discarded = [0; 4096];
        while stream.read(&mut discarded).await? > 0 {}
        Ok::<_, Error>(())
    };
    // Whatever fails here, the client is gone.
    timeout(LINGER, farewell).await.ok();
}

fn close_reason(reason: &str) -> Utf8Bytes {
    let mut end = reason.len().min(MAX_CLOSE_REASON);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    reason.get(..end).unwrap_or_default().into()
}

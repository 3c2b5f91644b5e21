//! What one client's message leads to: pings, limits and errors, without a socket or a clock.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::protocol::{ClientMessage, ServerMessage};
use crate::viewer_statistics::ViewerStatistics;

/// How often a client is pinged.
pub const PING_INTERVAL: Duration = Duration::from_secs(30);
/// A timer that is later than this has slept.
const MOST_LATE: Duration = Duration::from_secs(1);
/// A client is dropped when a ping is due and this many are unanswered.
pub const MISSED_PONGS: u32 = 2;
/// Messages a second that a client may send for long: a browser sends some tens of candidates, once.
pub const MESSAGES_PER_SECOND: f64 = 200.0;
/// Messages that a client may send at once, and may lose once it sends too many before it is closed.
pub const BURST: u32 = 400;

/// RFC 6455, section 7.4.1: the client violates a policy.
const POLICY_VIOLATION: u16 = 1008;

/// What is to be done for a client.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Send this to it.
    Reply(ServerMessage),
    /// It offers: `data` as it was sent.
    Offer(Value),
    /// It answers: `data` as it was sent.
    Answer(Value),
    /// It has a candidate: `data` as it was sent.
    Candidate(Value),
    /// Send it the time, and with it this.
    Clock(f64),
    /// It tells how the avatar arrives.
    Statistics(Box<ViewerStatistics>),
    /// Close it.
    Close {
        /// The WebSocket close code.
        code: u16,
        /// Why, in words.
        reason: &'static str,
    },
}

/// One client's signalling, as long as its WebSocket lives.
#[derive(Debug)]
pub struct Session {
    next_ping: Instant,
    unanswered_pings: u32,
    allowance: Allowance,
}

impl Session {
    /// A session that begins `now`.
    pub fn new(now: Instant) -> Self {
        Self {
            next_ping: now + PING_INTERVAL,
            unanswered_pings: 0,
            allowance: Allowance::new(now),
        }
    }

    /// When [`Session::on_timer`] wants to be called.
    pub fn deadline(&self) -> Instant {
        self.next_ping
    }

    /// The time may have come for a ping, or to give up.
    pub fn on_timer(&mut self, now: Instant) -> Option<Action> {
        if now < self.next_ping {
            return None;
        }
        if self.unanswered_pings >= MISSED_PONGS {
            return Some(Action::Close {
                code: POLICY_VIOLATION,
                reason: "ping timeout",
            });
        }
        self.unanswered_pings += 1;
        // The next one is no later for the little that this one was.
        let late = (now - self.next_ping).min(MOST_LATE);
        self.next_ping = now + PING_INTERVAL - late;
        Some(Action::Reply(ServerMessage::Ping))
    }

    /// The client sent a text message.
    pub fn on_text(&mut self, text: &str, now: Instant) -> Option<Action> {
        if let Err(action) = self.allowance.take(now) {
            return action;
        }
        match ClientMessage::parse(text) {
            Ok(ClientMessage::Offer(data)) => Some(Action::Offer(data)),
            Ok(ClientMessage::Answer(data)) => Some(Action::Answer(data)),
            Ok(ClientMessage::IceCandidate(data)) => Some(Action::Candidate(data)),
            Ok(ClientMessage::Clock(sent_at)) => Some(Action::Clock(sent_at)),
            Ok(ClientMessage::Statistics(told)) => Some(Action::Statistics(told)),
            Ok(ClientMessage::Pong) => {
                self.unanswered_pings = 0;
                None
            }
            Err(error) => Some(reply(error.to_string())),
        }
    }

    /// The client sent a binary message.
    pub fn on_binary(&mut self, now: Instant) -> Option<Action> {
        match self.allowance.take(now) {
            Ok(()) => Some(reply("binary messages are not supported: send JSON text")),
            Err(action) => action,
        }
    }

    /// The client sent a WebSocket ping or pong, which the WebSocket layer answers itself.
    pub fn on_control(&mut self, now: Instant) -> Option<Action> {
        self.allowance.take(now).err().flatten()
    }
}

fn reply(error: impl Into<String>) -> Action {
    Action::Reply(ServerMessage::error(error))
}

/// A token bucket that is full at the start.
#[derive(Debug)]
struct Allowance {
    tokens: f64,
    filled_at: Instant,
    /// Messages over the limit since the bucket was last full.
    excess: u32,
}

impl Allowance {
    fn new(now: Instant) -> Self {
        Self {
            tokens: f64::from(BURST),
            filled_at: now,
            excess: 0,
        }
    }

    /// Takes one message, or says what becomes of a client that sends too many: told once, then ignored, then closed.
    fn take(&mut self, now: Instant) -> Result<(), Option<Action>> {
        let elapsed = now.saturating_duration_since(self.filled_at);
        self.filled_at = now;
        self.tokens += elapsed.as_secs_f64() * MESSAGES_PER_SECOND;
        if self.tokens >= f64::from(BURST) {
            self.tokens = f64::from(BURST);
            self.excess = 0;
        }
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            return Ok(());
        }
        self.excess += 1;
        Err(match self.excess {
            1 => Some(reply("too many messages")),
            2..=BURST => None,
            _ => Some(Action::Close {
                code: POLICY_VIOLATION,
                reason: "too many messages",
            }),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const PONG: &str = r#"{"type":"pong"}"#;

    fn ping() -> Option<Action> {
        Some(Action::Reply(ServerMessage::Ping))
    }

    fn closed(reason: &'static str) -> Option<Action> {
        Some(Action::Close { code: 1008, reason })
    }

    #[test]
    fn messages_become_actions_with_their_data_as_sent() {
        let now = Instant::now();
        let mut session = Session::new(now);
        let offer = json!({"type": "offer", "sdp": "v=0"});
        for (kind, data, action) in [
            ("offer", offer.clone(), Action::Offer(offer)),
            (
                "answer",
                json!({"sdp": "a"}),
                Action::Answer(json!({"sdp": "a"})),
            ),
            ("ice-candidate", json!(null), Action::Candidate(json!(null))),
            ("clock", json!({"sentAt": 7.5}), Action::Clock(7.5)),
            (
                "statistics",
                json!({"latencyMs": 20}),
                Action::Statistics(Box::new(ViewerStatistics {
                    latency_ms: Some(20.0),
                    ..ViewerStatistics::default()
                })),
            ),
        ] {
            let text = json!({"type": kind, "data": data}).to_string();
            assert_eq!(session.on_text(&text, now), Some(action));
        }
        assert_eq!(session.on_text(PONG, now), None);
        assert_eq!(
            session.on_text("hello", now),
            Some(reply("Invalid message format"))
        );
        assert_eq!(
            session.on_binary(now),
            Some(reply("binary messages are not supported: send JSON text"))
        );
    }

    #[test]
    fn a_client_is_pinged_every_30_seconds_as_long_as_it_answers() {
        let start = Instant::now();
        let mut session = Session::new(start);
        for round in 1..=10 {
            let due = start + PING_INTERVAL * round;
            assert_eq!(session.deadline(), due);
            assert_eq!(session.on_timer(due - Duration::from_millis(1)), None);
            assert_eq!(session.on_timer(due), ping());
            assert_eq!(session.on_timer(due), None);
            session.on_text(PONG, due + Duration::from_secs(29));
        }
    }

    #[test]
    fn a_client_that_misses_two_pongs_is_dropped_when_the_third_ping_is_due() {
        let start = Instant::now();
        let mut session = Session::new(start);
        assert_eq!(session.on_timer(start + PING_INTERVAL), ping());
        assert_eq!(session.on_timer(start + PING_INTERVAL * 2), ping());
        assert_eq!(
            session.on_timer(start + PING_INTERVAL * 3),
            closed("ping timeout")
        );
    }

    #[test]
    fn a_late_pong_saves_the_client() {
        let start = Instant::now();
        let mut session = Session::new(start);
        assert_eq!(session.on_timer(start + PING_INTERVAL), ping());
        assert_eq!(session.on_timer(start + PING_INTERVAL * 2), ping());
        session.on_text(PONG, start + PING_INTERVAL * 2);
        assert_eq!(session.on_timer(start + PING_INTERVAL * 3), ping());
    }

    #[test]
    fn a_flood_is_told_once_then_ignored_then_closed() {
        let now = Instant::now();
        let mut session = Session::new(now);
        for _ in 0..BURST {
            assert_eq!(session.on_text(PONG, now), None);
        }
        let offer = json!({"type": "offer", "data": {"sdp": ""}}).to_string();
        assert_eq!(
            session.on_text(&offer, now),
            Some(reply("too many messages"))
        );
        for _ in 1..BURST {
            assert_eq!(session.on_binary(now), None);
        }
        assert_eq!(session.on_control(now), closed("too many messages"));
    }

    #[test]
    fn a_steady_rate_below_the_limit_is_never_refused() {
        let start = Instant::now();
        let mut session = Session::new(start);
        for message in 0..10_000 {
            let now = start + Duration::from_micros(5_001) * message;
            assert_eq!(session.on_text(PONG, now), None);
        }
    }

    #[test]
    fn a_client_that_pauses_after_a_flood_is_heard_again() {
        let start = Instant::now();
        let mut session = Session::new(start);
        for _ in 0..BURST + 10 {
            session.on_control(start);
        }
        let later = start + Duration::from_secs(2);
        for _ in 0..BURST {
            assert_eq!(session.on_control(later), None);
        }
        assert_eq!(
            session.on_control(later),
            Some(reply("too many messages")),
            "it is told again"
        );
    }
}

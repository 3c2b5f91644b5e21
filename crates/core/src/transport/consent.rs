//! The checks of the path that is in use (RFC 7675): the peer's are answered, and ours prove that it still wants what
//! it is sent. Everything else of ICE is webrtc-rs's agent's, which would walk its lists, allocate, and send a check of
//! its own for each of the peer's; a thousand idle viewers send four hundred a second.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use ring::hmac;

use super::ice::Credentials;
use super::stun::{self, Message, Transaction};

/// Between two checks of ours while media flows, and of the agent's once connected: what RFC 7675, 5.1 asks for.
pub(super) const INTERVAL: Duration = Duration::from_secs(5);

/// Each peer's interval differs by up to a fifth (RFC 7675, 5.1), so that a thousand do not act at once.
pub(super) const SPREAD: std::ops::Range<f32> = 0.8..1.2;

/// As long as a peer that checks by itself has answered within this time, an idle path is not checked: with one more
/// interval this stays below the 30 s that consent lasts.
const IDLE_PATIENCE: Duration = Duration::from_secs(12);

/// More packets than this in an interval are a flow of media: a track that rests sends one of silence.
const RESTING: u32 = 3;

/// A peer-reflexive candidate of component 1 (RFC 8445, 5.1.2.1).
const PRIORITY: u32 = (110 << 24) | (0xffff << 8) | 255;

/// One peer's consent.
pub(super) struct Consent {
    /// What its checks are called: our ufrag, a colon, its.
    username: String,
    /// What ours are called.
    reverse: String,
    our_key: hmac::Key,
    its_key: hmac::Key,
    tie_breaker: u64,
    /// Our last check, until it is answered.
    check: Option<Transaction>,
    answered: Instant,
    /// When the peer last checked the path.
    asked: Instant,
    /// Media packets that it had been sent when its consent was last looked at.
    packets: u32,
}

/// What a message of the peer was.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// A check, and what to answer.
    Check(BytesMut),
    /// The answer to ours.
    Answer,
}

impl Consent {
    /// For a path that was just nominated, and so proved.
    pub(super) fn new(now: Instant, ours: &Credentials, its: &Credentials) -> Self {
        Self {
            username: format!("{}:{}", ours.ufrag, its.ufrag),
            reverse: format!("{}:{}", its.ufrag, ours.ufrag),
            our_key: stun::key(&ours.password),
            its_key: stun::key(&its.password),
            tie_breaker: rand::random(),
            check: None,
            answered: now,
            asked: now,
            packets: 0,
        }
    }

    /// Takes a message that came along the path. `None`: it is not authentic, or something else than the plain
    /// check or answer that it would be a thousand times.
    pub(super) fn read(&mut self, now: Instant, remote: SocketAddr, data: &[u8]) -> Option<Word> {
        let message = Message::parse(data)?;
        if message.is_request() {
            let is_plain = message.username() == Some(&self.username) && message.is_understood();
            if !is_plain || !message.is_authentic(&self.our_key) {
                return None;
            }
            self.asked = now;
            let answer = stun::success(&message.transaction(), remote, &self.our_key);
            return Some(Word::Check(answer));
        }
        let is_ours = message.is_success() && self.check == Some(message.transaction());
        if !is_ours || !message.is_authentic(&self.its_key) {
            return None;
        }
        self.check = None;
        self.answered = now;
        Some(Word::Answer)
    }

    /// A check of ours, if one is due after an interval at whose end the peer has been sent so many `packets` in all.
    pub(super) fn poll_check(&mut self, now: Instant, packets: u32) -> Option<BytesMut> {
        let sent = packets.wrapping_sub(std::mem::replace(&mut self.packets, packets));
        let is_recent = |at: Instant, within| now.saturating_duration_since(at) < within;
        if sent <= RESTING
            && is_recent(self.asked, INTERVAL)
            && is_recent(self.answered, IDLE_PATIENCE)
        {
            return None;
        }
        let transaction = rand::random();
        self.check = Some(transaction);
        Some(stun::check(
            &transaction,
            &self.reverse,
            PRIORITY,
            self.tie_breaker,
            &self.its_key,
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials(name: &str) -> Credentials {
        Credentials {
            ufrag: format!("{name}fragment"),
            password: format!("the long password of {name}"),
        }
    }

    fn remote() -> SocketAddr {
        ([192, 0, 2, 1], 5000).into()
    }

    /// Both ends of a path.
    fn pair(now: Instant) -> (Consent, Consent) {
        let (us, them) = (credentials("us"), credentials("them"));
        (Consent::new(now, &us, &them), Consent::new(now, &them, &us))
    }

    #[test]
    fn a_check_is_answered_and_the_answer_taken_once() {
        let now = Instant::now();
        let (mut us, mut them) = pair(now);
        let check = them.poll_check(now, 1_000).unwrap();
        let Some(Word::Check(answer)) = us.read(now, remote(), &check) else {
            panic!("not answered");
        };
        assert_eq!(them.read(now, remote(), &answer), Some(Word::Answer));
        assert_eq!(them.read(now, remote(), &answer), None);
    }

    #[test]
    fn what_is_not_authentic_is_left_alone() {
        let now = Instant::now();
        let (mut us, mut them) = pair(now);
        let check = them.poll_check(now, 1_000).unwrap();
        for at in 0..check.len() {
            let mut forged = check.clone();
            forged[at] ^= 1;
            assert_eq!(us.read(now, remote(), &forged), None, "byte {at}");
            assert_eq!(us.read(now, remote(), &check[..at]), None, "cut at {at}");
        }
        let (_, mut stranger) = pair(now);
        stranger.its_key = stun::key("a guess");
        let check = stranger.poll_check(now, 1_000).unwrap();
        assert_eq!(us.read(now, remote(), &check), None);
    }

    #[test]
    fn an_idle_path_is_checked_within_the_time_that_consent_lasts() {
        const CONSENT: Duration = Duration::from_secs(30);
        let start = Instant::now();
        let (mut us, mut them) = pair(start);
        let mut proved = start;
        let mut checks = 0;
        for second in 1..600 {
            let now = start + Duration::from_secs(second);
            if second % 2 == 0 {
                let check = them.poll_check(now, 1_000 * second as u32).unwrap();
                us.read(now, remote(), &check);
            }
            // A packet of silence each time.
            if second % 6 == 0
                && let Some(check) = us.poll_check(now, second as u32 / 6)
            {
                let Some(Word::Check(answer)) = them.read(now, remote(), &check) else {
                    panic!("not answered");
                };
                assert_eq!(us.read(now, remote(), &answer), Some(Word::Answer));
                checks += 1;
                proved = now;
            }
            assert!(now - proved < CONSENT);
        }
        assert!(checks < 50, "{checks} checks in ten minutes");
        // While media flows each interval has its check; and so it has if nothing comes from the peer.
        let now = start + Duration::from_secs(600);
        assert!(us.poll_check(now, 1_000).is_some());
        for intervals in 1..3 {
            let silent = now + INTERVAL * intervals;
            assert!(us.poll_check(silent, 1_000).is_some());
        }
    }
}

//! ICE (RFC 8445) for one viewer: one local address, few remote ones, and consent (RFC 7675). Sans-IO.
//!
//! It is written here because an agent of webrtc-rs holds some tens of kilobytes and several timers a second,
//! for what is three datagrams every few seconds.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};

use super::stun::{self, Check, Kind, Message, Transaction};

/// Remote addresses that are tried; what else is told is ignored.
const MAX_REMOTE: usize = 16;

/// Between checks of one address: Ta of RFC 8445, 14.2.
const CHECK_INTERVAL: Duration = Duration::from_millis(50);

/// Checks of one address: 10 s.
const MAX_CHECKS: u16 = 200;

/// Between checks of the selected address. RFC 7675 asks for 5 s at least every; browsers do it twice as often.
const CONSENT_INTERVAL: Duration = Duration::from_millis(2_500);

/// Without an answer for so long, nothing may be sent any more (RFC 7675, 5.1).
const CONSENT_LASTS: Duration = Duration::from_secs(30);

/// Of a host candidate, the only one of its kind (RFC 8445, 5.1.2.1).
pub(super) const HOST_PRIORITY: u32 = 126 << 24 | 65_535 << 8 | 255;

/// Of a peer-reflexive candidate, which is what checks carry.
const REFLEXIVE_PRIORITY: u32 = 110 << 24 | 65_535 << 8 | 255;

/// ICE user name and password of one side (RFC 8445, 5.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Credentials {
    pub(super) ufrag: String,
    pub(super) password: String,
}

impl Credentials {
    /// New ones: 32 and 192 bits (RFC 8445 asks for 24 and 128).
    pub(super) fn generate() -> Result<Self, ring::error::Unspecified> {
        let mut random = [0u8; 28];
        SystemRandom::new().fill(&mut random)?;
        let hex: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        let (ufrag, password) = hex.split_at(8);
        Ok(Self {
            ufrag: ufrag.to_owned(),
            password: password.to_owned(),
        })
    }
}

/// What is to be sent, and where to.
pub(super) type Outgoing = (SocketAddr, Vec<u8>);

/// What changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum IceEvent {
    /// Both sides agree on this remote address.
    Selected(SocketAddr),
    /// No address answers (any more).
    Failed,
}

/// One viewer's agent.
pub(super) struct Ice {
    controlling: bool,
    /// [`CrowdOptions::nominate_all`](super::CrowdOptions::nominate_all).
    pub(super) nominates_all: bool,
    tie_breaker: u64,
    /// What our checks name: the peer's ufrag, a colon, ours.
    username: String,
    /// What the peer's checks name begins with.
    prefix: String,
    ours: hmac::Key,
    theirs: hmac::Key,
    remotes: Vec<Remote>,
    selected: Option<SocketAddr>,
    began: Instant,
    consent_due: Instant,
    consent_given: Instant,
    consent_check: Transaction,
    random: SystemRandom,
}

/// One address of the peer.
struct Remote {
    address: SocketAddr,
    transaction: Transaction,
    checks: u16,
    due: Instant,
    /// It answered a check of ours.
    proved: bool,
    /// We, or the peer, want it.
    nominated: bool,
}

impl Ice {
    pub(super) fn new(
        now: Instant,
        controlling: bool,
        ours: &Credentials,
        theirs: &Credentials,
    ) -> Self {
        let random = SystemRandom::new();
        let mut tie_breaker = [0; 8];
        // Without random numbers the DTLS handshake fails, and says so.
        let _ = random.fill(&mut tie_breaker);
        Self {
            controlling,
            nominates_all: false,
            tie_breaker: u64::from_be_bytes(tie_breaker),
            username: format!("{}:{}", theirs.ufrag, ours.ufrag),
            prefix: format!("{}:", ours.ufrag),
            ours: stun::key(&ours.password),
            theirs: stun::key(&theirs.password),
            remotes: Vec::new(),
            selected: None,
            began: now,
            consent_due: now,
            consent_given: now,
            consent_check: Transaction::default(),
            random,
        }
    }

    /// Tries one more address.
    pub(super) fn add_remote(&mut self, address: SocketAddr, now: Instant) {
        self.position_or_add(address, now);
    }

    /// Whether the peer was told, or has proved, to be there.
    pub(super) fn knows(&self, address: SocketAddr) -> bool {
        self.remotes.iter().any(|remote| remote.address == address)
    }

    fn position_or_add(&mut self, address: SocketAddr, now: Instant) -> Option<usize> {
        let known = self
            .remotes
            .iter()
            .position(|remote| remote.address == address);
        if known.is_some() || self.remotes.len() >= MAX_REMOTE {
            return known;
        }
        self.remotes.push(Remote {
            address,
            transaction: self.transaction(),
            checks: 0,
            due: now,
            proved: false,
            nominated: false,
        });
        Some(self.remotes.len() - 1)
    }

    /// Takes a datagram that is STUN.
    pub(super) fn handle(
        &mut self,
        now: Instant,
        from: SocketAddr,
        datagram: &[u8],
        out: &mut Vec<Outgoing>,
    ) -> Option<IceEvent> {
        let message = Message::parse(datagram)?;
        match message.kind {
            Kind::Request => self.on_request(now, from, &message, out),
            Kind::Success => self.on_success(now, from, &message, out),
            Kind::Other => None,
        }
    }

    fn on_request(
        &mut self,
        now: Instant,
        from: SocketAddr,
        message: &Message<'_>,
        out: &mut Vec<Outgoing>,
    ) -> Option<IceEvent> {
        let is_ours = message.username()?.starts_with(&self.prefix);
        if !is_ours || !message.is_authentic(&self.ours) {
            return None;
        }
        out.push((from, stun::success(&message.transaction, from, &self.ours)));
        let position = self.position_or_add(from, now)?;
        let controlling = self.controlling;
        let remote = self.remotes.get_mut(position)?;
        remote.nominated |= !controlling && message.nominates();
        if !remote.proved {
            // A triggered check (RFC 8445, 7.3.1.4) goes at once.
            remote.due = now;
            self.check(position, now, out);
            return None;
        }
        let nominated = remote.nominated && !controlling;
        (nominated && self.selected != Some(from)).then(|| self.select(from, now))
    }

    fn on_success(
        &mut self,
        now: Instant,
        from: SocketAddr,
        message: &Message<'_>,
        out: &mut Vec<Outgoing>,
    ) -> Option<IceEvent> {
        if !message.is_authentic(&self.theirs) {
            return None;
        }
        if self.selected == Some(from) && message.transaction == self.consent_check {
            self.consent_given = now;
            return None;
        }
        let position = self.remotes.iter().position(|remote| {
            remote.address == from && remote.transaction == message.transaction
        })?;
        let transaction = self.transaction();
        let others = self.remotes.iter().any(|remote| remote.nominated);
        let remote = self.remotes.get_mut(position)?;
        remote.proved = true;
        if self.nominates_all {
            return self.use_first(now, out);
        }
        if remote.nominated {
            return (self.selected != Some(from)).then(|| self.select(from, now));
        }
        // Regular nomination (RFC 8445, 8.1.1) of the first address that answers: the soonest picture.
        if self.controlling && !others {
            remote.nominated = true;
            remote.transaction = transaction;
            remote.due = now;
            self.check(position, now, out);
        }
        None
    }

    /// Once all have answered, uses the first; the others' checks come once more, as if they had been late.
    fn use_first(&mut self, now: Instant, out: &mut Vec<Outgoing>) -> Option<IceEvent> {
        let (first, others) = self.remotes.split_first()?;
        let is_first = self.selected.is_none() && self.remotes.iter().all(|remote| remote.proved);
        let (first, others) = is_first.then_some((first.address, others))?;
        for other in others {
            out.push((other.address, self.request(other.transaction, true)));
        }
        Some(self.select(first, now))
    }

    /// Whether what comes from there is not heard any more.
    pub(super) fn is_closed(&self, remote: SocketAddr) -> bool {
        self.nominates_all && self.selected.is_some_and(|selected| selected != remote)
    }

    fn select(&mut self, remote: SocketAddr, now: Instant) -> IceEvent {
        self.selected = Some(remote);
        self.consent_given = now;
        self.consent_due = now + CONSENT_INTERVAL;
        IceEvent::Selected(remote)
    }

    /// Sends what is due.
    pub(super) fn handle_timeout(
        &mut self,
        now: Instant,
        out: &mut Vec<Outgoing>,
    ) -> Option<IceEvent> {
        if let Some(selected) = self.selected {
            if now.duration_since(self.consent_given) >= CONSENT_LASTS {
                return Some(IceEvent::Failed);
            }
            if self.consent_due <= now {
                self.consent_check = self.transaction();
                self.consent_due = now + CONSENT_INTERVAL;
                let nominate = self.controlling && !self.nominates_all;
                out.push((selected, self.request(self.consent_check, nominate)));
            }
            return None;
        }
        for position in 0..self.remotes.len() {
            self.check(position, now, out);
        }
        let has_failed = now.duration_since(self.began) >= CHECK_INTERVAL * u32::from(MAX_CHECKS);
        has_failed.then_some(IceEvent::Failed)
    }

    /// Sends a check if it is due: plain until the address answered, nominating after that.
    fn check(&mut self, position: usize, now: Instant, out: &mut Vec<Outgoing>) {
        let controlling = self.controlling;
        let Some(remote) = self.remotes.get_mut(position) else {
            return;
        };
        if remote.due > now || !remote.wants_check(controlling) {
            return;
        }
        remote.checks += 1;
        remote.due = now + CHECK_INTERVAL;
        let (address, transaction) = (remote.address, remote.transaction);
        let nominate = controlling && (remote.nominated || self.nominates_all);
        out.push((address, self.request(transaction, nominate)));
    }

    /// When [`Self::handle_timeout`] is due.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        match self.selected {
            Some(_) => Some(self.consent_due),
            None => self
                .remotes
                .iter()
                .filter(|remote| remote.wants_check(self.controlling))
                .map(|remote| remote.due)
                .min(),
        }
    }

    fn request(&self, transaction: Transaction, nominate: bool) -> Vec<u8> {
        let check = Check {
            transaction,
            username: &self.username,
            priority: REFLEXIVE_PRIORITY,
            controlling: self.controlling,
            tie_breaker: self.tie_breaker,
            nominate,
        };
        stun::request(&check, &self.theirs)
    }

    fn transaction(&self) -> Transaction {
        let mut transaction = Transaction::default();
        // As above: a machine without random numbers gets no further than the handshake.
        let _ = self.random.fill(&mut transaction);
        transaction
    }
}

impl Remote {
    fn wants_check(&self, controlling: bool) -> bool {
        let is_done = self.proved && !(self.nominated && controlling);
        !is_done && self.checks < MAX_CHECKS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(port: u16) -> SocketAddr {
        ([127, 0, 0, 1], port).into()
    }

    /// A controlling and a controlled agent, at ports 1 and 2, each of which may know the other.
    fn pair(now: Instant, known: (bool, bool)) -> [Ice; 2] {
        let credentials = [(); 2].map(|()| Credentials::generate().unwrap());
        let mut controlling = Ice::new(now, true, &credentials[0], &credentials[1]);
        let mut controlled = Ice::new(now, false, &credentials[1], &credentials[0]);
        if known.0 {
            controlling.add_remote(address(2), now);
        }
        if known.1 {
            controlled.add_remote(address(1), now);
        }
        [controlling, controlled]
    }

    /// Lets both work at `now` until nothing is sent; `lose` is asked for each datagram.
    fn exchange(
        agents: &mut [Ice; 2],
        now: Instant,
        mut lose: impl FnMut() -> bool,
    ) -> [Vec<IceEvent>; 2] {
        let mut events = [Vec::new(), Vec::new()];
        let mut on_the_way = Vec::new();
        for side in 0..2 {
            let mut out = Vec::new();
            events[side].extend(agents[side].handle_timeout(now, &mut out));
            on_the_way.extend(out.into_iter().map(|(_, data)| (1 - side, data)));
        }
        while !on_the_way.is_empty() {
            for (side, data) in std::mem::take(&mut on_the_way) {
                if lose() {
                    continue;
                }
                let mut out = Vec::new();
                let from = address(2 - side as u16);
                events[side].extend(agents[side].handle(now, from, &data, &mut out));
                on_the_way.extend(out.into_iter().map(|(_, data)| (1 - side, data)));
            }
        }
        events
    }

    #[test]
    fn two_agents_find_each_other_although_one_knows_no_address() {
        let now = Instant::now();
        for known in [(true, false), (false, true), (true, true)] {
            let events = exchange(&mut pair(now, known), now, || false);
            assert_eq!(events[0], [IceEvent::Selected(address(2))], "{known:?}");
            assert_eq!(events[1], [IceEvent::Selected(address(1))], "{known:?}");
        }
    }

    #[test]
    fn lost_checks_are_sent_again() {
        let now = Instant::now();
        let mut agents = pair(now, (true, true));
        let mut loss = crate::Loss::new(0.5, 1);
        let mut selected = [false; 2];
        for round in 0..50 {
            let events = exchange(&mut agents, now + CHECK_INTERVAL * round, || loss.next());
            for (selected, events) in selected.iter_mut().zip(events) {
                *selected |= !events.is_empty();
            }
        }
        assert_eq!(selected, [true; 2]);
    }

    #[test]
    fn a_peer_without_the_password_is_not_answered() {
        let now = Instant::now();
        let mut agent = pair(now, (false, false)).into_iter().next().unwrap();
        let mut stranger = pair(now, (true, false)).into_iter().next().unwrap();
        stranger.username = format!("{}x", agent.prefix);
        let mut out = Vec::new();
        stranger.handle_timeout(now, &mut out);
        let (_, check) = out.pop().unwrap();
        assert_eq!(agent.handle(now, address(9), &check, &mut out), None);
        assert_eq!(out, []);
    }

    #[test]
    fn consent_is_asked_for_and_without_an_answer_it_ends() {
        let now = Instant::now();
        let mut agents = pair(now, (true, true));
        exchange(&mut agents, now, || false);
        let answered = now + CONSENT_LASTS / 2;
        assert_eq!(exchange(&mut agents, answered, || false)[0], []);
        let [controlling, _] = &mut agents;
        assert_eq!(controlling.consent_given, answered);
        let mut out = Vec::new();
        let just_before = answered + CONSENT_LASTS - Duration::from_millis(1);
        assert_eq!(controlling.handle_timeout(just_before, &mut out), None);
        assert_eq!(out.len(), 1);
        assert_eq!(
            controlling.handle_timeout(answered + CONSENT_LASTS, &mut out),
            Some(IceEvent::Failed)
        );
    }

    #[test]
    fn without_any_answer_the_checks_end() {
        let now = Instant::now();
        let [mut agent, _] = pair(now, (true, true));
        let late = now + CHECK_INTERVAL * u32::from(MAX_CHECKS);
        assert_eq!(
            agent.handle_timeout(late, &mut Vec::new()),
            Some(IceEvent::Failed)
        );
    }
}

//! ICE for one peer: webrtc-rs's agent, and the candidates that go in and out of it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use rtc_crypto::RTCCryptoProvider;
use rtc_ice::agent::agent_config::AgentConfig;
use rtc_ice::agent::{Agent, Event};
use rtc_ice::candidate::candidate_host::CandidateHostConfig;
use rtc_ice::candidate::candidate_pair::CandidatePairState;
use rtc_ice::candidate::{Candidate, CandidateConfig, unmarshal_candidate};
use rtc_shared::{TransportContext, TransportMessage, TransportProtocol};
use sansio::Protocol as _;
use serde_json::Value;

use super::{Datagram, stun};

/// ICE user name and password of one side (RFC 8445, 5.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Names the session in STUN checks.
    pub ufrag: String,
    /// Keys their integrity.
    pub password: String,
}

impl Credentials {
    /// New ones: 90 bits to find the session, behind a letter that names its shard, and 192 bits to prove it (RFC 8445
    /// asks for 24 and 128).
    pub(super) fn generate(shard_letter: char) -> Self {
        let word = |length: usize| -> String {
            use rand::Rng as _;
            rand::rng()
                .sample_iter(rand::distr::Alphanumeric)
                .take(length)
                .map(char::from)
                .collect()
        };
        Self {
            ufrag: format!("{shard_letter}{}", word(15)),
            password: word(32),
        }
    }
}

/// Most candidates taken from one client; browsers send fewer than 20.
const MAX_REMOTE_CANDIDATES: usize = 64;

/// Between two rounds of checks while connecting. The agent's own 200 ms would be most of the time that
/// connecting takes.
const CHECK_INTERVAL: Duration = Duration::from_millis(50);

/// Checks of one pair before it is given up. Three seconds' worth: a browser may be slow to answer while it
/// sets up its own side.
const MAX_BINDING_REQUESTS: u16 = 60;

/// A browser's candidate, or the word that there are no more.
#[derive(Debug)]
pub enum RemoteCandidate {
    /// An address to try.
    Usable(Box<Candidate>),
    /// An mDNS name, a TCP candidate or the end of candidates: nothing for us to do. The browser's own checks
    /// reach us all the same, and show us its address.
    Ignored,
}

/// Why a candidate cannot be used; the sentence goes to the client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the candidate is not readable: {0}")]
pub struct CandidateError(String);

/// Reads `RTCIceCandidateInit` (W3C WebRTC).
pub fn parse_remote(init: &Value) -> Result<RemoteCandidate, CandidateError> {
    match init {
        Value::Null => Ok(RemoteCandidate::Ignored),
        Value::Object(fields) => match fields.get("candidate") {
            None | Some(Value::Null) => Ok(RemoteCandidate::Ignored),
            Some(Value::String(line)) => parse_remote_line(line),
            Some(_) => Err(CandidateError("`candidate` must be a string".to_owned())),
        },
        _ => Err(CandidateError(
            "an RTCIceCandidateInit object is expected".to_owned(),
        )),
    }
}

/// Reads one `candidate:` line.
pub fn parse_remote_line(line: &str) -> Result<RemoteCandidate, CandidateError> {
    let line = line.trim();
    let line = line.strip_prefix("a=").unwrap_or(line);
    let line = line.strip_prefix("candidate:").unwrap_or(line);
    if line.is_empty() {
        return Ok(RemoteCandidate::Ignored);
    }
    let fields: Vec<&str> = line.split_whitespace().collect();
    let (Some(protocol), Some(address)) = (fields.get(2), fields.get(4)) else {
        return Err(CandidateError(format!(
            "{} of at least 8 fields",
            fields.len()
        )));
    };
    if !protocol.eq_ignore_ascii_case("udp") || address.ends_with(".local") {
        return Ok(RemoteCandidate::Ignored);
    }
    let candidate = unmarshal_candidate(line).map_err(|error| CandidateError(error.to_string()))?;
    if usable_destination(candidate.addr()) {
        Ok(RemoteCandidate::Usable(Box::new(candidate)))
    } else {
        Ok(RemoteCandidate::Ignored)
    }
}

/// Whether checks may be sent there: a client must not make us send to a broadcast or multicast address.
fn usable_destination(address: SocketAddr) -> bool {
    let ip = address.ip();
    let broadcast = matches!(ip, IpAddr::V4(v4) if v4.is_broadcast());
    address.port() != 0 && !ip.is_unspecified() && !ip.is_multicast() && !broadcast
}

/// What a STUN message turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Check {
    /// Not from the peer.
    Refused,
    /// From the peer: it knows the session's password.
    Authenticated,
    /// The peer wants media on this pair, and we have proved it.
    Nominated,
}

/// One peer's agent.
pub(super) struct Ice {
    agent: Agent,
    local: Vec<SocketAddr>,
    remote_candidates: usize,
    /// A nomination that came before its pair was proved. The agent then sends a check of its own but no
    /// response, though RFC 8445, 7.3 wants one, and Chromium, which nominates with its first check, sends the
    /// next one 50 ms later. So the agent gets it again once the pair is proved.
    unanswered: Option<(Pair, Vec<u8>)>,
}

/// Our and the peer's address.
type Pair = (SocketAddr, SocketAddr);

impl Ice {
    pub(super) fn new(
        now: Instant,
        ours: &Credentials,
        theirs: &Credentials,
        local: &[SocketAddr],
        crypto: Arc<dyn RTCCryptoProvider>,
    ) -> Result<Self, String> {
        let config = AgentConfig {
            local_ufrag: ours.ufrag.clone(),
            local_pwd: ours.password.clone(),
            // The agent would watch the pair that was nominated first, and no other: `Peer` judges by what it
            // hears on any of them.
            disconnected_timeout: Some(Duration::ZERO),
            failed_timeout: Some(Duration::ZERO),
            max_binding_requests: Some(MAX_BINDING_REQUESTS),
            check_interval: CHECK_INTERVAL,
            is_controlling: false,
            ..AgentConfig::default()
        };
        let mut agent =
            Agent::new(now, Arc::new(config), crypto).map_err(|error| error.to_string())?;
        for address in local {
            agent
                .add_local_candidate(host(*address)?)
                .map_err(|error| error.to_string())?;
        }
        agent
            .start_connectivity_checks(now, false, theirs.ufrag.clone(), theirs.password.clone())
            .map_err(|error| error.to_string())?;
        Ok(Self {
            agent,
            local: local.to_vec(),
            remote_candidates: 0,
            unanswered: None,
        })
    }

    /// A new pair of credentials on both sides (RFC 8445, 9): the addresses are checked anew while media goes
    /// on along the old path.
    pub(super) fn restart(
        &mut self,
        now: Instant,
        ours: &Credentials,
        theirs: &Credentials,
    ) -> Result<(), String> {
        self.remote_candidates = 0;
        self.unanswered = None;
        self.agent
            .restart(now, ours.ufrag.clone(), ours.password.clone(), true)
            .and_then(|()| {
                self.agent.start_connectivity_checks(
                    now,
                    false,
                    theirs.ufrag.clone(),
                    theirs.password.clone(),
                )
            })
            .map_err(|error| error.to_string())
    }

    pub(super) fn add_remote(&mut self, candidate: Candidate) {
        if self.remote_candidates < MAX_REMOTE_CANDIDATES {
            self.remote_candidates += 1;
            if let Err(error) = self.agent.add_remote_candidate(candidate) {
                tracing::debug!(%error, "candidate not taken");
            }
        }
    }

    /// Takes a STUN message.
    pub(super) fn handle(
        &mut self,
        now: Instant,
        local: SocketAddr,
        remote: SocketAddr,
        data: &[u8],
    ) -> Check {
        let pair = (self.candidate_for(local), remote);
        // The agent answers Ok to an indication without looking at its integrity.
        if !self.feed(now, pair, data) || stun::is_indication(data) {
            return Check::Refused;
        }
        let nominates = stun::nominates(data);
        if nominates && !self.has_proved(now, pair) {
            self.unanswered = Some((pair, data.to_vec()));
            return Check::Authenticated;
        }
        let waiting = self
            .unanswered
            .take_if(|(waiting, _)| *waiting == pair && !nominates);
        match waiting {
            Some((pair, check)) if self.has_proved(now, pair) => {
                self.feed(now, pair, &check);
                Check::Nominated
            }
            Some(unanswered) => {
                self.unanswered = Some(unanswered);
                Check::Authenticated
            }
            None if nominates => Check::Nominated,
            None => Check::Authenticated,
        }
    }

    fn feed(&mut self, now: Instant, pair: Pair, data: &[u8]) -> bool {
        let message = TransportMessage {
            now,
            transport: TransportContext {
                local_addr: pair.0,
                peer_addr: pair.1,
                ecn: None,
                transport_protocol: TransportProtocol::UDP,
            },
            message: BytesMut::from(data),
        };
        self.agent.handle_read(message).is_ok()
    }

    /// Whether a check of our own was answered along this path.
    pub(super) fn is_proved(&self, now: Instant, (local, remote): Pair) -> bool {
        self.has_proved(now, (self.candidate_for(local), remote))
    }

    /// Whether a check of our own was answered on this pair: nobody makes us send to a forged address.
    fn has_proved(&self, now: Instant, (local, remote): Pair) -> bool {
        let id = |candidates: &[Candidate], address: SocketAddr| {
            let known = candidates
                .iter()
                .find(|candidate| candidate.base_addr() == address);
            known.map(|candidate| candidate.id().to_owned())
        };
        let local = id(self.agent.get_local_candidates(), local);
        let remote = id(self.agent.get_remote_candidates(), remote);
        self.agent
            .get_candidate_pairs_stats(now)
            .iter()
            .any(|pair| {
                pair.state == CandidatePairState::Succeeded
                    && Some(&pair.local_candidate_id) == local.as_ref()
                    && Some(&pair.remote_candidate_id) == remote.as_ref()
            })
    }

    /// The agent knows its own candidates only; behind a container's address translation, say, a datagram may
    /// name another destination.
    fn candidate_for(&self, local: SocketAddr) -> SocketAddr {
        if self.local.contains(&local) {
            return local;
        }
        self.local
            .iter()
            .find(|known| known.is_ipv4() == local.is_ipv4())
            .copied()
            .unwrap_or(local)
    }

    pub(super) fn poll_transmit(&mut self) -> Option<Datagram> {
        self.agent.poll_write().map(|message| Datagram {
            local: message.transport.local_addr,
            remote: message.transport.peer_addr,
            data: message.message,
        })
    }

    /// Our and the peer's address of the first nominated pair, once.
    pub(super) fn poll_selected(&mut self) -> Option<Pair> {
        let mut selected = false;
        while let Some(event) = self.agent.poll_event() {
            selected |= matches!(event.event, Event::SelectedCandidatePairChange(..));
        }
        let (local, remote) = self
            .agent
            .get_selected_candidate_pair()
            .filter(|_| selected)?;
        Some((local.base_addr(), remote.addr()))
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if let Err(error) = self.agent.handle_timeout(now) {
            tracing::debug!(%error, "ICE timer");
        }
    }

    pub(super) fn poll_timeout(&mut self) -> Option<Instant> {
        self.agent.poll_timeout()
    }
}

fn host(address: SocketAddr) -> Result<Candidate, String> {
    CandidateHostConfig {
        base_config: CandidateConfig {
            network: "udp".to_owned(),
            address: address.ip().to_string(),
            port: address.port(),
            component: 1,
            ..CandidateConfig::default()
        },
        ..CandidateHostConfig::default()
    }
    .new_candidate_host()
    .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_browsers_candidates_are_read() {
        let usable = parse_remote(
            &json!({"candidate": "candidate:1 1 udp 2113937151 192.0.2.7 50000 typ host generation 0 ufrag x network-cost 999", "sdpMid": "0"}),
        );
        assert!(
            matches!(usable, Ok(RemoteCandidate::Usable(candidate)) if candidate.addr().port() == 50_000)
        );
        for ignored in [
            json!(null),
            json!({"candidate": ""}),
            json!({"candidate": "candidate:1 1 udp 2113937151 4f3c.local 50000 typ host"}),
            json!({"candidate": "candidate:1 1 tcp 1518280447 192.0.2.7 9 typ host tcptype active"}),
            json!({"candidate": "candidate:1 1 udp 2113937151 255.255.255.255 50000 typ host"}),
            json!({"candidate": "candidate:1 1 udp 2113937151 224.0.0.1 50000 typ host"}),
        ] {
            assert!(
                matches!(parse_remote(&ignored), Ok(RemoteCandidate::Ignored)),
                "{ignored}"
            );
        }
        for garbage in [
            json!(3),
            json!({"candidate": 3}),
            json!({"candidate": "garbage"}),
            json!({"candidate": "candidate:1 1 udp x 192.0.2.7 y typ host"}),
        ] {
            assert!(parse_remote(&garbage).is_err(), "{garbage}");
        }
    }

    proptest::proptest! {
        #[test]
        fn garbage_candidates_never_panic(line in ".{0,200}") {
            let _ = parse_remote_line(&line);
        }

        #[test]
        fn candidates_of_random_fields_never_panic(fields in proptest::collection::vec("[a-z0-9.:]{0,8}|udp|typ|host|raddr|rport", 0..14)) {
            let _ = parse_remote_line(&fields.join(" "));
        }
    }
}

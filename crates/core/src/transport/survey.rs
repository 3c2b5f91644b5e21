//! Asks a STUN or TURN server whether it works (RFC 8489, RFC 8656), from a socket of its own. Waits for the answer: for
//! whoever diagnoses, not for viewers.

use std::net::{SocketAddr, ToSocketAddrs, UdpSocket};
use std::time::Duration;

use rtc_stun::attributes::{
    ATTR_LIFETIME, ATTR_NONCE, ATTR_REALM, ATTR_REQUESTED_TRANSPORT, ATTR_USERNAME,
    ATTR_XOR_RELAYED_ADDRESS, ATTR_XORMAPPED_ADDRESS, AttrType, RawAttribute,
};
use rtc_stun::error_code::ErrorCodeAttribute;
use rtc_stun::integrity::MessageIntegrity;
use rtc_stun::message::{
    BINDING_REQUEST, CLASS_ERROR_RESPONSE, CLASS_REQUEST, Getter, METHOD_ALLOCATE, METHOD_REFRESH,
    Message, MessageType, Setter, TransactionId,
};
use rtc_stun::textattrs::TextAttribute;
use rtc_stun::xoraddr::XorMappedAddress;

/// Each request is sent so often,
const ATTEMPTS: usize = 3;
/// and so long is waited for its answer each time.
const PATIENCE: Duration = Duration::from_millis(400);
/// Longest answer.
const MAX_ANSWER: usize = 1_500;
/// REQUESTED-TRANSPORT: UDP.
const UDP: [u8; 4] = [17, 0, 0, 0];

/// Why a server is of no use.
#[derive(Debug, thiserror::Error)]
pub enum SurveyError {
    /// The name has no address.
    #[error("its name cannot be resolved: {0}")]
    Unresolved(std::io::Error),
    /// No socket, or no way there.
    #[error("it cannot be reached: {0}")]
    Unreachable(std::io::Error),
    /// No answer.
    #[error("it does not answer")]
    Silent,
    /// Something that is not an answer.
    #[error("its answer cannot be read: {0}")]
    Unreadable(String),
    /// It says no.
    #[error("it refuses: {0}")]
    Refused(String),
}

/// Our address as a STUN server sees it; `host` has a port.
pub fn ask_stun(host: &str) -> Result<SocketAddr, SurveyError> {
    let line = Line::to(host)?;
    let answer = line.ask(vec![Box::new(BINDING_REQUEST)])?;
    address(&answer, ATTR_XORMAPPED_ADDRESS)
}

/// The address that a TURN server gives us for a moment.
pub fn ask_turn(host: &str, username: &str, password: &str) -> Result<SocketAddr, SurveyError> {
    let line = Line::to(host)?;
    let transport = || -> Box<dyn Setter> {
        Box::new(RawAttribute {
            typ: ATTR_REQUESTED_TRANSPORT,
            length: 4,
            value: UDP.to_vec(),
        })
    };
    let request = |method| MessageType::new(method, CLASS_REQUEST);
    // The first one is always refused, with what the second one needs (RFC 8489, 9.2).
    let refusal = line.exchange(vec![Box::new(request(METHOD_ALLOCATE)), transport()])?;
    let text = |kind| TextAttribute::get_from_as(&refusal, kind).map_err(unreadable);
    let (realm, nonce) = (text(ATTR_REALM)?, text(ATTR_NONCE)?);
    let crypto = rtc_crypto::default_provider().map_err(unreadable)?;
    let integrity = || {
        MessageIntegrity::new_long_term_integrity_with_provider(
            username.to_owned(),
            realm.text.clone(),
            password.to_owned(),
            crypto.crypto(),
        )
        .map_err(unreadable)
    };
    let with_credentials = |method, more: Box<dyn Setter>| {
        let user = TextAttribute::new(ATTR_USERNAME, username.to_owned());
        let realm = TextAttribute::new(ATTR_REALM, realm.text.clone());
        let nonce = TextAttribute::new(ATTR_NONCE, nonce.text.clone());
        line.ask(vec![
            Box::new(request(method)),
            more,
            Box::new(user),
            Box::new(realm),
            Box::new(nonce),
            Box::new(integrity()?),
        ])
    };
    let granted = with_credentials(METHOD_ALLOCATE, transport())?;
    let relayed = address(&granted, ATTR_XOR_RELAYED_ADDRESS)?;
    let no_longer = RawAttribute {
        typ: ATTR_LIFETIME,
        length: 4,
        value: vec![0; 4],
    };
    // It ends by itself if this is lost.
    with_credentials(METHOD_REFRESH, Box::new(no_longer)).ok();
    Ok(relayed)
}

/// A socket to one server.
struct Line(UdpSocket);

impl Line {
    fn to(host: &str) -> Result<Self, SurveyError> {
        let address = (host.to_socket_addrs().map_err(SurveyError::Unresolved)?)
            .next()
            .ok_or_else(|| SurveyError::Unresolved(std::io::ErrorKind::NotFound.into()))?;
        let any: SocketAddr = match address {
            SocketAddr::V4(_) => ([0, 0, 0, 0], 0).into(),
            SocketAddr::V6(_) => ([0_u16; 8], 0).into(),
        };
        let open = || {
            let socket = UdpSocket::bind(any)?;
            socket.connect(address)?;
            socket.set_read_timeout(Some(PATIENCE))?;
            Ok(socket)
        };
        open().map(Self).map_err(SurveyError::Unreachable)
    }

    /// What the server grants.
    fn ask(&self, parts: Vec<Box<dyn Setter + '_>>) -> Result<Message, SurveyError> {
        let answer = self.exchange(parts)?;
        if answer.typ.class != CLASS_ERROR_RESPONSE {
            return Ok(answer);
        }
        let mut error = ErrorCodeAttribute::default();
        error.get_from(&answer).map_err(unreadable)?;
        Err(SurveyError::Refused(error.to_string()))
    }

    /// What it answers.
    fn exchange(&self, mut parts: Vec<Box<dyn Setter + '_>>) -> Result<Message, SurveyError> {
        parts.insert(0, Box::new(TransactionId::new()));
        let mut request = Message::new();
        request.build(&parts).map_err(unreadable)?;
        let mut data = [0; MAX_ANSWER];
        for _ in 0..ATTEMPTS {
            self.0
                .send(&request.raw)
                .map_err(SurveyError::Unreachable)?;
            let Ok(length) = self.0.recv(&mut data) else {
                continue;
            };
            let mut answer = Message::new();
            let data = data.get(..length).unwrap_or_default();
            let is_ours = answer.unmarshal_binary(data).is_ok()
                && answer.transaction_id == request.transaction_id;
            if is_ours {
                return Ok(answer);
            }
        }
        Err(SurveyError::Silent)
    }
}

fn address(answer: &Message, kind: AttrType) -> Result<SocketAddr, SurveyError> {
    let mut address = XorMappedAddress::default();
    address.get_from_as(answer, kind).map_err(unreadable)?;
    Ok(SocketAddr::new(address.ip, address.port))
}

fn unreadable(error: impl std::fmt::Display) -> SurveyError {
    SurveyError::Unreadable(error.to_string())
}

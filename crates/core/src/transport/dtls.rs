//! DTLS for one peer (RFC 5764): webrtc-rs's endpoint, our choice of SRTP profile, the keys that come out.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;
use rtc_crypto::{HashAlgorithm, RTCCryptoProvider};
use rtc_dtls::config::{ClientAuthType, ConfigBuilder, ExtendedMasterSecretType, HandshakeConfig};
use rtc_dtls::crypto::Certificate;
use rtc_dtls::endpoint::{Endpoint, EndpointEvent};
use rtc_dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use rtc_shared::TransportProtocol;
use rtc_shared::error::Error as RtcError;
use rtc_srtp::protection_profile::ProtectionProfile;

use super::client_hello::ClientHelloReader;
use super::sdp::DtlsRole;
use super::srtp::Keys;

/// The endpoint keys its associations by address. Ours has one, whose address may change under it: ICE knows.
const TUNNEL: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 1);

/// Handshake datagrams kept until the ClientHello is whole.
const MAX_EARLY_DATAGRAMS: usize = 8;

/// RFC 7714 allows a window of any size; 64 is what RFC 4347 recommends.
const REPLAY_WINDOW: usize = 64;

/// Our certificate, made once for the process: what `a=fingerprint` names.
#[derive(Clone)]
pub(super) struct Identity {
    certificate: Certificate,
    /// SHA-256, upper-case hex with colons.
    pub(super) fingerprint: String,
    pub(super) crypto: Arc<dyn RTCCryptoProvider>,
}

impl Identity {
    pub(super) fn generate() -> Result<Self, String> {
        let crypto = rtc_crypto::default_provider().map_err(|error| error.to_string())?;
        let certificate =
            Certificate::generate_self_signed(vec!["avatar".to_owned()], crypto.crypto())
                .map_err(|error| error.to_string())?;
        let der = certificate
            .certificate
            .first()
            .ok_or("an empty certificate chain")?;
        let fingerprint = fingerprint(crypto.as_ref(), der).map_err(|error| error.to_string())?;
        Ok(Self {
            certificate,
            fingerprint,
            crypto,
        })
    }

    fn config(
        &self,
        role: DtlsRole,
        peer_fingerprint: String,
        profiles: Vec<SrtpProtectionProfile>,
    ) -> Result<Arc<HandshakeConfig>, RtcError> {
        let crypto = self.crypto.clone();
        let verify = move |chain: &[Vec<u8>], _: &[_]| {
            let certificate = chain.first().ok_or(RtcError::ErrNonCertificate)?;
            match fingerprint(crypto.as_ref(), certificate)? == peer_fingerprint {
                true => Ok(()),
                false => Err(RtcError::ErrNoMatchingCertificateFingerprint),
            }
        };
        ConfigBuilder::default()
            .with_crypto_provider(self.crypto.clone())
            .with_certificates(vec![self.certificate.clone()])
            .with_srtp_protection_profiles(profiles)
            .with_client_auth(ClientAuthType::RequireAnyClientCert)
            // Certificates are self-signed: the fingerprint in the SDP vouches for them, not an authority.
            .with_insecure_skip_verify(true)
            .with_verify_peer_certificate(Some(Arc::new(verify)))
            .with_extended_master_secret(ExtendedMasterSecretType::Require)
            .with_replay_protection_window(REPLAY_WINDOW)
            .build(role == DtlsRole::Client, None)
            .map(Arc::new)
    }
}

fn fingerprint(crypto: &dyn RTCCryptoProvider, certificate: &[u8]) -> Result<String, RtcError> {
    let hash = crypto
        .crypto()
        .hash(HashAlgorithm::Sha256, certificate)
        .map_err(|error| RtcError::Crypto(error.to_string()))?;
    let bytes: Vec<String> = hash.iter().map(|byte| format!("{byte:02X}")).collect();
    Ok(bytes.join(":"))
}

/// What came out of a datagram.
pub(super) enum DtlsEvent {
    /// The handshake is done; media may flow under these keys.
    Connected(Box<Keys>),
    /// A piece of SCTP.
    Data(BytesMut),
    /// The peer said good-bye.
    Closed,
}

enum Stage {
    /// A server that has not yet seen which SRTP profiles the client offers.
    Listening {
        reader: ClientHelloReader,
        early: Vec<BytesMut>,
    },
    Running(Box<Endpoint>),
    Closed,
}

/// One peer's DTLS association.
pub(super) struct Dtls {
    identity: Identity,
    role: DtlsRole,
    peer_fingerprint: String,
    stage: Stage,
}

impl Dtls {
    pub(super) fn new(identity: Identity, role: DtlsRole, peer_fingerprint: String) -> Self {
        let stage = Stage::Listening {
            reader: ClientHelloReader::default(),
            early: Vec::new(),
        };
        Self {
            identity,
            role,
            peer_fingerprint,
            stage,
        }
    }

    /// Whether the handshake was not begun yet.
    fn is_listening(&self) -> bool {
        matches!(self.stage, Stage::Listening { .. })
    }

    /// The path is open: a client begins.
    pub(super) fn path_opened(&mut self, now: Instant) -> Result<(), String> {
        if self.role != DtlsRole::Client || !self.is_listening() {
            return Ok(());
        }
        let profiles = vec![
            SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm,
            SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80,
        ];
        let config = self
            .identity
            .config(self.role, self.peer_fingerprint.clone(), profiles);
        let mut endpoint = Endpoint::new(TUNNEL, TransportProtocol::UDP, None);
        config
            .and_then(|config| endpoint.connect(now, TUNNEL, config, None))
            .map_err(|error| error.to_string())?;
        self.stage = Stage::Running(Box::new(endpoint));
        Ok(())
    }

    pub(super) fn handle(
        &mut self,
        now: Instant,
        data: BytesMut,
        events: &mut Vec<DtlsEvent>,
    ) -> Result<(), String> {
        match &mut self.stage {
            Stage::Closed => Ok(()),
            Stage::Running(endpoint) => read(endpoint, now, data, events),
            Stage::Listening { reader, early } => {
                if self.role == DtlsRole::Client {
                    return Ok(());
                }
                if early.len() >= MAX_EARLY_DATAGRAMS {
                    // No ClientHello takes so many: begin anew with the client's next attempt.
                    early.clear();
                    *reader = ClientHelloReader::default();
                }
                let profiles = reader.read(&data);
                early.push(data);
                let Some(offered) = profiles else {
                    return Ok(());
                };
                let early = std::mem::take(early);
                let endpoint = self.listen(&offered)?;
                for datagram in early {
                    read(endpoint, now, datagram, events)?;
                }
                Ok(())
            }
        }
    }

    /// Makes the server's endpoint. AES-GCM costs a fifth of AES-CM with HMAC-SHA1, but rtc-dtls follows the
    /// client's order, and Chromium names CM first: so GCM alone is allowed wherever it is offered.
    fn listen(&mut self, offered: &[u16]) -> Result<&mut Endpoint, String> {
        let gcm = SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm;
        let profile = if offered.contains(&(gcm as u16)) {
            gcm
        } else {
            SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80
        };
        let config = self
            .identity
            .config(self.role, self.peer_fingerprint.clone(), vec![profile])
            .map_err(|error| error.to_string())?;
        self.stage = Stage::Running(Box::new(Endpoint::new(
            TUNNEL,
            TransportProtocol::UDP,
            Some(config),
        )));
        match &mut self.stage {
            Stage::Running(endpoint) => Ok(endpoint),
            _ => Err("DTLS is closed".to_owned()),
        }
    }

    pub(super) fn write(&mut self, now: Instant, data: &[u8]) {
        if let Stage::Running(endpoint) = &mut self.stage
            && let Err(error) = endpoint.write(now, TUNNEL, data)
        {
            tracing::debug!(%error, "DTLS write");
        }
    }

    pub(super) fn poll_transmit(&mut self) -> Option<BytesMut> {
        match &mut self.stage {
            Stage::Running(endpoint) => endpoint.poll_transmit().map(|transmit| transmit.message),
            _ => None,
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if let Stage::Running(endpoint) = &mut self.stage
            && let Err(error) = endpoint.handle_timeout(TUNNEL, now)
        {
            tracing::debug!(%error, "DTLS timer");
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        match &self.stage {
            Stage::Running(endpoint) => endpoint.poll_timeout(&TUNNEL),
            _ => None,
        }
    }

    /// Queues the good-bye.
    pub(super) fn close(&mut self, now: Instant) {
        if let Stage::Running(endpoint) = &mut self.stage {
            let _ = endpoint.close(now);
        }
    }

    /// Takes nothing more.
    pub(super) fn forget(&mut self) {
        self.stage = Stage::Closed;
    }
}

fn read(
    endpoint: &mut Endpoint,
    now: Instant,
    data: BytesMut,
    events: &mut Vec<DtlsEvent>,
) -> Result<(), String> {
    for event in endpoint
        .read(now, TUNNEL, None, data)
        .map_err(|error| error.to_string())?
    {
        match event {
            EndpointEvent::HandshakeComplete => {
                events.push(DtlsEvent::Connected(Box::new(keys(endpoint)?)))
            }
            EndpointEvent::ApplicationData(data) => events.push(DtlsEvent::Data(data)),
            EndpointEvent::PeerClosed => events.push(DtlsEvent::Closed),
            _ => {}
        }
    }
    Ok(())
}

/// The SRTP keys of a finished handshake (RFC 5764, 4.2).
fn keys(endpoint: &Endpoint) -> Result<Keys, String> {
    let state = endpoint
        .get_connection_state(TUNNEL)
        .ok_or("the DTLS association is gone")?;
    let profile = match state.srtp_protection_profile() {
        SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm => ProtectionProfile::AeadAes128Gcm,
        SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80 => {
            ProtectionProfile::Aes128CmHmacSha1_80
        }
        _ => return Err("no SRTP profile in common".to_owned()),
    };
    let mut config = rtc_srtp::config::Config {
        profile,
        ..Default::default()
    };
    let material = state
        .export_keying_material(
            rtc_srtp::config::LABEL_EXTRACTOR_DTLS_SRTP,
            &[],
            config.keying_material_len(),
        )
        .map_err(|error| error.to_string())?;
    config
        .set_session_keys_from_keying_material(material.as_ref(), state.is_client())
        .map_err(|error| error.to_string())?;
    Ok(Keys {
        profile,
        session: config.keys,
    })
}

//! The DTLS handshake of one viewer (RFC 5764): we are the client, webrtc-rs does it, the keys come out.

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
use rtc_srtp::config::{Config, LABEL_EXTRACTOR_DTLS_SRTP};
use rtc_srtp::protection_profile::ProtectionProfile;

use super::srtp::Keys;

/// The endpoint keys its associations by address; ours has one, and ICE knows where it is.
const TUNNEL: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 1);

/// The crowd's certificate. Browsers make one a connection; a server cannot tell the difference, and it saves
/// half of the crowd's own work while it joins.
pub(super) struct Identity {
    certificate: Certificate,
    /// SHA-256, upper-case hex with colons.
    pub(super) fingerprint: String,
    pub(super) crypto: Arc<dyn RTCCryptoProvider>,
    profiles: Vec<SrtpProtectionProfile>,
}

impl Identity {
    /// A new one that offers `profiles`, best first.
    pub(super) fn generate(profiles: Vec<SrtpProtectionProfile>) -> Result<Self, String> {
        let crypto = rtc_crypto::default_provider().map_err(|error| error.to_string())?;
        let certificate =
            Certificate::generate_self_signed(vec!["crowd".to_owned()], crypto.crypto())
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
            profiles,
        })
    }

    /// For one handshake with the owner of `peer_fingerprint`.
    fn config(&self, peer_fingerprint: String) -> Result<Arc<HandshakeConfig>, RtcError> {
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
            .with_srtp_protection_profiles(self.profiles.clone())
            .with_client_auth(ClientAuthType::RequireAnyClientCert)
            // Certificates are self-signed: the fingerprint in the SDP vouches for them, not an authority.
            .with_insecure_skip_verify(true)
            .with_verify_peer_certificate(Some(Arc::new(verify)))
            .with_extended_master_secret(ExtendedMasterSecretType::Require)
            .build(true, None)
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

/// A finished handshake.
pub(super) struct Association {
    pub(super) keys: Keys,
    /// The sealed alert that says good-bye. Made now, since nothing else is ever sent over the association:
    /// so that its state, some tens of kilobytes, need not be kept for it.
    pub(super) good_bye: Vec<BytesMut>,
}

/// A handshake under way.
pub(super) struct Handshake {
    endpoint: Box<Endpoint>,
}

impl Handshake {
    pub(super) fn begin(
        now: Instant,
        identity: &Identity,
        peer_fingerprint: String,
    ) -> Result<Self, String> {
        let mut endpoint = Box::new(Endpoint::new(TUNNEL, TransportProtocol::UDP, None));
        identity
            .config(peer_fingerprint)
            .and_then(|config| endpoint.connect(now, TUNNEL, config, None))
            .map_err(|error| error.to_string())?;
        Ok(Self { endpoint })
    }

    /// Takes a datagram. What [`Self::poll_transmit`] gives is to be sent before what comes out of here.
    pub(super) fn handle(&mut self, now: Instant, data: &[u8]) -> Result<bool, String> {
        let events = self
            .endpoint
            .read(now, TUNNEL, None, BytesMut::from(data))
            .map_err(|error| error.to_string())?;
        for event in &events {
            if matches!(event, EndpointEvent::PeerClosed) {
                return Err("the server refused the handshake".to_owned());
            }
        }
        Ok(events
            .iter()
            .any(|event| matches!(event, EndpointEvent::HandshakeComplete)))
    }

    /// Takes the keys of a finished handshake (RFC 5764, 4.2).
    pub(super) fn finish(mut self, now: Instant) -> Result<Association, String> {
        let state = self
            .endpoint
            .get_connection_state(TUNNEL)
            .ok_or("the DTLS association is gone")?;
        let profile = match state.srtp_protection_profile() {
            SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm => ProtectionProfile::AeadAes128Gcm,
            SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80 => {
                ProtectionProfile::Aes128CmHmacSha1_80
            }
            _ => return Err("no SRTP profile in common".to_owned()),
        };
        let mut config = Config {
            profile,
            ..Default::default()
        };
        let material = state
            .export_keying_material(LABEL_EXTRACTOR_DTLS_SRTP, &[], config.keying_material_len())
            .map_err(|error| error.to_string())?;
        config
            .set_session_keys_from_keying_material(material.as_ref(), state.is_client())
            .map_err(|error| error.to_string())?;
        let closed = self.endpoint.close(now);
        closed.map_err(|error| error.to_string())?;
        Ok(Association {
            keys: Keys {
                profile,
                session: config.keys,
            },
            good_bye: std::iter::from_fn(|| self.poll_transmit()).collect(),
        })
    }

    pub(super) fn poll_transmit(&mut self) -> Option<BytesMut> {
        self.endpoint
            .poll_transmit()
            .map(|transmit| transmit.message)
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) -> Result<(), String> {
        self.endpoint
            .handle_timeout(TUNNEL, now)
            .map_err(|error| error.to_string())
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.endpoint.poll_timeout(&TUNNEL)
    }
}

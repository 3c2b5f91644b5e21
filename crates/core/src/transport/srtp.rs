//! SRTP for one viewer: keys, and our own sealing of AES-GCM packets in place (RFC 7714); webrtc-rs for the rest.
//! [`Opener`](super::opener::Opener) is the other direction.

use bytes::BytesMut;
use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use rtc_crypto::{BlockCipherAlgorithm, RTCCrypto};
use rtc_srtp::config::SessionKeys;
use rtc_srtp::context::Context;
use rtc_srtp::option::{srtcp_replay_protection, srtp_replay_protection};
use rtc_srtp::protection_profile::ProtectionProfile;

use super::opener::REPLAY_WINDOW;

/// What DTLS agreed on.
pub(super) struct Keys {
    pub(super) profile: ProtectionProfile,
    pub(super) session: SessionKeys,
}

/// Seals what goes out.
pub(super) struct Sealer {
    rtp: RtpSealer,
    rtcp: Context,
}

enum RtpSealer {
    Gcm(Box<GcmKey>),
    /// AES-CM with HMAC-SHA1, for the rare client without GCM.
    Other(Box<Context>),
}

pub(super) struct GcmKey {
    key: LessSafeKey,
    salt: [u8; 12],
}

/// What a session key is for (RFC 3711, 4.3.2).
pub(super) struct Labels {
    key: u8,
    salt: u8,
}

impl Labels {
    pub(super) const RTP: Self = Self { key: 0, salt: 2 };
    pub(super) const RTCP: Self = Self { key: 3, salt: 5 };
}

impl Keys {
    pub(super) fn sealer(&self, crypto: &dyn RTCCrypto) -> Result<Sealer, String> {
        let (key, salt) = (
            &self.session.local_master_key,
            &self.session.local_master_salt,
        );
        let context = || {
            Context::new(key, salt, self.profile, None, None, crypto)
                .map_err(|error| error.to_string())
        };
        let rtp = match self.profile {
            ProtectionProfile::AeadAes128Gcm => {
                RtpSealer::Gcm(Box::new(GcmKey::derive(key, salt, Labels::RTP, crypto)?))
            }
            _ => RtpSealer::Other(Box::new(context()?)),
        };
        Ok(Sealer {
            rtp,
            rtcp: context()?,
        })
    }

    /// The key for what comes in, if AES-128-GCM was agreed on.
    pub(super) fn remote_gcm(
        &self,
        labels: Labels,
        crypto: &dyn RTCCrypto,
    ) -> Result<Option<GcmKey>, String> {
        let (key, salt) = (
            &self.session.remote_master_key,
            &self.session.remote_master_salt,
        );
        match self.profile {
            ProtectionProfile::AeadAes128Gcm => GcmKey::derive(key, salt, labels, crypto).map(Some),
            _ => Ok(None),
        }
    }

    /// webrtc-rs's own state for what comes in.
    pub(super) fn opening_context(&self, crypto: &dyn RTCCrypto) -> Result<Context, String> {
        Context::new(
            &self.session.remote_master_key,
            &self.session.remote_master_salt,
            self.profile,
            Some(srtp_replay_protection(REPLAY_WINDOW)),
            Some(srtcp_replay_protection(REPLAY_WINDOW)),
            crypto,
        )
        .map_err(|error| error.to_string())
    }
}

impl Sealer {
    /// Seals the RTP packet that begins at `start` and ends `buffer`, in place; the tag is appended. Its header, with its
    /// extensions, ends at `payload`, and stays readable.
    /// `index` is the packet's 48-bit SRTP index: its sequence number with the count of its roll-overs.
    pub(super) fn seal_rtp(
        &mut self,
        buffer: &mut Vec<u8>,
        start: usize,
        payload: usize,
        index: u64,
    ) -> bool {
        match &mut self.rtp {
            RtpSealer::Gcm(gcm) => gcm.seal(buffer, start, payload, index),
            RtpSealer::Other(context) => match context.encrypt_rtp(&buffer[start..]) {
                Ok(sealed) => {
                    buffer.truncate(start);
                    buffer.extend_from_slice(&sealed);
                    true
                }
                Err(_) => false,
            },
        }
    }

    /// A sealed copy of an RTCP packet.
    pub(super) fn seal_rtcp(&mut self, packet: &[u8]) -> Option<BytesMut> {
        self.rtcp.encrypt_rtcp(packet).ok()
    }
}

impl GcmKey {
    /// Session key and salt from the master ones (RFC 3711, 4.3).
    fn derive(
        master_key: &[u8],
        master_salt: &[u8],
        labels: Labels,
        crypto: &dyn RTCCrypto,
    ) -> Result<Self, String> {
        let derive = |label: u8| -> Result<[u8; 16], String> {
            let mut block = [0u8; 16];
            // RFC 7714, 11: the 12-byte salt is padded with zeros to the 14 of RFC 3711.
            block
                .get_mut(..12)
                .ok_or("salt")?
                .copy_from_slice(master_salt.get(..12).ok_or("salt")?);
            block[7] ^= label;
            crypto
                .block_encrypt(BlockCipherAlgorithm::Aes128, master_key, &mut block)
                .map_err(|error| error.to_string())?;
            Ok(block)
        };
        let key =
            UnboundKey::new(&AES_128_GCM, &derive(labels.key)?).map_err(|_| "AES-128-GCM key")?;
        let mut salt = [0u8; 12];
        salt.copy_from_slice(&derive(labels.salt)?[..12]);
        Ok(Self {
            key: LessSafeKey::new(key),
            salt,
        })
    }

    /// Opens `sealed`, tag at its end, in place: the length of what was in it. `nonce` is yet to be mixed with
    /// the salt.
    pub(super) fn open_in_place(
        &self,
        mut nonce: [u8; 12],
        authenticated: &[u8],
        sealed: &mut [u8],
    ) -> Option<usize> {
        for (byte, salt) in nonce.iter_mut().zip(&self.salt) {
            *byte ^= salt;
        }
        let nonce = Nonce::assume_unique_for_key(nonce);
        let opened = self
            .key
            .open_in_place(nonce, Aad::from(authenticated), sealed);
        opened.ok().map(|plain| plain.len())
    }

    fn seal(&self, buffer: &mut Vec<u8>, start: usize, payload: usize, index: u64) -> bool {
        let Some((before, payload)) = buffer.split_at_mut_checked(payload) else {
            return false;
        };
        let Some(header) = before.get(start..).filter(|header| header.len() >= 12) else {
            return false;
        };
        // RFC 7714, 8.1: two zero bytes, SSRC, roll-over counter, sequence number, all XOR the salt.
        let mut nonce = self.salt;
        for (byte, ssrc) in nonce[2..6].iter_mut().zip(&header[8..12]) {
            *byte ^= ssrc;
        }
        for (byte, index) in nonce[6..12].iter_mut().zip(&index.to_be_bytes()[2..8]) {
            *byte ^= index;
        }
        let nonce = Nonce::assume_unique_for_key(nonce);
        match self
            .key
            .seal_in_place_separate_tag(nonce, Aad::from(header), payload)
        {
            Ok(tag) => {
                buffer.extend_from_slice(tag.as_ref());
                true
            }
            Err(_) => false,
        }
    }
}

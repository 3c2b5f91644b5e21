//! SRTP for one viewer: our own sealing of AES-GCM packets in place (RFC 7714), webrtc-rs for the rest.

use std::sync::Arc;

use bytes::BytesMut;
use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use rtc_crypto::{BlockCipherAlgorithm, RTCCrypto, RTCCryptoProvider};
use rtc_srtp::config::SessionKeys;
use rtc_srtp::context::Context;
use rtc_srtp::option::{srtcp_replay_protection, srtp_replay_protection};
use rtc_srtp::protection_profile::ProtectionProfile;

/// Length of an RTP header without extensions, the only kind we send.
pub(super) const RTP_HEADER: usize = 12;

/// Packets within which a repeated one is noticed.
const REPLAY_WINDOW: usize = 128;

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

struct GcmKey {
    key: LessSafeKey,
    salt: [u8; 12],
}

/// Opens what comes in.
///
/// webrtc-rs keeps a state for each SSRC that it was ever shown, before it knows whether the packet is
/// genuine. So an SSRC is tried in a context of its own first, and few are let in.
pub(super) struct Opener {
    context: Context,
    keys: Keys,
    crypto: Arc<dyn RTCCryptoProvider>,
    rtp_ssrcs: Vec<u32>,
    rtcp_ssrcs: Vec<u32>,
}

/// SSRCs of one peer in each direction: a microphone, and what it reports from.
const MAX_SSRCS: usize = 8;

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
                RtpSealer::Gcm(Box::new(GcmKey::derive(key, salt, crypto)?))
            }
            _ => RtpSealer::Other(Box::new(context()?)),
        };
        Ok(Sealer {
            rtp,
            rtcp: context()?,
        })
    }

    pub(super) fn opener(self, crypto: Arc<dyn RTCCryptoProvider>) -> Result<Opener, String> {
        Ok(Opener {
            context: self.opening_context(crypto.crypto())?,
            keys: self,
            crypto,
            rtp_ssrcs: Vec::new(),
            rtcp_ssrcs: Vec::new(),
        })
    }

    fn opening_context(&self, crypto: &dyn RTCCrypto) -> Result<Context, String> {
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
    /// Seals the RTP packet that begins at `start` and ends `buffer`, in place; the tag is appended.
    /// `index` is the packet's 48-bit SRTP index: its sequence number with the count of its roll-overs.
    pub(super) fn seal_rtp(&mut self, buffer: &mut Vec<u8>, start: usize, index: u64) -> bool {
        match &mut self.rtp {
            RtpSealer::Gcm(gcm) => gcm.seal(buffer, start, index),
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

impl Opener {
    pub(super) fn open_rtp(&mut self, packet: &[u8]) -> Option<BytesMut> {
        let ssrc = packet.get(8..12)?.try_into().map(u32::from_be_bytes).ok()?;
        if !self.rtp_ssrcs.contains(&ssrc) {
            if self.rtp_ssrcs.len() >= MAX_SSRCS {
                return None;
            }
            self.trial()?.decrypt_rtp(packet).ok()?;
            self.rtp_ssrcs.push(ssrc);
        }
        self.context.decrypt_rtp(packet).ok()
    }

    pub(super) fn open_rtcp(&mut self, packet: &[u8]) -> Option<BytesMut> {
        let ssrc = packet.get(4..8)?.try_into().map(u32::from_be_bytes).ok()?;
        if !self.rtcp_ssrcs.contains(&ssrc) {
            if self.rtcp_ssrcs.len() >= MAX_SSRCS {
                return None;
            }
            self.trial()?.decrypt_rtcp(packet).ok()?;
            self.rtcp_ssrcs.push(ssrc);
        }
        self.context.decrypt_rtcp(packet).ok()
    }

    fn trial(&self) -> Option<Context> {
        self.keys.opening_context(self.crypto.crypto()).ok()
    }
}

impl GcmKey {
    /// Session key and salt from the master ones (RFC 3711, 4.3; labels 0 and 2).
    fn derive(
        master_key: &[u8],
        master_salt: &[u8],
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
        let key = UnboundKey::new(&AES_128_GCM, &derive(0)?).map_err(|_| "AES-128-GCM key")?;
        let mut salt = [0u8; 12];
        salt.copy_from_slice(&derive(2)?[..12]);
        Ok(Self {
            key: LessSafeKey::new(key),
            salt,
        })
    }

    fn seal(&self, buffer: &mut Vec<u8>, start: usize, index: u64) -> bool {
        let Some((header, payload)) = buffer
            .get_mut(start..)
            .and_then(|packet| packet.split_at_mut_checked(RTP_HEADER))
        else {
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
            .seal_in_place_separate_tag(nonce, Aad::from(&*header), payload)
        {
            Ok(tag) => {
                buffer.extend_from_slice(tag.as_ref());
                true
            }
            Err(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(profile: ProtectionProfile) -> Keys {
        let key: Vec<u8> = (0..16).collect();
        let salt: Vec<u8> = (100..100 + profile.salt_len() as u8).collect();
        Keys {
            profile,
            session: SessionKeys {
                local_master_key: key.clone(),
                local_master_salt: salt.clone(),
                remote_master_key: key,
                remote_master_salt: salt,
            },
        }
    }

    fn packet(sequence: u16, payload: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x80, 96];
        packet.extend(sequence.to_be_bytes());
        packet.extend([0, 0, 0, 1, 0xde, 0xad, 0xbe, 0xef]);
        packet.extend(payload);
        packet
    }

    #[test]
    fn webrtc_rs_opens_what_we_seal_across_a_roll_over() {
        let provider = rtc_crypto::default_provider().unwrap();
        for profile in [
            ProtectionProfile::AeadAes128Gcm,
            ProtectionProfile::Aes128CmHmacSha1_80,
        ] {
            let keys = keys(profile);
            let mut sealer = keys.sealer(provider.crypto()).unwrap();
            let mut opener = keys.opener(provider.clone()).unwrap();
            for index in 65_530u64..65_545 {
                let plain = packet(index as u16, &index.to_be_bytes());
                let mut buffer = vec![1, 2, 3];
                buffer.extend(&plain);
                assert!(sealer.seal_rtp(&mut buffer, 3, index));
                assert_eq!(
                    opener.open_rtp(&buffer[3..]).unwrap(),
                    plain,
                    "{profile:?} {index}"
                );
                assert!(
                    opener.open_rtp(&buffer[3..]).is_none(),
                    "a repeated packet is refused"
                );
            }
        }
    }

    #[test]
    fn forged_packets_leave_no_trace_and_few_sources_are_let_in() {
        let provider = rtc_crypto::default_provider().unwrap();
        let profile = ProtectionProfile::AeadAes128Gcm;
        let mut sealer = keys(profile).sealer(provider.crypto()).unwrap();
        let mut opener = keys(profile).opener(provider).unwrap();
        for ssrc in 0..1_000u32 {
            let mut forged = packet(1, &[0; 40]);
            forged[8..12].copy_from_slice(&ssrc.to_be_bytes());
            assert!(opener.open_rtp(&forged).is_none());
            assert!(opener.open_rtcp(&forged).is_none());
        }
        assert!(opener.rtp_ssrcs.is_empty() && opener.rtcp_ssrcs.is_empty());
        let mut opened = 0;
        for ssrc in 0..20u32 {
            let mut genuine = packet(1, b"opus");
            genuine[8..12].copy_from_slice(&ssrc.to_be_bytes());
            assert!(sealer.seal_rtp(&mut genuine, 0, 1));
            opened += usize::from(opener.open_rtp(&genuine).is_some());
        }
        assert_eq!(opened, MAX_SSRCS);
    }
}

//! SRTP and SRTCP of one viewer. AES-GCM (RFC 7714) works in place and keeps no state a packet, so that a
//! stated share can be opened; webrtc-rs does the rest.

use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use rtc_crypto::{BlockCipherAlgorithm, RTCCrypto};
use rtc_srtp::config::SessionKeys;
use rtc_srtp::context::Context;
use rtc_srtp::protection_profile::ProtectionProfile;

use super::rtp::Header;

const TAG: usize = 16;
/// Fixed part of an RTCP packet that stays readable.
const RTCP_HEADER: usize = 8;
/// Encryption flag and index behind an SRTCP packet.
const RTCP_INDEX: usize = 4;
const ENCRYPTED: u32 = 1 << 31;

/// What DTLS agreed on.
pub(super) struct Keys {
    pub(super) profile: ProtectionProfile,
    pub(super) session: SessionKeys,
}

/// Both directions of one viewer.
pub(super) enum Srtp {
    Gcm(Box<Gcm>),
    /// AES-CM with HMAC-SHA1.
    Cm(Box<Cm>),
}

pub(super) struct Gcm {
    rtp: Direction,
    rtcp: Direction,
    next_rtcp_index: u32,
}

pub(super) struct Cm {
    open: Context,
    seal: Context,
}

/// The keys of RTP or RTCP.
struct Direction {
    open: Key,
    seal: Key,
}

struct Key {
    key: LessSafeKey,
    salt: [u8; 12],
}

impl Srtp {
    pub(super) fn new(keys: &Keys, crypto: &dyn RTCCrypto) -> Result<Self, String> {
        let session = &keys.session;
        let local = (
            &session.local_master_key[..],
            &session.local_master_salt[..],
        );
        let remote = (
            &session.remote_master_key[..],
            &session.remote_master_salt[..],
        );
        if matches!(keys.profile, ProtectionProfile::AeadAes128Gcm) {
            // Labels of RFC 3711, 4.3.2: 0 and 2 for RTP, 3 and 5 for RTCP.
            let direction = |labels| {
                Ok::<_, String>(Direction {
                    open: Key::derive(remote, labels, crypto)?,
                    seal: Key::derive(local, labels, crypto)?,
                })
            };
            return Ok(Self::Gcm(Box::new(Gcm {
                rtp: direction((0, 2))?,
                rtcp: direction((3, 5))?,
                next_rtcp_index: 1,
            })));
        }
        // Without replay protection: only a share of the packets is shown to it, and duplicates are counted
        // elsewhere.
        let context = |(key, salt): (&[u8], &[u8])| {
            Context::new(key, salt, keys.profile, None, None, crypto)
                .map_err(|error| error.to_string())
        };
        Ok(Self::Cm(Box::new(Cm {
            open: context(remote)?,
            seal: context(local)?,
        })))
    }

    pub(super) fn is_gcm(&self) -> bool {
        matches!(self, Self::Gcm(_))
    }

    /// Opens an RTP packet in place. `index` is its sequence number with the roll-over count before it.
    pub(super) fn open_rtp<'a>(
        &mut self,
        packet: &'a mut [u8],
        header: &Header,
        index: u64,
    ) -> Option<&'a [u8]> {
        match self {
            Self::Gcm(gcm) => {
                let key = &gcm.rtp.open;
                let (header_bytes, payload) = packet.split_at_mut_checked(header.length)?;
                let nonce = key.rtp_nonce(header.ssrc, index);
                let aad = Aad::from(&*header_bytes);
                key.key
                    .open_in_place(nonce, aad, payload)
                    .ok()
                    .map(|plain| &*plain)
            }
            Self::Cm(cm) => {
                let plain = cm.open.decrypt_rtp(packet).ok()?;
                let opened = packet.get_mut(..plain.len())?;
                opened.copy_from_slice(&plain);
                opened.get(header.length..)
            }
        }
    }

    /// Opens an RTCP packet in place; gives the plain one.
    pub(super) fn open_rtcp<'a>(&mut self, packet: &'a mut [u8]) -> Option<&'a [u8]> {
        match self {
            Self::Gcm(gcm) => gcm.rtcp.open.open_rtcp(packet),
            Self::Cm(cm) => {
                let plain = cm.open.decrypt_rtcp(packet).ok()?;
                let opened = packet.get_mut(..plain.len())?;
                opened.copy_from_slice(&plain);
                Some(opened)
            }
        }
    }

    /// Seals an RTP packet in place; `index` as above. False if it cannot.
    pub(super) fn seal_rtp(&mut self, packet: &mut Vec<u8>, header: &Header, index: u64) -> bool {
        match self {
            Self::Gcm(gcm) => {
                let key = &gcm.rtp.seal;
                let Some((header_bytes, payload)) = packet.split_at_mut_checked(header.length)
                else {
                    return false;
                };
                let nonce = key.rtp_nonce(header.ssrc, index);
                let aad = Aad::from(&*header_bytes);
                let Ok(tag) = key.key.seal_in_place_separate_tag(nonce, aad, payload) else {
                    return false;
                };
                packet.extend_from_slice(tag.as_ref());
                true
            }
            Self::Cm(cm) => replace(packet, cm.seal.encrypt_rtp(packet).ok()),
        }
    }

    /// Seals an RTCP packet in place. False if it cannot.
    pub(super) fn seal_rtcp(&mut self, packet: &mut Vec<u8>) -> bool {
        match self {
            Self::Gcm(gcm) => {
                let index = gcm.next_rtcp_index;
                gcm.next_rtcp_index = (index + 1) & !ENCRYPTED;
                gcm.rtcp.seal.seal_rtcp(packet, index)
            }
            Self::Cm(cm) => replace(packet, cm.seal.encrypt_rtcp(packet).ok()),
        }
    }
}

fn replace(packet: &mut Vec<u8>, sealed: Option<bytes::BytesMut>) -> bool {
    if let Some(sealed) = &sealed {
        packet.clear();
        packet.extend_from_slice(sealed);
    }
    sealed.is_some()
}

impl Key {
    /// Session key and salt from the master ones (RFC 3711, 4.3).
    fn derive(
        (master_key, master_salt): (&[u8], &[u8]),
        (key_label, salt_label): (u8, u8),
        crypto: &dyn RTCCrypto,
    ) -> Result<Self, String> {
        let derive = |label: u8| -> Result<[u8; 16], String> {
            let mut block = [0u8; 16];
            // RFC 7714, 11: the 12-byte salt is padded with zeros to the 14 of RFC 3711.
            let (salt, _) = block.split_at_mut(12);
            salt.copy_from_slice(master_salt.get(..12).ok_or("a short master salt")?);
            block[7] ^= label;
            crypto
                .block_encrypt(BlockCipherAlgorithm::Aes128, master_key, &mut block)
                .map_err(|error| error.to_string())?;
            Ok(block)
        };
        let key = UnboundKey::new(&AES_128_GCM, &derive(key_label)?)
            .map_err(|_| "no AES-128-GCM key".to_owned())?;
        let mut salt = [0; 12];
        salt.copy_from_slice(&derive(salt_label)?[..12]);
        Ok(Self {
            key: LessSafeKey::new(key),
            salt,
        })
    }

    /// RFC 7714, 8.1: two zero bytes, SSRC, 48 bits of index, all XOR the salt.
    fn rtp_nonce(&self, ssrc: u32, index: u64) -> Nonce {
        self.nonce(u128::from(ssrc) << 48 | u128::from(index & 0xffff_ffff_ffff))
    }

    /// RFC 7714, 9.1: the same, with 31 bits of index.
    fn rtcp_nonce(&self, ssrc: u32, index: u32) -> Nonce {
        self.nonce(u128::from(ssrc) << 48 | u128::from(index))
    }

    /// The lower 96 bits of `counter` XOR the salt.
    fn nonce(&self, counter: u128) -> Nonce {
        let mut nonce = self.salt;
        for (byte, counter) in nonce.iter_mut().zip(&counter.to_be_bytes()[4..]) {
            *byte ^= counter;
        }
        Nonce::assume_unique_for_key(nonce)
    }

    fn open_rtcp<'a>(&self, packet: &'a mut [u8]) -> Option<&'a [u8]> {
        let sealed = packet.len().checked_sub(RTCP_INDEX)?;
        let word = u32::from_be_bytes(packet.get(sealed..)?.try_into().ok()?);
        let ssrc = u32::from_be_bytes(packet.get(4..8)?.try_into().ok()?);
        let plain_length = sealed.checked_sub(TAG)?;
        if word & ENCRYPTED == 0 || plain_length < RTCP_HEADER {
            return None;
        }
        let aad = rtcp_aad(packet, word)?;
        let nonce = self.rtcp_nonce(ssrc, word & !ENCRYPTED);
        let payload = packet.get_mut(RTCP_HEADER..sealed)?;
        self.key
            .open_in_place(nonce, Aad::from(aad), payload)
            .ok()?;
        packet.get(..plain_length)
    }

    fn seal_rtcp(&self, packet: &mut Vec<u8>, index: u32) -> bool {
        let word = index | ENCRYPTED;
        let (Some(aad), Some(ssrc)) = (rtcp_aad(packet, word), packet.get(4..8)) else {
            return false;
        };
        let ssrc = ssrc
            .iter()
            .fold(0, |ssrc, byte| ssrc << 8 | u32::from(*byte));
        let nonce = self.rtcp_nonce(ssrc, index);
        let Some(payload) = packet.get_mut(RTCP_HEADER..) else {
            return false;
        };
        let sealed = self
            .key
            .seal_in_place_separate_tag(nonce, Aad::from(aad), payload);
        if let Ok(tag) = &sealed {
            packet.extend_from_slice(tag.as_ref());
            packet.extend_from_slice(&word.to_be_bytes());
        }
        sealed.is_ok()
    }
}

/// RFC 7714, 9.2: the first eight bytes, then the word that follows the packet.
fn rtcp_aad(packet: &[u8], word: u32) -> Option<[u8; RTCP_HEADER + RTCP_INDEX]> {
    let mut aad = [0; RTCP_HEADER + RTCP_INDEX];
    let (header, index) = aad.split_at_mut(RTCP_HEADER);
    header.copy_from_slice(packet.get(..RTCP_HEADER)?);
    index.copy_from_slice(&word.to_be_bytes());
    Some(aad)
}

#[cfg(test)]
mod tests {
    use rtc_srtp::option::{srtcp_replay_protection, srtp_replay_protection};

    use super::*;

    const PROFILES: [ProtectionProfile; 2] = [
        ProtectionProfile::AeadAes128Gcm,
        ProtectionProfile::Aes128CmHmacSha1_80,
    ];

    fn ours(profile: ProtectionProfile) -> Srtp {
        let provider = rtc_crypto::default_provider().unwrap();
        let key: Vec<u8> = (0..16).collect();
        let salt: Vec<u8> = (100..100 + profile.salt_len() as u8).collect();
        let keys = Keys {
            profile,
            session: SessionKeys {
                local_master_key: key.clone(),
                local_master_salt: salt.clone(),
                remote_master_key: key,
                remote_master_salt: salt,
            },
        };
        Srtp::new(&keys, provider.crypto()).unwrap()
    }

    fn theirs(profile: ProtectionProfile) -> Context {
        let provider = rtc_crypto::default_provider().unwrap();
        let key: Vec<u8> = (0..16).collect();
        let salt: Vec<u8> = (100..100 + profile.salt_len() as u8).collect();
        let replay = (srtp_replay_protection(128), srtcp_replay_protection(128));
        Context::new(
            &key,
            &salt,
            profile,
            Some(replay.0),
            Some(replay.1),
            provider.crypto(),
        )
        .unwrap()
    }

    fn rtp(sequence: u16) -> Vec<u8> {
        let mut packet = vec![0x90, 0xed];
        packet.extend(sequence.to_be_bytes());
        packet.extend([
            0, 0, 0, 1, 0xde, 0xad, 0xbe, 0xef, 0xbe, 0xde, 0, 1, 0x10, 127, 0, 0,
        ]);
        packet.extend(b"payload");
        packet
    }

    #[test]
    fn what_webrtc_rs_seals_is_opened_across_a_roll_over() {
        for profile in PROFILES {
            let (mut ours, mut theirs) = (ours(profile), theirs(profile));
            for index in 65_530u64..65_545 {
                let plain = rtp(index as u16);
                let mut packet = theirs.encrypt_rtp(&plain).unwrap().to_vec();
                let header = Header::parse(&packet).unwrap();
                let opened = ours.open_rtp(&mut packet, &header, index);
                assert_eq!(opened, Some(&b"payload"[..]), "{profile:?} {index}");
            }
        }
    }

    #[test]
    fn webrtc_rs_opens_what_is_sealed() {
        for profile in PROFILES {
            let (mut ours, mut theirs) = (ours(profile), theirs(profile));
            let report = super::super::rtcp::receiver_report(7, &[]);
            for index in 0..3u16 {
                let mut packet = rtp(index);
                let header = Header::parse(&packet).unwrap();
                assert!(ours.seal_rtp(&mut packet, &header, u64::from(index)));
                assert_eq!(
                    theirs.decrypt_rtp(&packet).unwrap(),
                    rtp(index),
                    "{profile:?}"
                );
                let mut packet = report.clone();
                assert!(ours.seal_rtcp(&mut packet));
                assert_eq!(theirs.decrypt_rtcp(&packet).unwrap(), report, "{profile:?}");
            }
        }
    }

    #[test]
    fn reports_of_webrtc_rs_are_opened_and_forged_ones_are_not() {
        for profile in PROFILES {
            let (mut ours, mut theirs) = (ours(profile), theirs(profile));
            let report = super::super::rtcp::receiver_report(7, &[]);
            let mut packet = theirs.encrypt_rtcp(&report).unwrap().to_vec();
            let mut forged = packet.clone();
            forged[9] ^= 1;
            assert_eq!(
                ours.open_rtcp(&mut packet),
                Some(&report[..]),
                "{profile:?}"
            );
            assert_eq!(ours.open_rtcp(&mut forged), None, "{profile:?}");
        }
    }

    #[test]
    fn a_changed_packet_is_refused() {
        for profile in PROFILES {
            let mut packet = theirs(profile).encrypt_rtp(&rtp(1)).unwrap().to_vec();
            let last = packet.len() - 1;
            packet[last] ^= 1;
            let header = Header::parse(&packet).unwrap();
            assert_eq!(ours(profile).open_rtp(&mut packet, &header, 1), None);
        }
    }
}

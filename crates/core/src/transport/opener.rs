//! SRTP of one viewer, the incoming half.
//!
//! **Only what is authentic changes anything**: neither the count of roll-overs, nor the window against
//! replays, nor the list of sources moves for a packet whose tag is wrong.
//!
//! AES-GCM (RFC 7714) is opened here, since webrtc-rs would keep a state for each SSRC that it was ever shown
//! and copy each packet twice. The rare client with AES-CM is opened by webrtc-rs; there an SSRC is tried in a
//! context of its own first.

use std::sync::Arc;

use rtc_crypto::RTCCryptoProvider;
use rtc_srtp::context::Context;

use super::rtp_header::RtpHeader;
use super::srtp::{GcmKey, Keys, Labels};

/// SSRCs of one peer in each direction: a microphone, and what it reports from.
const MAX_SSRCS: usize = 8;

/// Packets within which a repeated one is noticed; older ones are refused.
pub(super) const REPLAY_WINDOW: usize = u128::BITS as usize;

/// Opens what comes in.
pub(super) enum Opener {
    Gcm(Box<GcmOpener>),
    /// AES-CM with HMAC-SHA1, for the rare client without GCM.
    Other(Box<ContextOpener>),
}

pub(super) struct GcmOpener {
    rtp: GcmKey,
    rtcp: GcmKey,
    rtp_sources: Vec<Source>,
    rtcp_sources: Vec<Source>,
}

pub(super) struct ContextOpener {
    context: Context,
    keys: Keys,
    crypto: Arc<dyn RTCCryptoProvider>,
    rtp_ssrcs: Vec<u32>,
    rtcp_ssrcs: Vec<u32>,
}

/// What is known of a source that was heard, from authentic packets alone.
struct Source {
    ssrc: u32,
    /// The highest index: the sequence number with the count of its roll-overs.
    highest: u64,
    /// Bit n: the packet n before the highest came.
    seen: u128,
}

impl Opener {
    pub(super) fn new(keys: Keys, crypto: Arc<dyn RTCCryptoProvider>) -> Result<Self, String> {
        if let Some(rtp) = keys.remote_gcm(Labels::RTP, crypto.crypto())? {
            let rtcp = keys.remote_gcm(Labels::RTCP, crypto.crypto())?;
            return Ok(Self::Gcm(Box::new(GcmOpener {
                rtp,
                rtcp: rtcp.ok_or("SRTCP key")?,
                rtp_sources: Vec::new(),
                rtcp_sources: Vec::new(),
            })));
        }
        Ok(Self::Other(Box::new(ContextOpener {
            context: keys.opening_context(crypto.crypto())?,
            keys,
            crypto,
            rtp_ssrcs: Vec::new(),
            rtcp_ssrcs: Vec::new(),
        })))
    }

    /// Opens an RTP packet and appends its payload, padding included, to `payload`, which otherwise stays as it
    /// is. False if the packet is not authentic, or was opened before.
    pub(super) fn open_rtp(
        &mut self,
        header: &RtpHeader,
        packet: &[u8],
        payload: &mut Vec<u8>,
    ) -> bool {
        let opened = match self {
            Self::Gcm(gcm) => gcm.open_rtp(header, packet, payload),
            Self::Other(other) => other.open_rtp(header, packet, payload),
        };
        opened.is_some()
    }

    /// Opens a compound RTCP packet into `compound`, in the place of what is in there.
    pub(super) fn open_rtcp(&mut self, packet: &[u8], compound: &mut Vec<u8>) -> bool {
        compound.clear();
        let opened = match self {
            Self::Gcm(gcm) => gcm.open_rtcp(packet, compound),
            Self::Other(other) => other.open_rtcp(packet, compound),
        };
        opened.is_some()
    }
}

impl GcmOpener {
    fn open_rtp(&mut self, header: &RtpHeader, packet: &[u8], payload: &mut Vec<u8>) -> Option<()> {
        let (head, sealed) = packet.split_at_checked(header.length)?;
        let known = known(&self.rtp_sources, header.ssrc)?;
        let (first, second) = match self.rtp_sources.get(known) {
            Some(source) => (source.estimate(header.sequence), None),
            // Counting begins at 0 (RFC 3711, 3.3.1). One that starts close below the roll-over may have lost all
            // packets before it.
            None => {
                let index = u64::from(header.sequence);
                (index, (index < 1 << 15).then_some(index + (1 << 16)))
            }
        };
        let mut open = |index: u64| {
            // RFC 7714, 8.1: two zero bytes, SSRC, roll-over counter, sequence number.
            let mut nonce = [0; 12];
            nonce[2..6].copy_from_slice(&header.ssrc.to_be_bytes());
            nonce[6..].copy_from_slice(&index.to_be_bytes()[2..]);
            self.rtp.open(nonce, head, sealed, payload).then_some(index)
        };
        if let Some(source) = self.rtp_sources.get(known)
            && !source.is_new(first)
        {
            return None;
        }
        let index = open(first).or_else(|| second.and_then(open))?;
        note(&mut self.rtp_sources, known, header.ssrc, index);
        Some(())
    }

    fn open_rtcp(&mut self, packet: &[u8], compound: &mut Vec<u8>) -> Option<()> {
        // RFC 7714, 9.2: header, sealed rest, tag, and a word of the flag E (sealed) and the 31-bit index.
        let (packet, word) = packet.split_at_checked(packet.len().checked_sub(4)?)?;
        let (head, sealed) = packet.split_at_checked(8)?;
        let flag_and_index = u32::from_be_bytes(word.try_into().ok()?);
        let index = flag_and_index & 0x7fff_ffff;
        if flag_and_index == index {
            return None; // in the clear: RFC 8827, 6.5 wants everything sealed
        }
        let ssrc = u32::from_be_bytes(head.get(4..8)?.try_into().ok()?);
        let known = known(&self.rtcp_sources, ssrc)?;
        if let Some(source) = self.rtcp_sources.get(known)
            && !source.is_new(index.into())
        {
            return None;
        }
        let mut nonce = [0; 12];
        nonce[2..6].copy_from_slice(&ssrc.to_be_bytes());
        nonce[8..].copy_from_slice(&index.to_be_bytes());
        let mut authenticated = [0; 12];
        authenticated[..8].copy_from_slice(head);
        authenticated[8..].copy_from_slice(word);
        compound.extend_from_slice(head);
        if !self.rtcp.open(nonce, &authenticated, sealed, compound) {
            return None;
        }
        note(&mut self.rtcp_sources, known, ssrc, index.into());
        Some(())
    }
}

/// Where a source is, or would be; `None` if there are too many.
fn known(sources: &[Source], ssrc: u32) -> Option<usize> {
    let position = sources.iter().position(|source| source.ssrc == ssrc);
    position.or((sources.len() < MAX_SSRCS).then_some(sources.len()))
}

/// Writes down an authentic packet of the source at `position`.
fn note(sources: &mut Vec<Source>, position: usize, ssrc: u32, index: u64) {
    match sources.get_mut(position) {
        Some(source) => source.note(index),
        None => sources.push(Source {
            ssrc,
            highest: index,
            seen: 1,
        }),
    }
}

impl Source {
    /// The index of a packet: the one nearest to the highest so far that ends in `sequence` (RFC 3711, 3.3.1).
    fn estimate(&self, sequence: u16) -> u64 {
        let ahead = i64::from(sequence.wrapping_sub(self.highest as u16) as i16);
        let nearest = self.highest.checked_add_signed(ahead);
        // Before the first round there is none.
        nearest.unwrap_or(u64::from(sequence))
    }

    /// Whether a packet may not have come before.
    fn is_new(&self, index: u64) -> bool {
        match self.highest.checked_sub(index) {
            None => true,
            Some(behind) => behind < REPLAY_WINDOW as u64 && self.seen >> behind & 1 == 0,
        }
    }

    fn note(&mut self, index: u64) {
        match self.highest.checked_sub(index) {
            None => {
                let ahead = u32::try_from(index - self.highest).unwrap_or(u32::MAX);
                self.seen = self.seen.checked_shl(ahead).unwrap_or(0) | 1;
                self.highest = index;
            }
            Some(behind) => {
                let bit = u32::try_from(behind)
                    .ok()
                    .and_then(|n| 1u128.checked_shl(n));
                self.seen |= bit.unwrap_or(0);
            }
        }
    }
}

impl ContextOpener {
    fn open_rtp(&mut self, header: &RtpHeader, packet: &[u8], payload: &mut Vec<u8>) -> Option<()> {
        if !self.rtp_ssrcs.contains(&header.ssrc) {
            if self.rtp_ssrcs.len() >= MAX_SSRCS {
                return None;
            }
            self.trial()?.decrypt_rtp(packet).ok()?;
            self.rtp_ssrcs.push(header.ssrc);
        }
        let plain = self.context.decrypt_rtp(packet).ok()?;
        payload.extend_from_slice(plain.get(header.length..)?);
        Some(())
    }

    fn open_rtcp(&mut self, packet: &[u8], compound: &mut Vec<u8>) -> Option<()> {
        let ssrc = packet.get(4..8)?.try_into().map(u32::from_be_bytes).ok()?;
        // webrtc-rs takes a packet that is marked as not sealed as it is, without looking at its tag.
        let trailer = 4 + self.keys.profile.rtcp_auth_tag_len();
        let flag = packet.get(packet.len().checked_sub(trailer)?)? & 0x80;
        if flag == 0 {
            return None;
        }
        if !self.rtcp_ssrcs.contains(&ssrc) {
            if self.rtcp_ssrcs.len() >= MAX_SSRCS {
                return None;
            }
            self.trial()?.decrypt_rtcp(packet).ok()?;
            self.rtcp_ssrcs.push(ssrc);
        }
        compound.extend_from_slice(&self.context.decrypt_rtcp(packet).ok()?);
        Some(())
    }

    fn trial(&self) -> Option<Context> {
        self.keys.opening_context(self.crypto.crypto()).ok()
    }
}

impl GcmKey {
    /// Opens `sealed`, tag at its end, and appends what was in it to `out`, which otherwise stays as it is.
    /// `nonce` is yet to be mixed with the salt.
    fn open(
        &self,
        nonce: [u8; 12],
        authenticated: &[u8],
        sealed: &[u8],
        out: &mut Vec<u8>,
    ) -> bool {
        let start = out.len();
        out.extend_from_slice(sealed);
        let opened = out
            .get_mut(start..)
            .and_then(|sealed| self.open_in_place(nonce, authenticated, sealed));
        match opened {
            Some(length) => out.truncate(start + length),
            None => out.truncate(start),
        }
        opened.is_some()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use rtc_srtp::config::SessionKeys;
    use rtc_srtp::protection_profile::ProtectionProfile;

    use super::super::srtp::Sealer;
    use super::*;

    pub(in crate::transport) fn keys(profile: ProtectionProfile) -> Keys {
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

    /// Both ends with the same keys.
    pub(in crate::transport) fn pair(profile: ProtectionProfile) -> (Sealer, Opener) {
        let provider = rtc_crypto::default_provider().unwrap();
        let sealer = keys(profile).sealer(provider.crypto()).unwrap();
        (sealer, Opener::new(keys(profile), provider).unwrap())
    }

    const GCM: ProtectionProfile = ProtectionProfile::AeadAes128Gcm;
    const CM: ProtectionProfile = ProtectionProfile::Aes128CmHmacSha1_80;

    fn packet(ssrc: u32, sequence: u16, payload: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x80, 96];
        packet.extend(sequence.to_be_bytes());
        packet.extend([0, 0, 0, 1]);
        packet.extend(ssrc.to_be_bytes());
        packet.extend(payload);
        packet
    }

    fn seal(sealer: &mut Sealer, ssrc: u32, index: u64) -> Vec<u8> {
        let mut sealed = packet(ssrc, index as u16, &index.to_be_bytes());
        assert!(sealer.seal_rtp(&mut sealed, 0, 12, index));
        sealed
    }

    fn open(opener: &mut Opener, packet: &[u8]) -> Option<Vec<u8>> {
        let mut payload = vec![1, 2, 3];
        let header = RtpHeader::parse(packet)?;
        let is_open = opener.open_rtp(&header, packet, &mut payload);
        assert_eq!(payload[..3], [1, 2, 3], "what was there stays");
        if !is_open {
            assert_eq!(payload.len(), 3, "nothing of a forged packet comes out");
        }
        is_open.then(|| payload.split_off(3))
    }

    fn report(ssrc: u32) -> Vec<u8> {
        let mut report = vec![0x80, 201, 0, 1];
        report.extend(ssrc.to_be_bytes());
        report
    }

    fn rtp_sources(opener: &Opener) -> usize {
        match opener {
            Opener::Gcm(gcm) => gcm.rtp_sources.len(),
            Opener::Other(other) => other.rtp_ssrcs.len(),
        }
    }

    #[test]
    fn what_is_sealed_is_opened_once_across_a_roll_over() {
        for profile in [GCM, CM] {
            let (mut sealer, mut opener) = pair(profile);
            for index in 65_530_u64..65_545 {
                let sealed = seal(&mut sealer, 9, index);
                let payload = open(&mut opener, &sealed);
                assert_eq!(
                    payload.as_deref(),
                    Some(&index.to_be_bytes()[..]),
                    "{profile:?} {index}"
                );
                assert_eq!(open(&mut opener, &sealed), None, "a repeated packet");
            }
        }
    }

    #[test]
    fn reports_are_opened_once() {
        for profile in [GCM, CM] {
            let (mut sealer, mut opener) = pair(profile);
            let mut compound = b"old".to_vec();
            for _ in 0..200 {
                let sealed = sealer.seal_rtcp(&report(5)).unwrap();
                assert!(opener.open_rtcp(&sealed, &mut compound), "{profile:?}");
                assert_eq!(compound, report(5));
                assert!(!opener.open_rtcp(&sealed, &mut compound));
            }
            for length in 0..40 {
                assert!(!opener.open_rtcp(&vec![0x80; length], &mut compound));
            }
        }
    }

    #[test]
    fn the_count_of_roll_overs_survives_when_one_packet_a_second_is_opened() {
        let (mut sealer, mut opener) = pair(GCM);
        // An hour and a half of 20 ms.
        for index in (40_000..300_000).step_by(50) {
            let sealed = seal(&mut sealer, 9, index);
            assert!(open(&mut opener, &sealed).is_some(), "{index}");
        }
        let sealed = seal(&mut sealer, 9, 300_001);
        assert!(open(&mut opener, &sealed).is_some());
    }

    #[test]
    fn a_source_whose_first_packets_before_a_roll_over_were_lost_is_found() {
        let (mut sealer, mut opener) = pair(GCM);
        for index in [65_536 + 3, 65_535, 65_536 + 4] {
            let sealed = seal(&mut sealer, 9, index);
            assert!(open(&mut opener, &sealed).is_some(), "{index}");
        }
    }

    #[test]
    fn packets_in_any_order_are_opened_within_the_window() {
        let (mut sealer, mut opener) = pair(GCM);
        let last = 1_000 + REPLAY_WINDOW as u64;
        for (index, is_new) in [
            (1_001, true),
            (last, true),
            (1_000, false),
            (1_002, true),
            (1_002, false),
            (1_001, false),
            (last + 40_000, true),
            (last, false),
            (last + 39_999, true),
        ] {
            let sealed = seal(&mut sealer, 9, index);
            assert_eq!(open(&mut opener, &sealed).is_some(), is_new, "{index}");
        }
    }

    #[test]
    fn forged_packets_leave_no_trace_and_few_sources_are_let_in() {
        for profile in [GCM, CM] {
            let (mut sealer, mut opener) = pair(profile);
            let genuine = seal(&mut sealer, 0, 100);
            assert!(open(&mut opener, &genuine).is_some());
            for n in 0..200 {
                assert_eq!(open(&mut opener, &packet(n, 1, &[0; 40])), None);
                // Numbers that would move the count of roll-overs.
                let sequence = (n as u16).wrapping_mul(20_000);
                assert_eq!(open(&mut opener, &packet(0, sequence, &[0; 40])), None);
                let mut compound = Vec::new();
                assert!(!opener.open_rtcp(&packet(n, 1, &[0; 40]), &mut compound));
            }
            assert_eq!(rtp_sources(&opener), 1);
            assert!(open(&mut opener, &seal(&mut sealer, 0, 101)).is_some());
            let opened =
                (1..20).filter(|&ssrc| open(&mut opener, &seal(&mut sealer, ssrc, 1)).is_some());
            assert_eq!(opened.count(), MAX_SSRCS - 1, "{profile:?}");
        }
    }

    #[test]
    fn nothing_changes_unnoticed() {
        let (mut sealer, mut opener) = pair(GCM);
        let sealed = seal(&mut sealer, 9, 1);
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(open(&mut opener, &changed), None, "{at}");
            assert_eq!(open(&mut opener, &sealed[..at]), None, "{at}");
        }
        assert!(open(&mut opener, &sealed).is_some());
        let sealed = sealer.seal_rtcp(&report(9)).unwrap();
        for at in 0..sealed.len() {
            let (mut changed, mut compound) = (sealed.to_vec(), Vec::new());
            changed[at] ^= 1;
            assert!(!opener.open_rtcp(&changed, &mut compound), "{at}");
        }
    }
}

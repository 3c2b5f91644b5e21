//! The RTP header of one packet to one viewer (RFC 3550, 5.1; RFC 8285, 4.2).

use super::sender::Sender;
use crate::rtp::AccessUnit;

const VERSION: u8 = 0x80;
const HAS_EXTENSIONS: u8 = 0x10;
const MARKER: u8 = 0x80;

const FIXED: usize = 12;
/// With one element of three bytes.
const LONGEST: usize = FIXED + 8;

/// "One-byte form, one word".
const EXTENSIONS: [u8; 4] = [0xbe, 0xde, 0, 1];

/// The least and the most time to wait, in steps of 10 ms and 12 bits each: none, and half a second. Up to that browsers show
/// a picture as soon as it is decoded.
const PLAYOUT_DELAY: [u8; 3] = [0x00, 0x00, 50];

pub(super) struct Header {
    bytes: [u8; LONGEST],
    length: usize,
}

impl Header {
    /// That of packet `position` of `unit`. The same for the same packet, however often it is sent: a nonce must never seal
    /// two.
    pub(super) fn of(sender: &Sender, unit: &AccessUnit, position: usize, sequence: u64) -> Self {
        let mut bytes = [0; LONGEST];
        bytes[0] = VERSION;
        bytes[1] = sender.payload_type;
        if unit.marker_at(position) {
            bytes[1] |= MARKER;
        }
        bytes[2..4].copy_from_slice(&(sequence as u16).to_be_bytes());
        bytes[4..8].copy_from_slice(&(unit.timestamp as u32).to_be_bytes());
        bytes[8..12].copy_from_slice(&sender.ssrc.to_be_bytes());
        let mut length = FIXED;
        // Receivers keep what the last one said, and everybody begins with a keyframe.
        if let Some(id) = sender.playout_delay_extension.filter(|_| unit.keyframe) {
            bytes[0] |= HAS_EXTENSIONS;
            bytes[12..16].copy_from_slice(&EXTENSIONS);
            bytes[16] = id << 4 | (PLAYOUT_DELAY.len() as u8 - 1);
            bytes[17..20].copy_from_slice(&PLAYOUT_DELAY);
            length = LONGEST;
        }
        Self { bytes, length }
    }

    /// Makes it that of another stream with the same content.
    pub(super) fn rename(&mut self, payload_type: u8, sequence: u64, ssrc: u32) {
        self.bytes[1] = self.bytes[1] & MARKER | payload_type;
        self.bytes[2..4].copy_from_slice(&(sequence as u16).to_be_bytes());
        self.bytes[8..12].copy_from_slice(&ssrc.to_be_bytes());
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

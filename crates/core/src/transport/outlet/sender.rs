//! One track as one viewer knows it: its sequence numbers, and how they stand to the track's packets. Pure.

use crate::codec::Layer;
use crate::transport::sdp::SendTrack;

/// The RTP of one track to one viewer.
///
/// Sequence numbers follow the layer's packet numbers from an anchor on. What was not sent to this viewer leaves no
/// gap: the anchor moves, and packets from before it cannot be asked for any more.
pub(super) struct Sender {
    /// What it is sent.
    pub(super) layer: Layer,
    pub(super) ssrc: u32,
    pub(super) payload_type: u8,
    /// Under which name keyframes say how soon to show what follows.
    pub(super) playout_delay_extension: Option<u8>,
    pub(super) rtx: Option<RtxSender>,
    anchor: Anchor,
    /// The layer's number after the last packet sent; none before the first, and after the anchor was lifted.
    next_index: Option<u64>,
    pub(super) waits_for_keyframe: bool,
    /// It waits because the socket was full.
    pub(super) is_blocked: bool,
    /// Set while the viewer does not want the track. What was numbered stays: an SRTP index must never seal two
    /// different packets.
    pub(super) paused: bool,
    pub(super) packets: u32,
    pub(super) octets: u32,
    /// Packets at the last report.
    reported: u32,
}

/// The retransmission stream beside it (RFC 4588).
pub(super) struct RtxSender {
    pub(super) ssrc: u32,
    pub(super) payload_type: u8,
    pub(super) next_sequence: u64,
}

/// A packet of the layer and what it is called here.
#[derive(Debug, Clone, Copy)]
struct Anchor {
    index: u64,
    /// The SRTP index (48 bits): the sequence number with the count of its roll-overs.
    sequence: u64,
}

impl Sender {
    pub(super) fn new(ssrc: u32, track: SendTrack, rtx_ssrc: Option<u32>) -> Self {
        let rtx = rtx_ssrc.zip(track.rtx_payload_type);
        Self {
            layer: track.layer,
            ssrc,
            payload_type: track.payload_type,
            playout_delay_extension: track.playout_delay_extension,
            rtx: rtx.map(|(ssrc, payload_type)| RtxSender {
                ssrc,
                payload_type,
                next_sequence: initial_sequence(),
            }),
            anchor: Anchor {
                index: 0,
                sequence: initial_sequence(),
            },
            next_index: None,
            waits_for_keyframe: true,
            is_blocked: false,
            paused: false,
            packets: 0,
            octets: 0,
            reported: 0,
        }
    }

    /// Follows a new offer, which has the track.
    pub(super) fn resume(&mut self, track: SendTrack) {
        self.waits_for_keyframe |= self.paused || self.layer != track.layer;
        self.paused = false;
        let extension = track.playout_delay_extension;
        if (self.layer, self.payload_type, self.playout_delay_extension)
            != (track.layer, track.payload_type, extension)
        {
            // A packet sent again would be another one, or carry another header, under the same nonce.
            self.lift_anchor();
            self.layer = track.layer;
            self.payload_type = track.payload_type;
            self.playout_delay_extension = extension;
        }
        if let Some((rtx, payload_type)) = self.rtx.as_mut().zip(track.rtx_payload_type) {
            rtx.payload_type = payload_type;
        }
    }

    /// The packets from `first` up to `next` are sent now: they follow what was sent before without a gap.
    pub(super) fn advance(&mut self, first: u64, next: u64) {
        if self.next_index != Some(first) {
            self.lift_anchor();
            self.anchor.index = first;
        }
        self.next_index = Some(next);
    }

    /// What was sent so far cannot be asked for any more.
    fn lift_anchor(&mut self) {
        if let Some(next) = self.next_index.take() {
            self.anchor.sequence += next - self.anchor.index;
            self.anchor.index = next;
        }
    }

    /// What the layer's packet `index` is called here, if it was sent since the anchor moved.
    pub(super) fn sequence(&self, index: u64) -> Option<u64> {
        let is_sent = index < self.next_index?;
        let offset = index.checked_sub(self.anchor.index).filter(|_| is_sent)?;
        Some(self.anchor.sequence + offset)
    }

    /// The layer's number of the packet that was sent last under `sequence`.
    pub(super) fn index(&self, sequence: u16) -> Option<u64> {
        let newest = self.sequence(self.next_index?.checked_sub(1)?)?;
        let behind = (newest as u16).wrapping_sub(sequence);
        let sequence = newest.checked_sub(u64::from(behind))?;
        let offset = sequence.checked_sub(self.anchor.sequence)?;
        Some(self.anchor.index + offset)
    }

    /// Whether media flowed since the last report: more than a packet of silence now and then.
    pub(super) fn has_news(&self) -> bool {
        self.packets.wrapping_sub(self.reported) > 1
    }

    /// Whether something was sent and never reported: a receiver cannot bring the tracks into step before it has a
    /// report of each.
    pub(super) fn is_unreported(&self) -> bool {
        self.reported == 0 && self.packets > 0
    }

    pub(super) fn mark_reported(&mut self) {
        self.reported = self.packets;
    }
}

/// Small, so that a viewer who misses the first packets cannot misjudge the roll-over count (RFC 3711, 3.3.1).
fn initial_sequence() -> u64 {
    u64::from(rand::random::<u16>() >> 2) + 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::VideoCodec;

    const TRACK: SendTrack = SendTrack {
        layer: Layer::Video(VideoCodec::H264),
        payload_type: 96,
        rtx_payload_type: None,
        playout_delay_extension: None,
    };

    fn sender(initial_sequence: u64) -> Sender {
        let mut sender = Sender::new(1, TRACK, None);
        sender.anchor.sequence = initial_sequence;
        sender
    }

    #[test]
    fn a_sequence_number_leads_back_to_its_packet_over_every_wrap() {
        for (initial, first) in [(1, 0), (16_384, 0), (16_000, 3_000_000_000)] {
            let mut sender = sender(initial);
            for index in first..first + 70_000 {
                sender.advance(index, index + 1);
                let sequence = sender.sequence(index).unwrap();
                assert_eq!(sequence, initial + (index - first));
                assert_eq!(sender.index(sequence as u16), Some(index));
                let earlier = index.saturating_sub(1_000).max(first);
                let sequence = sender.sequence(earlier).unwrap();
                assert_eq!(sender.index(sequence as u16), Some(earlier));
            }
        }
    }

    #[test]
    fn a_packet_before_the_first_or_after_the_newest_has_no_index() {
        let mut sender = sender(100);
        assert_eq!(sender.index(100), None);
        sender.advance(50, 60);
        assert_eq!(sender.index(109), Some(59));
        assert_eq!(sender.index(110), None);
        assert_eq!(sender.index(99), None);
        assert_eq!(sender.sequence(49), None);
        assert_eq!(sender.sequence(60), None);
    }

    #[test]
    fn what_was_not_sent_leaves_no_gap_and_no_way_back() {
        let mut sender = sender(100);
        sender.advance(50, 60);
        sender.advance(90, 95);
        assert_eq!(sender.sequence(90), Some(110));
        assert_eq!(sender.index(110), Some(90));
        assert_eq!((sender.index(109), sender.sequence(59)), (None, None));
        sender.advance(95, 96);
        assert_eq!(sender.sequence(95), Some(115));
    }

    #[test]
    fn a_new_payload_type_or_extension_seals_no_old_packet_again() {
        let others = [
            SendTrack {
                payload_type: 97,
                ..TRACK
            },
            SendTrack {
                playout_delay_extension: Some(5),
                ..TRACK
            },
        ];
        for other in others {
            let mut sender = sender(100);
            sender.advance(50, 60);
            sender.resume(TRACK);
            assert_eq!(sender.index(105), Some(55));
            sender.resume(other);
            assert_eq!((sender.index(105), sender.sequence(55)), (None, None));
            sender.advance(60, 61);
            assert_eq!(sender.sequence(60), Some(110));
        }
    }

    #[test]
    fn another_layer_goes_on_with_the_next_number_and_a_keyframe() {
        let mut sender = sender(100);
        sender.advance(50, 60);
        sender.waits_for_keyframe = false;
        sender.resume(SendTrack {
            layer: Layer::Video(VideoCodec::Vp8),
            ..TRACK
        });
        assert!(sender.waits_for_keyframe);
        assert_eq!((sender.index(105), sender.sequence(55)), (None, None));
        sender.advance(3, 5);
        assert_eq!(
            (sender.sequence(3), sender.index(111)),
            (Some(110), Some(4))
        );
    }

    #[test]
    fn first_sequence_numbers_leave_room_before_the_wrap() {
        for _ in 0..1_000 {
            assert!((1..=16_384).contains(&initial_sequence()));
        }
    }
}

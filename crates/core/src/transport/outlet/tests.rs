use std::cell::RefCell;

use super::*;
use crate::codec::{AudioCodec, Layer, VideoCodec};
use crate::rtp::Packetizer;
use crate::transport::opener::tests::pair;
use crate::transport::rtp_header::RtpHeader;
use rtc_srtp::protection_profile::ProtectionProfile;

const PATH: (&str, &str) = ("127.0.0.1:1", "127.0.0.1:2");

const H264: Layer = Layer::Video(VideoCodec::H264);

const SSRCS: Ssrcs = Ssrcs {
    video: 1,
    video_rtx: 2,
    audio: 3,
};

/// A viewer with RTX.
fn outlet(now: Instant) -> Outlet {
    let track = |layer, payload_type, rtx_payload_type| {
        Some(SendTrack {
            layer,
            payload_type,
            rtx_payload_type,
            playout_delay_extension: None,
        })
    };
    let path = (PATH.0.parse().unwrap(), PATH.1.parse().unwrap());
    Outlet::new(
        now,
        path,
        pair(ProtectionProfile::AeadAes128Gcm).0,
        (
            track(H264, 96, Some(97)),
            track(Layer::Audio(AudioCodec::Opus), 111, None),
        ),
        SSRCS,
    )
}

/// A socket that keeps what is sent while it has room. (On loopback no real one is ever full: the kernel hands a
/// datagram to the receiver before it takes the next.)
#[derive(Default)]
struct Cable {
    sent: RefCell<Vec<Vec<u8>>>,
    error: RefCell<Option<io::ErrorKind>>,
}

impl Wire for Cable {
    fn send(
        &self,
        _: SocketAddr,
        _: SocketAddr,
        contents: &[u8],
        segment: usize,
    ) -> io::Result<()> {
        if let Some(kind) = *self.error.borrow() {
            return Err(kind.into());
        }
        let mut sent = self.sent.borrow_mut();
        sent.extend(contents.chunks(segment).map(<[u8]>::to_vec));
        Ok(())
    }
}

impl Cable {
    /// The packets since the last look.
    fn packets(&self) -> Vec<Vec<u8>> {
        std::mem::take(&mut *self.sent.borrow_mut())
    }

    /// Payload type and sequence number of each packet since the last look.
    fn taken(&self) -> Vec<(u8, u16)> {
        let packets = self.packets();
        let read = |packet: &Vec<u8>| {
            let sequence = u16::from_be_bytes([packet[2], packet[3]]);
            (packet[1] & 0x7f, sequence)
        };
        packets.iter().map(read).collect()
    }
}

/// A stream to one viewer.
struct Rig {
    outlet: Outlet,
    cable: Cable,
    scratch: Scratch,
    history: History,
    packetizer: Packetizer,
    counters: Counters,
    now: Instant,
}

impl Rig {
    fn new() -> Self {
        let now = Instant::now();
        Self {
            outlet: outlet(now),
            cable: Cable::default(),
            scratch: Scratch::default(),
            history: History::default(),
            packetizer: Packetizer::default(),
            counters: Counters::default(),
            now,
        }
    }

    fn frame(&mut self, keyframe: bool) {
        let unit = self
            .packetizer
            .picture(VideoCodec::H264, &[0, 0, 0, 1, 0x65, 1, 2, 3], 0, keyframe)
            .unwrap();
        let Self {
            outlet,
            scratch,
            cable,
            counters,
            ..
        } = self;
        outlet.send(H264, &unit, scratch, cable, counters);
        self.history.push(unit);
    }

    fn nack(&mut self, ssrc: u32, sequence: u16) {
        let Self {
            outlet,
            scratch,
            cable,
            counters,
            history,
            now,
            ..
        } = self;
        outlet.retransmit(*now, (ssrc, sequence), history, scratch, cable, counters);
    }

    fn report(&mut self) -> usize {
        self.outlet.report(self.now, 0.0, true, &self.cable);
        self.cable.taken().len()
    }
}

#[test]
fn only_what_was_sent_is_sent_again_and_within_a_budget() {
    let mut rig = Rig::new();
    rig.frame(true);
    let sent = rig.cable.taken();
    let [(96, first)] = sent[..] else {
        panic!("{sent:?}")
    };
    rig.nack(1, first.wrapping_add(1));
    rig.nack(1, first.wrapping_sub(1));
    let counts = |rig: &Rig| {
        let stats = rig.counters.snapshot();
        (stats.retransmitted, stats.refused_nacks)
    };
    assert_eq!(counts(&rig), (0, 2));
    rig.nack(9, first);
    assert_eq!(counts(&rig), (0, 2), "another stream's packet");
    for _ in 0..605 {
        rig.nack(1, first);
    }
    assert_eq!(counts(&rig), (600, 7));
    rig.now += Duration::from_secs(1);
    rig.nack(1, first);
    assert_eq!(counts(&rig), (601, 7), "a new second");
    let again = rig.cable.taken();
    assert_eq!(again.len(), 601);
    assert!(again.iter().all(|(payload_type, _)| *payload_type == 97));
}

#[test]
fn keyframes_ask_to_be_shown_at_once_and_are_the_same_when_they_are_sent_again() {
    use ProtectionProfile::{AeadAes128Gcm, Aes128CmHmacSha1_80};
    for (profile, rtx_payload_type) in [
        (AeadAes128Gcm, None),
        (AeadAes128Gcm, Some(97)),
        (Aes128CmHmacSha1_80, Some(97)),
    ] {
        let mut rig = Rig::new();
        let (sealer, mut opener) = pair(profile);
        rig.outlet.sealer = sealer;
        let track = SendTrack {
            layer: H264,
            payload_type: 98,
            rtx_payload_type,
            playout_delay_extension: Some(5),
        };
        rig.outlet.video = None;
        rig.outlet.set_tracks((Some(track), None), SSRCS);
        rig.frame(true);
        rig.frame(false);
        let sent = rig.cable.packets();
        let [key, delta] = &sent[..] else {
            panic!("{sent:?}")
        };
        assert_eq!(key[0], 0x90);
        // At least 0, at most 50 steps of 10 ms.
        let extension = [0xbe, 0xde, 0, 1, 0x52, 0, 0, 50];
        assert_eq!(key[12..20], extension);
        assert_eq!(delta[0], 0x80);

        rig.nack(1, u16::from_be_bytes([key[2], key[3]]));
        let again = rig.cable.packets().remove(0);
        let mut open = |packet: &[u8]| {
            let header = RtpHeader::parse(packet).unwrap();
            let mut payload = Vec::new();
            assert!(opener.open_rtp(&header, packet, &mut payload));
            payload
        };
        let (picture, _) = (open(key), open(delta));
        match rtx_payload_type {
            None => assert_eq!(again, *key),
            Some(payload_type) => {
                assert_eq!((again[0], again[1] & 0x7f), (0x90, payload_type));
                assert_eq!(again[12..20], extension);
                assert_eq!(open(&again), [&key[2..4], &picture].concat());
            }
        }
    }
}

#[test]
fn a_full_socket_costs_its_viewer_the_frames_up_to_the_next_keyframe_and_all_are_counted() {
    let mut rig = Rig::new();
    rig.frame(true);
    rig.frame(false);
    *rig.cable.error.borrow_mut() = Some(io::ErrorKind::WouldBlock);
    rig.frame(false);
    assert!(rig.outlet.waits_for_keyframe());
    *rig.cable.error.borrow_mut() = None;
    rig.frame(false);
    rig.frame(false);
    assert_eq!(rig.cable.taken().len(), 2);
    assert_eq!(rig.counters.snapshot().blocked_units, 3);
    rig.frame(true);
    rig.frame(false);
    assert!(!rig.outlet.waits_for_keyframe());
    assert_eq!(rig.cable.taken().len(), 2);
    assert_eq!(rig.counters.snapshot().blocked_units, 3);
    assert_eq!(rig.counters.snapshot().packets, 4);
}

#[test]
fn what_a_viewer_waited_through_leaves_no_gap_in_its_sequence_numbers() {
    let mut rig = Rig::new();
    for keyframe in [false, false, true, false] {
        rig.frame(keyframe);
    }
    rig.outlet.set_tracks((None, None), SSRCS);
    rig.frame(false);
    let track = SendTrack {
        layer: H264,
        payload_type: 96,
        rtx_payload_type: Some(97),
        playout_delay_extension: None,
    };
    rig.outlet.set_tracks((Some(track), None), SSRCS);
    for keyframe in [false, true] {
        rig.frame(keyframe);
    }
    let sequences: Vec<u16> = rig.cable.taken().iter().map(|sent| sent.1).collect();
    assert_eq!(
        sequences,
        [sequences[0], sequences[0] + 1, sequences[0] + 2]
    );
}

#[test]
fn a_path_that_fails_otherwise_is_left_to_ice() {
    let mut rig = Rig::new();
    *rig.cable.error.borrow_mut() = Some(io::ErrorKind::PermissionDenied);
    rig.frame(true);
    assert!(!rig.outlet.waits_for_keyframe());
    assert_eq!(rig.counters.snapshot().blocked_units, 0);
}

#[test]
fn reports_come_when_media_begins_and_then_once_a_second_while_it_flows() {
    let mut rig = Rig::new();
    assert_eq!(rig.report(), 0, "nothing was sent");
    rig.frame(true);
    rig.cable.taken();
    assert_eq!(rig.report(), 1);
    rig.frame(false);
    rig.frame(false);
    rig.cable.taken();
    rig.now += Duration::from_millis(899);
    assert_eq!(rig.report(), 0);
    rig.now += Duration::from_millis(202);
    assert_eq!(rig.report(), 1);
    rig.now += Duration::from_secs(60);
    assert_eq!(rig.report(), 0, "nothing was sent since");
    rig.frame(false);
    rig.cable.taken();
    assert_eq!(rig.report(), 0, "one packet is no flow of media");
}

#[test]
fn a_viewer_gets_few_keyframes_for_the_asking() {
    let mut rig = Rig::new();
    let granted = |rig: &mut Rig, ssrc| {
        (0..1_000)
            .filter(|_| rig.outlet.grants_keyframe(rig.now, ssrc, &rig.counters))
            .count()
    };
    assert_eq!(granted(&mut rig, 9), 0, "of another stream");
    assert_eq!(granted(&mut rig, 1), 6);
    assert_eq!(rig.counters.snapshot().refused_keyframe_requests, 994);
    rig.now += Duration::from_secs(2);
    assert_eq!(granted(&mut rig, 1), 1);
}

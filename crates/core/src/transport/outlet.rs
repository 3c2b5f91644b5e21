//! The hot path: what is left to do for each viewer once a frame is cut into packets. Header, seal, send.

use std::io;
use std::net::SocketAddr;
use std::ops::Range;

use super::rtcp::{SenderInfo, sender_report};
use super::sdp::SendTrack;
use super::socket::Sockets;
use super::srtp::{RTP_HEADER, Sealer};
use crate::rtp::{AccessUnit, History, MediaClock};

const MARKER: u8 = 0x80;

/// Retransmissions a viewer may ask for in a second: a whole keyframe twice. More is a flood.
const RETRANSMISSIONS_PER_SECOND: u32 = 600;

/// One kind of media that a stream carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Track {
    /// 90 kHz, starts at keyframes.
    Video,
    /// 48 kHz, starts anywhere.
    Audio,
}

impl Track {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Video, Self::Audio];

    pub(super) fn clock_hz(self) -> u32 {
        match self {
            Self::Video => crate::rtp::VIDEO_CLOCK_HZ,
            Self::Audio => crate::rtp::OPUS_CLOCK_HZ,
        }
    }
}

/// The RTP of one track to one viewer.
struct Sender {
    ssrc: u32,
    payload_type: u8,
    rtx: Option<RtxSender>,
    /// Sequence number of the first packet sent: small, so that a viewer who misses it cannot misjudge the
    /// roll-over count (RFC 3711, 3.3.1).
    initial_sequence: u64,
    /// The track's index of the first packet sent; none before that.
    first_index: Option<u64>,
    /// After this index nothing was sent yet.
    next_index: u64,
    waits_for_keyframe: bool,
    /// Set while the viewer does not want the track. What was numbered stays: an SRTP index must never seal two
    /// different packets.
    paused: bool,
    packets: u32,
    octets: u32,
}

struct RtxSender {
    ssrc: u32,
    payload_type: u8,
    next_sequence: u64,
}

/// What was done for one viewer since it connected.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct OutletStats {
    /// RTP packets sent, retransmissions included.
    pub(super) packets: u64,
    /// Their bytes on the wire above UDP.
    pub(super) bytes: u64,
    /// Answered NACKs.
    pub(super) retransmitted: u64,
    /// NACKs not answered: too many in a second, or too old.
    pub(super) refused: u64,
    /// Video access units not sent because the socket was full.
    pub(super) dropped: u64,
}

/// One connected viewer as the fan-out sees it.
pub(super) struct Outlet {
    local: SocketAddr,
    remote: SocketAddr,
    sealer: Sealer,
    video: Option<Sender>,
    audio: Option<Sender>,
    nack_budget: u32,
    pub(super) stats: OutletStats,
}

/// Packets of one viewer on their way to the socket; reused from viewer to viewer.
#[derive(Default)]
pub(super) struct Scratch {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Sender {
    fn new(ssrc: u32, track: SendTrack, rtx_ssrc: Option<u32>) -> Self {
        Self {
            ssrc,
            payload_type: track.payload_type,
            rtx: rtx_ssrc
                .zip(track.rtx_payload_type)
                .map(|(ssrc, payload_type)| RtxSender {
                    ssrc,
                    payload_type,
                    next_sequence: initial_sequence(),
                }),
            initial_sequence: initial_sequence(),
            first_index: None,
            next_index: 0,
            waits_for_keyframe: true,
            paused: false,
            packets: 0,
            octets: 0,
        }
    }

    /// The SRTP index (48 bits) of the track's packet `index`.
    fn sequence(&self, index: u64) -> Option<u64> {
        Some(index.checked_sub(self.first_index?)? + self.initial_sequence)
    }

    /// The track's index of the packet that was sent last under `sequence`.
    fn index(&self, sequence: u16) -> Option<u64> {
        let newest = self.sequence(self.next_index.checked_sub(1)?)?;
        let behind = (newest as u16).wrapping_sub(sequence);
        let sequence = newest.checked_sub(u64::from(behind))?;
        Some(sequence.checked_sub(self.initial_sequence)? + self.first_index?)
    }
}

fn set_track(
    sender: &mut Option<Sender>,
    track: Option<SendTrack>,
    ssrc: u32,
    rtx_ssrc: Option<u32>,
) {
    match (sender.as_mut(), track) {
        (Some(sender), Some(track)) => {
            sender.waits_for_keyframe |= sender.paused;
            sender.paused = false;
            sender.payload_type = track.payload_type;
            if let Some((rtx, payload_type)) = sender.rtx.as_mut().zip(track.rtx_payload_type) {
                rtx.payload_type = payload_type;
            }
        }
        (Some(sender), None) => sender.paused = true,
        (None, Some(track)) => *sender = Some(Sender::new(ssrc, track, rtx_ssrc)),
        (None, None) => {}
    }
}

fn initial_sequence() -> u64 {
    u64::from(rand::random::<u16>() >> 2) + 1
}

impl Outlet {
    pub(super) fn new(
        path: (SocketAddr, SocketAddr),
        sealer: Sealer,
        tracks: (Option<SendTrack>, Option<SendTrack>),
        ssrcs: super::sdp::Ssrcs,
    ) -> Self {
        Self {
            local: path.0,
            remote: path.1,
            sealer,
            video: tracks
                .0
                .map(|track| Sender::new(ssrcs.video, track, Some(ssrcs.video_rtx))),
            audio: tracks.1.map(|track| Sender::new(ssrcs.audio, track, None)),
            nack_budget: RETRANSMISSIONS_PER_SECOND,
            stats: OutletStats::default(),
        }
    }

    /// Follows the peer to another address.
    pub(super) fn set_path(&mut self, path: (SocketAddr, SocketAddr)) {
        (self.local, self.remote) = path;
    }

    /// Follows a new offer.
    pub(super) fn set_tracks(
        &mut self,
        tracks: (Option<SendTrack>, Option<SendTrack>),
        ssrcs: super::sdp::Ssrcs,
    ) {
        set_track(
            &mut self.video,
            tracks.0,
            ssrcs.video,
            Some(ssrcs.video_rtx),
        );
        set_track(&mut self.audio, tracks.1, ssrcs.audio, None);
    }

    pub(super) fn receives(&self, track: Track) -> bool {
        let sender = match track {
            Track::Video => &self.video,
            Track::Audio => &self.audio,
        };
        sender.as_ref().is_some_and(|sender| !sender.paused)
    }

    /// Whether `ssrc` is the video that this viewer gets.
    pub(super) fn is_video(&self, ssrc: u32) -> bool {
        self.video.as_ref().is_some_and(|video| video.ssrc == ssrc)
    }

    /// Sends one access unit, unless the viewer waits for a keyframe and this is none.
    pub(super) fn send(
        &mut self,
        track: Track,
        unit: &AccessUnit,
        scratch: &mut Scratch,
        sockets: &Sockets,
    ) {
        let sender = match track {
            Track::Video => &mut self.video,
            Track::Audio => &mut self.audio,
        };
        let Some(sender) = sender else { return };
        if sender.paused || sender.waits_for_keyframe && !unit.keyframe {
            return;
        }
        sender.waits_for_keyframe = false;
        sender.first_index.get_or_insert(unit.first_index);
        sender.next_index = unit.next_index();
        scratch.clear();
        for (position, payload) in unit.payloads().enumerate() {
            let Some(sequence) = sender.sequence(unit.first_index + position as u64) else {
                return;
            };
            let header = header(
                sender.payload_type,
                unit.marker_at(position),
                sequence,
                unit.timestamp,
                sender.ssrc,
            );
            if !scratch.push(header, &[], payload, sequence, &mut self.sealer) {
                return;
            }
        }
        sender.packets = sender.packets.wrapping_add(unit.len() as u32);
        sender.octets = sender.octets.wrapping_add(unit.size() as u32);
        self.stats.packets += unit.len() as u64;
        self.stats.bytes += scratch.bytes.len() as u64;
        if let Err(error) = scratch.flush(self.local, self.remote, sockets)
            && error.kind() == io::ErrorKind::WouldBlock
            && track == Track::Video
        {
            // What follows refers to what was lost: begin anew rather than send what cannot be decoded.
            sender.waits_for_keyframe = true;
            self.stats.dropped += 1;
        }
    }

    /// Whether the viewer cannot go on without a keyframe.
    pub(super) fn waits_for_keyframe(&self) -> bool {
        self.video
            .as_ref()
            .is_some_and(|video| video.waits_for_keyframe && !video.paused)
    }

    /// Answers a NACK from the track's shared history: as RTX (RFC 4588) where negotiated, else the same
    /// packet bit by bit, since a GCM nonce must never seal two different packets.
    pub(super) fn retransmit(
        &mut self,
        ssrc: u32,
        sequence: u16,
        history: &History,
        scratch: &mut Scratch,
        sockets: &Sockets,
    ) {
        let Some(sender) = self.video.as_mut().filter(|video| video.ssrc == ssrc) else {
            return;
        };
        let found = sender
            .index(sequence)
            .and_then(|index| Some((index, history.find(index)?)));
        let Some((index, (unit, position))) = found.filter(|_| self.nack_budget > 0) else {
            self.stats.refused += 1;
            return;
        };
        let (Some(payload), Some(original)) = (unit.payload(position), sender.sequence(index))
        else {
            return;
        };
        let marker = unit.marker_at(position);
        scratch.clear();
        let sealed = match &mut sender.rtx {
            Some(rtx) => {
                let sequence = rtx.next_sequence;
                rtx.next_sequence += 1;
                let header = header(rtx.payload_type, marker, sequence, unit.timestamp, rtx.ssrc);
                scratch.push(
                    header,
                    &(original as u16).to_be_bytes(),
                    payload,
                    sequence,
                    &mut self.sealer,
                )
            }
            None => {
                let header = header(
                    sender.payload_type,
                    marker,
                    original,
                    unit.timestamp,
                    sender.ssrc,
                );
                scratch.push(header, &[], payload, original, &mut self.sealer)
            }
        };
        if sealed {
            self.nack_budget -= 1;
            self.stats.retransmitted += 1;
            self.stats.packets += 1;
            self.stats.bytes += scratch.bytes.len() as u64;
            let _ = scratch.flush(self.local, self.remote, sockets);
        }
    }

    /// Once a second: sender reports of each track that flows, and a new budget for retransmissions.
    /// `newest` is the track's last access unit; the report extends its clock to `now_ms`.
    pub(super) fn report(
        &mut self,
        now_ms: f64,
        newest: [Option<&AccessUnit>; 2],
        sockets: &Sockets,
    ) {
        self.nack_budget = RETRANSMISSIONS_PER_SECOND;
        for (track, unit) in Track::ALL.into_iter().zip(newest) {
            let sender = match track {
                Track::Video => &self.video,
                Track::Audio => &self.audio,
            };
            let (Some(sender), Some(unit)) =
                (sender.as_ref().filter(|sender| sender.packets > 0), unit)
            else {
                continue;
            };
            let since = MediaClock::ticks((now_ms - unit.wall_ms).max(0.0), track.clock_hz());
            let report = sender_report(&SenderInfo {
                ssrc: sender.ssrc,
                wall_ms: now_ms.max(unit.wall_ms),
                rtp_time: (unit.timestamp + since) as u32,
                packets: sender.packets,
                octets: sender.octets,
            });
            if let Some(sealed) = self.sealer.seal_rtcp(&report) {
                let _ = sockets.send(self.local, self.remote, &sealed, sealed.len());
            }
        }
    }
}

fn header(
    payload_type: u8,
    marker: bool,
    sequence: u64,
    timestamp: u64,
    ssrc: u32,
) -> [u8; RTP_HEADER] {
    let mut header = [0; RTP_HEADER];
    header[0] = 0x80;
    header[1] = payload_type | if marker { MARKER } else { 0 };
    header[2..4].copy_from_slice(&(sequence as u16).to_be_bytes());
    header[4..8].copy_from_slice(&(timestamp as u32).to_be_bytes());
    header[8..12].copy_from_slice(&ssrc.to_be_bytes());
    header
}

impl Scratch {
    fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    fn push(
        &mut self,
        header: [u8; RTP_HEADER],
        prefix: &[u8],
        payload: &[u8],
        index: u64,
        sealer: &mut Sealer,
    ) -> bool {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&header);
        self.bytes.extend_from_slice(prefix);
        self.bytes.extend_from_slice(payload);
        let sealed = sealer.seal_rtp(&mut self.bytes, start, index);
        self.ends.push(self.bytes.len());
        sealed
    }

    /// Sends each run of packets with one call.
    fn flush(&self, local: SocketAddr, remote: SocketAddr, sockets: &Sockets) -> io::Result<()> {
        let mut result = Ok(());
        for (run, segment) in runs(&self.ends) {
            let packets = self.bytes.get(run).unwrap_or_default();
            result = result.and(sockets.send(local, remote, packets, segment));
        }
        result
    }
}

/// Cuts packets that end at `ends` into what one GSO send takes: packets of equal length, the last one as long
/// or shorter. Gives the bytes of each run, and the length of its packets.
fn runs(ends: &[usize]) -> impl Iterator<Item = (Range<usize>, usize)> {
    let mut start = 0;
    let mut rest = ends;
    std::iter::from_fn(move || {
        let (&first, mut after) = rest.split_first()?;
        let (begin, segment, mut end) = (start, first - start, first);
        while let Some((&next, following)) = after.split_first()
            && next - end <= segment
        {
            let is_last = next - end < segment;
            (end, after) = (next, following);
            if is_last {
                break;
            }
        }
        (start, rest) = (end, after);
        Some((begin..end, segment))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::Packetizer;
    use proptest::prelude::*;

    fn sender(initial_sequence: u64, first_index: u64) -> Sender {
        let track = SendTrack {
            payload_type: 96,
            rtx_payload_type: None,
        };
        Sender {
            initial_sequence,
            first_index: Some(first_index),
            next_index: first_index,
            ..Sender::new(1, track, None)
        }
    }

    #[test]
    fn a_sequence_number_leads_back_to_its_packet_over_every_wrap() {
        for (initial, first) in [(1, 0), (16_384, 0), (16_000, 3_000_000_000)] {
            let mut sender = sender(initial, first);
            for index in first..first + 70_000 {
                sender.next_index = index + 1;
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
        let mut sender = sender(100, 50);
        assert_eq!(sender.index(100), None);
        sender.next_index = 60;
        assert_eq!(sender.index(109), Some(59));
        assert_eq!(sender.index(110), None);
        assert_eq!(sender.index(99), None);
        assert_eq!(sender.sequence(49), None);
        sender.first_index = None;
        assert_eq!(sender.index(100), None);
    }

    #[test]
    fn first_sequence_numbers_leave_room_before_the_wrap() {
        for _ in 0..1_000 {
            assert!((1..=16_384).contains(&initial_sequence()));
        }
    }

    fn sealer() -> Sealer {
        let provider = rtc_crypto::default_provider().unwrap();
        let keys = super::super::srtp::Keys {
            profile: rtc_srtp::protection_profile::ProtectionProfile::AeadAes128Gcm,
            session: rtc_srtp::config::SessionKeys {
                local_master_key: vec![1; 16],
                local_master_salt: vec![2; 12],
                remote_master_key: vec![1; 16],
                remote_master_salt: vec![2; 12],
            },
        };
        keys.sealer(provider.crypto()).unwrap()
    }

    /// A viewer with RTX, and the socket where its packets arrive.
    fn outlet() -> (Outlet, Sockets, std::net::UdpSocket) {
        let ip = std::net::Ipv4Addr::LOCALHOST;
        let sockets = Sockets::bind(&[ip.into()], 0).unwrap();
        let viewer = std::net::UdpSocket::bind((ip, 0)).unwrap();
        viewer.set_nonblocking(true).unwrap();
        let path = (
            SocketAddr::from((ip, sockets.port())),
            viewer.local_addr().unwrap(),
        );
        let video = SendTrack {
            payload_type: 96,
            rtx_payload_type: Some(97),
        };
        let ssrcs = super::super::sdp::Ssrcs {
            video: 1,
            video_rtx: 2,
            audio: 3,
        };
        let outlet = Outlet::new(path, sealer(), (Some(video), None), ssrcs);
        (outlet, sockets, viewer)
    }

    fn arrived(viewer: &std::net::UdpSocket) -> usize {
        let mut buffer = [0; 2_048];
        std::iter::from_fn(|| viewer.recv(&mut buffer).ok()).count()
    }

    #[test]
    fn only_what_was_sent_is_sent_again_and_within_a_budget() {
        let (mut outlet, sockets, viewer) = outlet();
        let (mut scratch, mut history) = (Scratch::default(), History::default());
        let mut packetizer = Packetizer::default();
        let unit = packetizer
            .h264(&[0, 0, 0, 1, 0x65, 1, 2, 3], 0, 0.0, true)
            .unwrap();
        outlet.send(Track::Video, &unit, &mut scratch, &sockets);
        history.push(unit);
        assert_eq!(arrived(&viewer), 1);
        let first = outlet.video.as_ref().unwrap().initial_sequence as u16;

        let mut nack = |outlet: &mut Outlet, ssrc, sequence| {
            outlet.retransmit(ssrc, sequence, &history, &mut scratch, &sockets);
        };
        nack(&mut outlet, 1, first.wrapping_add(1));
        nack(&mut outlet, 1, first.wrapping_sub(1));
        assert_eq!((outlet.stats.retransmitted, outlet.stats.refused), (0, 2));
        nack(&mut outlet, 9, first);
        assert_eq!(outlet.stats.refused, 2, "another stream's packet");
        for _ in 0..RETRANSMISSIONS_PER_SECOND + 5 {
            nack(&mut outlet, 1, first);
        }
        let sent = u64::from(RETRANSMISSIONS_PER_SECOND);
        assert_eq!(
            (outlet.stats.retransmitted, outlet.stats.refused),
            (sent, 7)
        );
        outlet.report(0.0, [None, None], &sockets);
        nack(&mut outlet, 1, first);
        assert_eq!(outlet.stats.retransmitted, sent + 1, "a new second");
        assert!(arrived(&viewer) > 0);
    }

    #[test]
    fn packets_are_sent_in_runs_of_equal_ones_with_a_shorter_last() {
        let of = |ends: &[usize]| runs(ends).collect::<Vec<_>>();
        assert_eq!(of(&[]), []);
        assert_eq!(of(&[7]), [(0..7, 7)]);
        assert_eq!(of(&[10, 20, 25]), [(0..25, 10)]);
        assert_eq!(of(&[10, 15, 20]), [(0..15, 10), (15..20, 5)]);
        assert_eq!(of(&[5, 15, 25, 28]), [(0..5, 5), (5..28, 10)]);
    }

    proptest! {
        #[test]
        fn a_run_cut_by_its_segment_gives_the_packets_back(
            lengths in prop::collection::vec(1usize..5, 0..40),
        ) {
            let ends: Vec<usize> = lengths
                .iter()
                .scan(0, |end, length| { *end += length; Some(*end) })
                .collect();
            let mut cut = Vec::new();
            for (run, segment) in runs(&ends) {
                prop_assert_eq!(run.start, cut.last().copied().unwrap_or(0));
                cut.extend(run.clone().step_by(segment).skip(1).chain([run.end]));
            }
            prop_assert_eq!(cut, ends);
        }
    }
}

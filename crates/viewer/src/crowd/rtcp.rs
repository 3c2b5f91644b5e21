//! The RTCP of a receiver (RFC 3550, RFC 4585): sender reports in; reports and requests out.

const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;
const SOURCE_DESCRIPTION: u8 = 202;
const TRANSPORT_FEEDBACK: u8 = 205;
const PAYLOAD_FEEDBACK: u8 = 206;
const GENERIC_NACK: u8 = 1;
const PICTURE_LOSS: u8 = 1;

/// Seconds from 1900 to 1970 (RFC 5905, figure 4).
const NTP_TO_UNIX_S: f64 = 2_208_988_800.0;

/// How a stream's RTP clock stands to the sender's wall clock.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct SenderReport {
    pub(super) ssrc: u32,
    /// The middle 32 bits of its NTP time, for the reports that answer.
    pub(super) compact_ntp: u32,
    /// Its NTP time in ms of the Unix clock.
    pub(super) unix_ms: f64,
    /// RTP time at that moment.
    pub(super) rtp: u32,
}

impl SenderReport {
    /// The moment of an RTP time of a clock of `rate` Hz, in ms of the Unix clock.
    pub(super) fn unix_ms_of(&self, rtp: u32, rate: f64) -> f64 {
        let ticks = rtp.wrapping_sub(self.rtp) as i32;
        self.unix_ms + f64::from(ticks) * 1_000.0 / rate
    }
}

/// Calls `take` with each sender report of a compound packet; stops at the first malformed part.
pub(super) fn read_sender_reports(mut compound: &[u8], mut take: impl FnMut(SenderReport)) {
    while let [_, kind, high, low, ..] = *compound {
        let length = (usize::from(u16::from_be_bytes([high, low])) + 1) * 4;
        let Some((packet, rest)) = compound.split_at_checked(length) else {
            return;
        };
        compound = rest;
        if kind != SENDER_REPORT {
            continue;
        }
        let word = |at: usize| {
            let bytes = packet.get(at..at + 4)?.try_into().ok()?;
            Some(u32::from_be_bytes(bytes))
        };
        let (Some(ssrc), Some(seconds), Some(fraction), Some(rtp)) =
            (word(4), word(8), word(12), word(16))
        else {
            return;
        };
        let ntp = f64::from(seconds) + f64::from(fraction) / 2f64.powi(32);
        take(SenderReport {
            ssrc,
            compact_ntp: seconds << 16 | fraction >> 16,
            unix_ms: (ntp - NTP_TO_UNIX_S) * 1_000.0,
            rtp,
        });
    }
}

/// What is reported of one stream (RFC 3550, 6.4.1).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct ReportBlock {
    pub(super) ssrc: u32,
    /// Share lost since the last report, in 256ths.
    pub(super) fraction_lost: u8,
    /// Packets lost since the beginning.
    pub(super) lost: u32,
    /// The highest sequence number, roll-overs included.
    pub(super) highest: u32,
    /// In units of the RTP clock.
    pub(super) jitter: u32,
    /// [`SenderReport::compact_ntp`] of the last sender report.
    pub(super) last_report: u32,
    /// Since then, in 65,536ths of a second.
    pub(super) delay: u32,
}

/// A compound of a receiver report and the CNAME that every compound must carry (RFC 3550, 6.1).
pub(super) fn receiver_report(ssrc: u32, blocks: &[ReportBlock]) -> Vec<u8> {
    let mut packet = Vec::with_capacity(96);
    packet.extend([0x80 | blocks.len() as u8, RECEIVER_REPORT]);
    packet.extend((1 + 6 * blocks.len() as u16).to_be_bytes());
    packet.extend(ssrc.to_be_bytes());
    for block in blocks {
        packet.extend(block.ssrc.to_be_bytes());
        let lost = block.lost.min(0x7f_ffff);
        packet.extend((u32::from(block.fraction_lost) << 24 | lost).to_be_bytes());
        packet.extend(block.highest.to_be_bytes());
        packet.extend(block.jitter.to_be_bytes());
        packet.extend(block.last_report.to_be_bytes());
        packet.extend(block.delay.to_be_bytes());
    }
    // SDES: one chunk, CNAME "crowd", an end, padded to a word.
    packet.extend([0x81, SOURCE_DESCRIPTION, 0, 3]);
    packet.extend(ssrc.to_be_bytes());
    packet.extend([1, 5]);
    packet.extend(b"crowd\0");
    packet
}

/// Asks for lost packets (RFC 4585, 6.2.1). `numbers` must rise.
pub(super) fn nack(ssrc: u32, media: u32, numbers: &[u16]) -> Vec<u8> {
    let mut packet = feedback(TRANSPORT_FEEDBACK, GENERIC_NACK, ssrc, media);
    let mut rest = numbers;
    while let Some((&first, after)) = rest.split_first() {
        let near = |number: &u16| (1..=16).contains(&number.wrapping_sub(first));
        let count = after.iter().take_while(|number| near(number)).count();
        let (covered, later) = after.split_at(count);
        let mask = covered.iter().fold(0u16, |mask, number| {
            mask | 1 << (number.wrapping_sub(first) - 1)
        });
        packet.extend(first.to_be_bytes());
        packet.extend(mask.to_be_bytes());
        rest = later;
    }
    set_length(packet)
}

/// Asks for a keyframe (RFC 4585, 6.3.1).
pub(super) fn pli(ssrc: u32, media: u32) -> Vec<u8> {
    set_length(feedback(PAYLOAD_FEEDBACK, PICTURE_LOSS, ssrc, media))
}

fn feedback(kind: u8, format: u8, ssrc: u32, media: u32) -> Vec<u8> {
    let mut packet = Vec::with_capacity(64);
    packet.extend([0x80 | format, kind, 0, 0]);
    packet.extend(ssrc.to_be_bytes());
    packet.extend(media.to_be_bytes());
    packet
}

/// Writes the length of a packet of whole words.
fn set_length(mut packet: Vec<u8>) -> Vec<u8> {
    let words = (packet.len() / 4 - 1) as u16;
    if let Some(field) = packet.get_mut(2..4) {
        field.copy_from_slice(&words.to_be_bytes());
    }
    packet
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use rtc::rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
    use rtc::rtcp::receiver_report::ReceiverReport;
    use rtc::rtcp::source_description::SourceDescription;
    use rtc::rtcp::transport_feedbacks::transport_layer_nack::TransportLayerNack;

    use super::*;

    fn parts(compound: Vec<u8>) -> Vec<Box<dyn rtc::rtcp::Packet>> {
        rtc::rtcp::packet::unmarshal(&mut Bytes::from(compound)).unwrap()
    }

    #[test]
    fn webrtc_rs_reads_our_report() {
        let block = ReportBlock {
            ssrc: 2,
            fraction_lost: 3,
            lost: 4,
            highest: 5,
            jitter: 6,
            last_report: 7,
            delay: 8,
        };
        let parts = parts(receiver_report(1, &[block, block]));
        let report = parts[0].as_any().downcast_ref::<ReceiverReport>().unwrap();
        assert_eq!((report.ssrc, report.reports.len()), (1, 2));
        let read = &report.reports[1];
        assert_eq!((read.ssrc, read.fraction_lost, read.total_lost), (2, 3, 4));
        assert_eq!((read.last_sequence_number, read.jitter), (5, 6));
        assert_eq!((read.last_sender_report, read.delay), (7, 8));
        let names = parts[1]
            .as_any()
            .downcast_ref::<SourceDescription>()
            .unwrap();
        assert_eq!(names.chunks[0].items[0].text, &b"crowd"[..]);
    }

    #[test]
    fn webrtc_rs_reads_our_requests() {
        let numbers = [65_535, 0, 14, 40, 41];
        let nacks = parts(nack(1, 2, &numbers));
        let nack = nacks[0]
            .as_any()
            .downcast_ref::<TransportLayerNack>()
            .unwrap();
        let read: Vec<u16> = nack
            .nacks
            .iter()
            .flat_map(|pair| pair.packet_list())
            .collect();
        assert_eq!((nack.media_ssrc, read), (2, numbers.to_vec()));
        let plis = parts(pli(1, 2));
        let pli = plis[0]
            .as_any()
            .downcast_ref::<PictureLossIndication>()
            .unwrap();
        assert_eq!((pli.sender_ssrc, pli.media_ssrc), (1, 2));
    }

    #[test]
    fn a_sender_report_maps_rtp_times_to_the_unix_clock() {
        let mut compound = vec![0x80, 200, 0, 6, 0, 0, 0, 9];
        compound.extend((2_208_988_800u32 + 10).to_be_bytes());
        compound.extend((1u32 << 31).to_be_bytes());
        compound.extend(90_000u32.to_be_bytes());
        compound.extend([0; 8]);
        let mut reports = Vec::new();
        read_sender_reports(&compound, |report| reports.push(report));
        let [report] = reports[..] else {
            panic!("{reports:?}")
        };
        assert_eq!((report.ssrc, report.unix_ms), (9, 10_500.0));
        assert_eq!(report.unix_ms_of(99_000, 90_000.0), 10_600.0);
        assert_eq!(report.unix_ms_of(81_000, 90_000.0), 10_400.0);
        read_sender_reports(&compound[..20], |_| panic!("it is cut"));
    }
}

//! How a peer's microphone arrives here, as its browser is told of it (RFC 3550, 6.4.1 and appendix A): on that it decides
//! whether its packets have redundant copies. Pure: time is an argument.

use std::time::{Duration, Instant};

use super::rtp_header::RtpHeader;
use crate::microphone::CLOCK_HZ;

/// While sound flows.
const INTERVAL: Duration = Duration::from_secs(1);
/// While a silent microphone sends two or three packets a second: a report for each would cost as much as they do.
const SILENT_INTERVAL: Duration = Duration::from_secs(5);
/// So many packets a second or more are sound.
const FLOWING: f64 = 10.0;
/// A sequence number further away than this is of a sender that started anew (RFC 3550, A.1: `MAX_DROPOUT`).
const RESTART_DISTANCE: u64 = 3_000;

/// What a receiver says of one sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ReportBlock {
    pub(super) ssrc: u32,
    /// Of the packets since the last report, in 256ths.
    pub(super) fraction_lost: u8,
    /// Since the beginning.
    pub(super) lost: u32,
    /// With the number of times that it wrapped.
    pub(super) highest_sequence: u32,
    /// In ticks of the sender's clock.
    pub(super) jitter: u32,
    /// The middle of the NTP time in the sender's last report; 0 if there was none.
    pub(super) last_report: u32,
    /// How long ago that came, in 65,536ths of a second.
    pub(super) since_last_report: u32,
}

/// What arrives of one microphone.
#[derive(Default)]
pub(super) struct Reception {
    arriving: Option<Arriving>,
    /// The sender's last report, and when it came.
    sender_report: Option<(u32, Instant)>,
}

struct Arriving {
    ssrc: u32,
    clock_hz: u32,
    first: u64,
    highest: u64,
    received: u64,
    /// `highest` and `received` at the last report.
    reported: (u64, u64),
    reported_at: Instant,
    /// When the last packet came, and its timestamp.
    last: (Instant, u32),
    /// In ticks.
    jitter: f64,
}

impl Reception {
    /// A packet came, whether it is opened or not; the header's timestamp counts in [`CLOCK_HZ`].
    pub(super) fn add(&mut self, now: Instant, header: &RtpHeader, clock_hz: u32) {
        let known = self.arriving.as_mut();
        let known = known.filter(|known| known.ssrc == header.ssrc && known.clock_hz == clock_hz);
        if known.is_some_and(|known| known.add(now, header)) {
            return;
        }
        // One round ahead, so that packets from before it stay above zero.
        let sequence = u64::from(header.sequence) + 65_536;
        self.arriving = Some(Arriving {
            ssrc: header.ssrc,
            clock_hz,
            first: sequence,
            highest: sequence,
            received: 1,
            reported: (sequence - 1, 0),
            reported_at: now,
            last: (now, header.timestamp),
            jitter: 0.0,
        });
    }

    /// The sender reported; `ntp` is the middle of its NTP time.
    pub(super) fn on_sender_report(&mut self, now: Instant, ntp: u32) {
        self.sender_report = Some((ntp, now));
    }

    /// What is to be reported, if that is due.
    pub(super) fn poll_report(&mut self, now: Instant) -> Option<ReportBlock> {
        let (last_report, since_last_report) = self.sender_report.map_or((0, 0), |(ntp, at)| {
            let since = now.saturating_duration_since(at).as_secs_f64() * 65_536.0;
            (ntp, since as u32)
        });
        let arriving = self.arriving.as_mut()?;
        let (highest, received) = arriving.reported;
        let (expected, came) = (
            arriving.highest.saturating_sub(highest),
            arriving.received.saturating_sub(received),
        );
        let passed = now.saturating_duration_since(arriving.reported_at);
        let flows = expected as f64 >= FLOWING * passed.as_secs_f64();
        if passed < if flows { INTERVAL } else { SILENT_INTERVAL } {
            return None;
        }
        arriving.reported = (arriving.highest, arriving.received);
        arriving.reported_at = now;
        let lost = expected.saturating_sub(came);
        let all = arriving.highest + 1 - arriving.first;
        Some(ReportBlock {
            ssrc: arriving.ssrc,
            fraction_lost: (lost * 256 / expected.max(1)).min(255) as u8,
            lost: all.saturating_sub(arriving.received).min(0x7f_ffff) as u32,
            // The round that was put before it is none of the sender's.
            highest_sequence: (arriving.highest - 65_536) as u32,
            jitter: arriving.jitter as u32,
            last_report,
            since_last_report,
        })
    }
}

impl Arriving {
    /// False: it belongs to a sender that started anew.
    fn add(&mut self, now: Instant, header: &RtpHeader) -> bool {
        let ahead = header.sequence.wrapping_sub(self.highest as u16) as i16;
        let sequence = self.highest.saturating_add_signed(ahead.into());
        if sequence.abs_diff(self.highest) > RESTART_DISTANCE {
            return false;
        }
        self.highest = self.highest.max(sequence);
        self.received += 1;
        let (last, timestamp) = self.last;
        let apart = f64::from(header.timestamp.wrapping_sub(timestamp) as i32);
        let passed = now.saturating_duration_since(last).as_secs_f64() * f64::from(CLOCK_HZ);
        let spread = (passed - apart).abs() * f64::from(self.clock_hz) / f64::from(CLOCK_HZ);
        self.jitter += (spread - self.jitter) / 16.0;
        self.last = (now, header.timestamp);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn add(reception: &mut Reception, at: Instant, number: u32) {
        let mut packet = vec![0x80, 111];
        packet.extend((number as u16).to_be_bytes());
        packet.extend((number * 960).to_be_bytes());
        packet.extend(7_u32.to_be_bytes());
        let header = RtpHeader::parse(&packet).unwrap();
        reception.add(at, &header, CLOCK_HZ);
    }

    #[test]
    fn each_second_says_what_was_lost_in_it_and_in_all_over_the_wrap_of_the_numbers() {
        let (mut reception, start) = (Reception::default(), Instant::now());
        let mut reports = Vec::new();
        for n in 0..100 {
            let at = start + 20 * n * MS;
            // A fifth of the second half is lost.
            if n < 50 || n % 5 != 0 {
                add(&mut reception, at, 65_500 + n);
            }
            reports.extend(reception.poll_report(at + 19 * MS));
        }
        reports.extend(reception.poll_report(start + 2_020 * MS));
        assert_eq!(reports.len(), 2, "{reports:?}");
        assert_eq!((reports[0].fraction_lost, reports[0].lost), (0, 0));
        let share = f64::from(reports[1].fraction_lost) / 256.0;
        assert!((0.15..0.25).contains(&share), "{share}");
        assert_eq!(reports[1].lost, 10);
        assert_eq!((reports[1].ssrc, reports[1].highest_sequence), (7, 65_599));
        assert!(reports[1].jitter < 100, "{reports:?}");
    }

    #[test]
    fn a_silent_microphone_is_reported_each_five_seconds_and_loses_nothing() {
        let (mut reception, start) = (Reception::default(), Instant::now());
        let mut reports = Vec::new();
        for n in 0..30 {
            let at = start + 400 * n * MS;
            add(&mut reception, at, n);
            reports.extend(reception.poll_report(at));
        }
        assert_eq!(reports.len(), 2);
        assert!(reports.iter().all(|report| report.lost == 0));
    }

    #[test]
    fn a_sender_that_starts_anew_has_lost_nothing() {
        let (mut reception, start) = (Reception::default(), Instant::now());
        reception.on_sender_report(start, 0xabcd);
        for n in (0..40).chain(20_000..20_060) {
            add(&mut reception, start, n);
        }
        let report = reception.poll_report(start + 1_000 * MS).unwrap();
        assert_eq!((report.lost, report.highest_sequence), (0, 20_059));
        assert_eq!(
            (report.last_report, report.since_last_report),
            (0xabcd, 65_536)
        );
    }
}

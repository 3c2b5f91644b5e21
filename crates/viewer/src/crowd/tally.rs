//! What one media thread counts for all of its viewers: no list that grows with time.

use super::histogram::Histogram;

/// Since the window began, the flooding viewer left out.
#[derive(Debug, Clone, Default)]
pub(super) struct Tally {
    /// Between one frame and the next of the same viewer.
    pub(super) intervals: Histogram,
    /// From a frame's media time to its last packet.
    pub(super) latency: Histogram,
    /// RTP packets opened.
    pub(super) decrypted: u64,
    /// RTP and RTCP packets that could not be opened.
    pub(super) auth_failures: u64,
    /// Sequence numbers asked for in NACKs, repetitions included.
    pub(super) nacks: u64,
    pub(super) plis: u64,
    pub(super) microphone_packets: u64,
    /// Packets of NACK and PLI from the flooding viewer.
    pub(super) flood_sent: u64,
    /// RTP datagrams thrown away on purpose.
    pub(super) dropped_on_purpose: u64,
    /// Datagrams that a full socket did not take.
    pub(super) unsent: u64,
}

impl Tally {
    pub(super) fn clear(&mut self) {
        self.intervals.clear();
        self.latency.clear();
        let (intervals, latency) = (
            std::mem::take(&mut self.intervals),
            std::mem::take(&mut self.latency),
        );
        *self = Self {
            intervals,
            latency,
            ..Self::default()
        };
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.intervals.merge(&other.intervals);
        self.latency.merge(&other.latency);
        self.decrypted += other.decrypted;
        self.auth_failures += other.auth_failures;
        self.nacks += other.nacks;
        self.plis += other.plis;
        self.microphone_packets += other.microphone_packets;
        self.flood_sent += other.flood_sent;
        self.dropped_on_purpose += other.dropped_on_purpose;
        self.unsent += other.unsent;
    }
}

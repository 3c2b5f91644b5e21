//! What a stream's viewers cost and got, counted by every shard.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde::Serialize;

/// A count that any thread adds to.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, more: u64) {
        if more > 0 {
            self.0.fetch_add(more, Relaxed);
        }
    }

    fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// The counts behind [`NetworkStats`].
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) packets: Counter,
    pub(crate) bytes: Counter,
    pub(crate) retransmitted: Counter,
    pub(crate) refused_nacks: Counter,
    pub(crate) refused_keyframe_requests: Counter,
    pub(crate) refused_datagrams: Counter,
    pub(crate) refused_messages: Counter,
    pub(crate) blocked_units: Counter,
    pub(crate) late_units: Counter,
}

/// What was sent to all viewers of a stream since it began, and what was refused. JSON has the names of
/// `server.getNetworkStats()`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NetworkStats {
    /// RTP packets sent, retransmissions included.
    #[serde(rename = "packetsSent")]
    pub packets: u64,
    /// Their bytes above UDP.
    #[serde(rename = "bytesSent")]
    pub bytes: u64,
    /// Packets sent again because a viewer asked (NACK, RFC 4585).
    #[serde(rename = "retransmittedPackets")]
    pub retransmitted: u64,
    /// Packets asked for and not sent again: too many in a second, or too old.
    pub refused_nacks: u64,
    /// Keyframes asked for (PLI, FIR) more often than a viewer may.
    pub refused_keyframe_requests: u64,
    /// Datagrams of viewers who sent more than a viewer may; they were not read.
    pub refused_datagrams: u64,
    /// Data-channel messages of viewers who sent more than a viewer may.
    pub refused_messages: u64,
    /// Frames and sound not sent to a viewer because the socket was full, those until the next keyframe included.
    pub blocked_units: u64,
    /// Frames and sound that a network thread came to too late to send to its viewers, and frames after them up to the
    /// next keyframe; each thread counts its own.
    pub late_units: u64,
}

impl Counters {
    pub(crate) fn snapshot(&self) -> NetworkStats {
        NetworkStats {
            packets: self.packets.get(),
            bytes: self.bytes.get(),
            retransmitted: self.retransmitted.get(),
            refused_nacks: self.refused_nacks.get(),
            refused_keyframe_requests: self.refused_keyframe_requests.get(),
            refused_datagrams: self.refused_datagrams.get(),
            refused_messages: self.refused_messages.get(),
            blocked_units: self.blocked_units.get(),
            late_units: self.late_units.get(),
        }
    }
}

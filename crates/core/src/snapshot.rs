//! All that a server and its bridge counted so far: what `/metrics` and the dashboard show.

use crate::codec::PerLayer;
use crate::event::DroppedEvents;
use crate::metrics::Metrics;
use crate::microphone::MicrophoneUsage;
use crate::peers::{Entry, Turnover};
use crate::transport::NetworkStats;

pub(crate) struct Snapshot {
    pub(crate) peers: Vec<Entry>,
    pub(crate) turnover: Turnover,
    /// Of the bridge, if one is connected.
    pub(crate) media: Option<Metrics>,
    /// How many receive each layer.
    pub(crate) viewers: PerLayer<usize>,
    pub(crate) network: NetworkStats,
    pub(crate) microphones: MicrophoneUsage,
    pub(crate) dropped_events: DroppedEvents,
}

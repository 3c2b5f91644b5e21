//! Who is there: the peers of one server, in the order of their coming.

use std::time::SystemTime;

use parking_lot::Mutex;

use crate::event::{PeerId, PeerInfo, PeerState};

/// One entry: what is told of a peer, and whether it sits on this machine.
struct Entry {
    info: PeerInfo,
    is_local: bool,
}

#[derive(Default)]
pub(crate) struct Peers(Mutex<Vec<Entry>>);

impl Peers {
    pub(crate) fn add(&self, id: PeerId, is_local: bool) -> PeerInfo {
        let info = PeerInfo {
            id,
            state: PeerState::Connecting,
            created_at: SystemTime::now(),
        };
        self.0.lock().push(Entry {
            info: info.clone(),
            is_local,
        });
        info
    }

    pub(crate) fn remove(&self, id: PeerId) {
        self.0.lock().retain(|entry| entry.info.id != id);
    }

    pub(crate) fn set_state(&self, id: PeerId, state: PeerState) {
        if let Some(entry) = self.0.lock().iter_mut().find(|entry| entry.info.id == id) {
            entry.info.state = state;
        }
    }

    /// Whether the peer's signalling comes over loopback; `None` if there is no such peer.
    pub(crate) fn is_local(&self, id: PeerId) -> Option<bool> {
        self.0
            .lock()
            .iter()
            .find(|entry| entry.info.id == id)
            .map(|entry| entry.is_local)
    }

    pub(crate) fn list(&self) -> Vec<PeerInfo> {
        self.0
            .lock()
            .iter()
            .map(|entry| entry.info.clone())
            .collect()
    }

    pub(crate) fn count(&self) -> usize {
        self.0.lock().len()
    }

    pub(crate) fn is_connected(&self, id: PeerId) -> bool {
        let connected =
            |entry: &Entry| entry.info.id == id && entry.info.state == PeerState::Connected;
        self.0.lock().iter().any(connected)
    }

    pub(crate) fn connected(&self) -> usize {
        self.0
            .lock()
            .iter()
            .filter(|entry| entry.info.state == PeerState::Connected)
            .count()
    }
}

//! Who is there: the peers of one server, in the order of their coming.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::SystemTime;

use parking_lot::Mutex;

use crate::event::{PeerId, PeerInfo, PeerState};
use crate::viewer_statistics::ViewerStatistics;

/// Kinds of reasons for leaving that are told apart.
const MOST_REASONS: usize = 32;

/// What a viewer told of itself, and when, in ms since 1970.
pub(crate) type Told = (f64, ViewerStatistics);

/// What is known of one.
#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) info: PeerInfo,
    /// Where its signalling comes from.
    pub(crate) address: IpAddr,
    /// Whether its WebSocket is open.
    pub(crate) is_here: bool,
    pub(crate) told: Option<Told>,
}

/// How many came and left since the server was made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Turnover {
    pub(crate) joins: u64,
    /// By why.
    pub(crate) drops: BTreeMap<String, u64>,
}

#[derive(Default)]
struct Book {
    entries: Vec<Entry>,
    turnover: Turnover,
}

impl Book {
    fn find(&self, id: PeerId) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.info.id == id)
    }

    fn find_mut(&mut self, id: PeerId) -> Option<&mut Entry> {
        self.entries.iter_mut().find(|entry| entry.info.id == id)
    }
}

#[derive(Default)]
pub(crate) struct Peers(Mutex<Book>);

impl Peers {
    pub(crate) fn add(&self, id: PeerId, address: IpAddr, token: Option<String>) -> PeerInfo {
        let info = PeerInfo {
            id,
            state: PeerState::Connecting,
            created_at: SystemTime::now(),
            token,
        };
        let mut book = self.0.lock();
        book.turnover.joins += 1;
        book.entries.push(Entry {
            info: info.clone(),
            address,
            is_here: true,
            told: None,
        });
        info
    }

    /// The peer's WebSocket broke.
    pub(crate) fn away(&self, id: PeerId) {
        if let Some(entry) = self.0.lock().find_mut(id) {
            entry.is_here = false;
        }
    }

    /// The peer is there again, and signals from there.
    pub(crate) fn back(&self, id: PeerId, address: IpAddr) -> Option<PeerInfo> {
        let mut book = self.0.lock();
        let entry = book.find_mut(id)?;
        entry.address = address;
        entry.is_here = true;
        Some(entry.info.clone())
    }

    pub(crate) fn remove(&self, id: PeerId, reason: &str) {
        let mut book = self.0.lock();
        book.entries.retain(|entry| entry.info.id != id);
        // What follows a colon is of one case.
        let kind = reason.split(':').next().unwrap_or_default();
        let drops = &mut book.turnover.drops;
        let kind = match drops.len() < MOST_REASONS || drops.contains_key(kind) {
            true => kind,
            false => "other",
        };
        *drops.entry(kind.to_owned()).or_default() += 1;
    }

    pub(crate) fn set_state(&self, id: PeerId, state: PeerState) {
        if let Some(entry) = self.0.lock().find_mut(id) {
            entry.info.state = state;
        }
    }

    /// Keeps what a viewer tells of itself.
    pub(crate) fn tell(&self, id: PeerId, told: Told) {
        if let Some(entry) = self.0.lock().find_mut(id) {
            entry.told = Some(told);
        }
    }

    /// What it told last.
    pub(crate) fn told(&self, id: PeerId) -> Option<Told> {
        self.0.lock().find(id)?.told.clone()
    }

    /// Whether the peer's signalling comes over loopback; `None` if there is no such peer.
    pub(crate) fn is_local(&self, id: PeerId) -> Option<bool> {
        let book = self.0.lock();
        book.find(id).map(|entry| entry.address.is_loopback())
    }

    pub(crate) fn list(&self) -> Vec<PeerInfo> {
        let book = self.0.lock();
        book.entries
            .iter()
            .map(|entry| entry.info.clone())
            .collect()
    }

    /// All that is known of all.
    pub(crate) fn entries(&self) -> Vec<Entry> {
        self.0.lock().entries.clone()
    }

    pub(crate) fn turnover(&self) -> Turnover {
        self.0.lock().turnover.clone()
    }

    pub(crate) fn count(&self) -> usize {
        self.0.lock().entries.len()
    }

    /// Whether its media connection is lost for good.
    pub(crate) fn has_failed(&self, id: PeerId) -> bool {
        let book = self.0.lock();
        (book.find(id)).is_some_and(|entry| entry.info.state == PeerState::Failed)
    }

    pub(crate) fn is_connected(&self, id: PeerId) -> bool {
        let book = self.0.lock();
        (book.find(id)).is_some_and(|entry| entry.info.state == PeerState::Connected)
    }

    pub(crate) fn connected(&self) -> usize {
        let book = self.0.lock();
        let connected = |entry: &&Entry| entry.info.state == PeerState::Connected;
        book.entries.iter().filter(connected).count()
    }
}

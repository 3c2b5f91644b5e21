//! Whose datagram is it? A STUN check names its session; anything else must come from an address that such a
//! check has proved. Pure.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::RwLock;

use crate::transport::stun;

/// Who is at an address, known to all shards of a port: the kernel deals datagrams out by address and does not know who
/// serves whom.
pub(crate) type AddressBook = Arc<RwLock<HashMap<SocketAddr, Place>>>;

/// A shard, and the key of one of its members.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    shard: usize,
    key: Option<usize>,
}

/// The first letter of a ufrag names the shard, so that every shard knows where a check belongs.
const SHARD_LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdef";

/// Most shards of one port.
pub(crate) const MAX_SHARDS: usize = SHARD_LETTERS.len();

/// What a ufrag of this shard begins with.
pub(crate) fn shard_letter(shard: usize) -> char {
    SHARD_LETTERS.get(shard).copied().map_or('A', char::from)
}

/// Who gets a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    /// This member of the shard.
    Member(usize),
    /// Somebody whom another shard serves.
    Shard(usize),
    /// No viewer.
    Nobody,
}

/// One shard's part of the port.
pub(super) struct Router {
    shard: usize,
    by_ufrag: HashMap<String, usize>,
    book: AddressBook,
}

impl Router {
    pub(super) fn new(shard: usize, book: AddressBook) -> Self {
        Self {
            shard,
            by_ufrag: HashMap::new(),
            book,
        }
    }

    pub(super) fn find(&self, remote: SocketAddr, data: &[u8]) -> Owner {
        let is_stun = matches!(data.first(), Some(0..=3));
        match is_stun.then(|| self.named(data)).flatten() {
            Some(owner) => owner,
            None => self.at(remote),
        }
    }

    /// The session that a check names.
    fn named(&self, data: &[u8]) -> Option<Owner> {
        let ufrag = stun::username(data)?.split(':').next()?;
        if let Some(&key) = self.by_ufrag.get(ufrag) {
            return Some(Owner::Member(key));
        }
        let letter = ufrag.bytes().next()?;
        let shard = SHARD_LETTERS.iter().position(|known| *known == letter)?;
        (shard != self.shard).then_some(Owner::Shard(shard))
    }

    fn at(&self, remote: SocketAddr) -> Owner {
        match self.book.read().get(&remote) {
            Some(place) if place.shard != self.shard => Owner::Shard(place.shard),
            Some(Place { key: Some(key), .. }) => Owner::Member(*key),
            _ => Owner::Nobody,
        }
    }

    fn place(&self, key: usize) -> Place {
        Place {
            shard: self.shard,
            key: Some(key),
        }
    }

    pub(super) fn add_ufrag(&mut self, ufrag: String, key: usize) {
        self.by_ufrag.insert(ufrag, key);
    }

    pub(super) fn remove_ufrag(&mut self, ufrag: &str) {
        self.by_ufrag.remove(ufrag);
    }

    /// An address belongs to the first peer whose check came from there, until another one proves it by
    /// answering a check of ours: nobody takes another one's path with a forged source address. Whether it is
    /// this peer's now.
    pub(super) fn learn(&mut self, key: usize, remote: SocketAddr, proved: bool) -> bool {
        let place = self.place(key);
        if self.book.read().get(&remote) == Some(&place) {
            return true;
        }
        let mut book = self.book.write();
        let known = book.entry(remote).or_insert(place);
        if proved {
            *known = place;
        }
        *known == place
    }

    /// Another peer may have proved one of them since, here or on another shard.
    pub(super) fn forget(&mut self, addresses: &[SocketAddr], key: usize) {
        let place = self.place(key);
        let mut book = self.book.write();
        for address in addresses {
            if book.get(address) == Some(&place) {
                book.remove(address);
            }
        }
    }

    /// Answers from there come to this shard.
    pub(super) fn expect_from(&self, server: SocketAddr) {
        let place = Place {
            shard: self.shard,
            key: None,
        };
        self.book.write().entry(server).or_insert(place);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(ufrag: &str) -> Vec<u8> {
        let name = format!("{ufrag}:them");
        let mut message = vec![0; 20];
        message[1] = 1;
        message.extend([0, 6, 0, name.len() as u8]);
        message.extend(name.bytes());
        message.resize(message.len().next_multiple_of(4), 0);
        message
    }

    fn two() -> (Router, Router) {
        let book = AddressBook::default();
        (Router::new(0, book.clone()), Router::new(1, book))
    }

    const MEDIA: &[u8] = &[0x80, 111];

    fn address(port: u16) -> SocketAddr {
        ([192, 0, 2, 1], port).into()
    }

    #[test]
    fn a_check_finds_its_session_from_either_shard() {
        let (mut first, mut second) = two();
        first.add_ufrag("Axyz".to_owned(), 7);
        second.add_ufrag("Bxyz".to_owned(), 7);
        assert_eq!(first.find(address(1), &check("Axyz")), Owner::Member(7));
        assert_eq!(first.find(address(1), &check("Bxyz")), Owner::Shard(1));
        assert_eq!(second.find(address(1), &check("Axyz")), Owner::Shard(0));
        assert_eq!(first.find(address(1), &check("Agone")), Owner::Nobody);
        assert_eq!(first.find(address(1), &check("!xyz")), Owner::Nobody);
    }

    #[test]
    fn media_goes_where_a_check_came_from() {
        let (mut first, second) = two();
        assert_eq!(first.find(address(1), MEDIA), Owner::Nobody);
        assert!(first.learn(7, address(1), false));
        assert_eq!(first.find(address(1), MEDIA), Owner::Member(7));
        assert_eq!(second.find(address(1), MEDIA), Owner::Shard(0));
        first.forget(&[address(1)], 7);
        assert_eq!(second.find(address(1), MEDIA), Owner::Nobody);
    }

    #[test]
    fn an_address_changes_hands_only_with_proof_even_across_shards() {
        let (mut first, mut second) = two();
        assert!(first.learn(7, address(1), false));
        assert!(!first.learn(8, address(1), false));
        assert!(!second.learn(9, address(1), false));
        assert_eq!(second.find(address(1), MEDIA), Owner::Shard(0));

        assert!(second.learn(9, address(1), true));
        assert_eq!(first.find(address(1), MEDIA), Owner::Shard(1));
        assert_eq!(second.find(address(1), MEDIA), Owner::Member(9));
        // The one who claimed it before leaves: that takes nothing from who has it now.
        first.forget(&[address(1)], 7);
        assert_eq!(first.find(address(1), MEDIA), Owner::Shard(1));
    }

    #[test]
    fn every_shard_has_a_letter_of_its_own() {
        let letters: std::collections::HashSet<char> = (0..MAX_SHARDS).map(shard_letter).collect();
        assert_eq!(letters.len(), MAX_SHARDS);
    }
}

//! Who has a seat: one for each client, which it keeps for a while when its connection breaks.

use std::collections::HashMap;

use tokio::sync::{mpsc, oneshot};
use tokio_tungstenite::tungstenite::Utf8Bytes;
use uuid::Uuid;

use super::client::Ending;
use crate::event::PeerId;

/// Messages that may wait for a client to read them: more than a whole negotiation with every candidate.
const QUEUE: usize = 256;

/// What a client brings: whether it can resume, and what it wants to resume.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Ticket {
    /// It knows how to; without that its seat ends with its connection.
    can_resume: bool,
    /// The secret of its seat, if it has had one.
    token: Option<Uuid>,
    /// What it shows to the application, whatever that is.
    pub(super) pass: Option<String>,
}

impl Ticket {
    /// Of the query of a WebSocket's address: `resume`, or `resume=TOKEN`.
    pub(super) fn read(query: Option<&str>) -> Self {
        let pairs = || url::form_urlencoded::parse(query.unwrap_or_default().as_bytes());
        let find = |wanted| pairs().find_map(|(name, value)| (name == wanted).then_some(value));
        let resume = find("resume");
        Self {
            can_resume: resume.is_some(),
            token: resume.and_then(|token| token.parse().ok()),
            pass: find("token").map(Into::into),
        }
    }
}

/// A client that was let in: its name, what is to be sent to it, and the order to close it.
pub(super) struct Admission {
    pub(super) peer: PeerId,
    /// Which of the connections that had this seat.
    pub(super) visit: u64,
    /// To be told to the client.
    pub(super) token: Option<Uuid>,
    pub(super) is_resumed: bool,
    pub(super) queue: mpsc::Receiver<Utf8Bytes>,
    pub(super) closing: oneshot::Receiver<Ending>,
}

struct Seat {
    visit: u64,
    token: Option<Uuid>,
    queue: mpsc::Sender<Utf8Bytes>,
    /// Until the order was given.
    closing: Option<oneshot::Sender<Ending>>,
}

/// All of them.
#[derive(Default)]
pub(super) struct Seats {
    by_peer: HashMap<PeerId, Seat>,
    by_token: HashMap<Uuid, PeerId>,
    visits: u64,
}

impl Seats {
    /// The seat that the ticket is for, else a new one; none if there are `most` already.
    pub(super) fn admit(&mut self, ticket: &Ticket, most: usize) -> Option<Admission> {
        let known = (ticket.token).and_then(|token| self.by_token.get(&token).copied());
        if known.is_none() && self.by_peer.len() >= most {
            return None;
        }
        let peer = known.unwrap_or_else(Uuid::new_v4);
        let token = match known {
            Some(_) => ticket.token,
            None => ticket.can_resume.then(Uuid::new_v4),
        };
        self.visits += 1;
        let (sender, queue) = mpsc::channel(QUEUE);
        let (close, closing) = oneshot::channel();
        let seat = Seat {
            visit: self.visits,
            token,
            queue: sender,
            closing: Some(close),
        };
        let old = self.by_peer.insert(peer, seat);
        if let Some(order) = old.and_then(|old| old.closing) {
            // Its connection may have noticed by itself.
            order.send(Ending::resumed()).ok();
        }
        if let Some(token) = token {
            self.by_token.insert(token, peer);
        }
        Some(Admission {
            peer,
            visit: self.visits,
            token,
            is_resumed: known.is_some(),
            queue,
            closing,
        })
    }

    /// A connection has ended. False: the seat is another's by now.
    pub(super) fn leave(&mut self, peer: PeerId, visit: u64) -> bool {
        let is_its = (self.by_peer.get(&peer)).is_some_and(|seat| seat.visit == visit);
        if is_its && let Some(token) = self.by_peer.remove(&peer).and_then(|seat| seat.token) {
            self.by_token.remove(&token);
        }
        is_its
    }

    /// The order to close whoever sits there, once. From now on nothing is sent there, and nothing can be resumed.
    pub(super) fn order_to_close(&mut self, peer: PeerId) -> Option<oneshot::Sender<Ending>> {
        let seat = self.by_peer.get_mut(&peer)?;
        if let Some(token) = seat.token {
            self.by_token.remove(&token);
        }
        seat.closing.take()
    }

    /// Where to put messages for a client.
    pub(super) fn queue(&self, peer: PeerId) -> Option<&mpsc::Sender<Utf8Bytes>> {
        let seat = self.by_peer.get(&peer)?;
        seat.closing.as_ref().map(|_| &seat.queue)
    }

    pub(super) fn peers(&self) -> Vec<PeerId> {
        self.by_peer.keys().copied().collect()
    }

    pub(super) fn len(&self) -> usize {
        self.by_peer.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticket(query: &str) -> Ticket {
        Ticket::read(Some(query))
    }

    #[test]
    fn a_ticket_is_read_from_the_query() {
        assert_eq!(Ticket::read(None), Ticket::default());
        assert_eq!(ticket("a=b"), Ticket::default());
        assert_eq!(ticket("a=b&token=x%20y").pass.as_deref(), Some("x y"));
        let first = ticket("a=b&resume");
        assert!(first.can_resume && first.token.is_none());
        let token = Uuid::new_v4();
        assert_eq!(ticket(&format!("resume={token}")).token, Some(token));
        for wrong in ["resume=1", "resume=%00", "resume=__proto__"] {
            assert_eq!(ticket(wrong), first);
        }
    }

    #[test]
    fn a_token_finds_its_seat_again_and_only_that() {
        let mut seats = Seats::default();
        let first = seats.admit(&ticket("resume"), 1).unwrap();
        assert!(!first.is_resumed);
        let token = first.token.unwrap();
        assert!(
            seats.admit(&ticket("resume"), 1).is_none(),
            "there is one seat"
        );

        let second = seats.admit(&ticket(&format!("resume={token}")), 1).unwrap();
        assert!(second.is_resumed);
        assert_eq!((second.peer, second.token), (first.peer, first.token));
        assert!(first.closing.blocking_recv().is_ok(), "it was told");
        assert!(!seats.leave(first.peer, first.visit), "it is another's");
        assert_eq!(seats.len(), 1);
        assert!(seats.queue(second.peer).is_some());
        let order = seats.order_to_close(second.peer);
        assert!(order.is_some() && seats.order_to_close(second.peer).is_none());
        assert!(seats.queue(second.peer).is_none());
        assert!(seats.leave(second.peer, second.visit));
        assert!(!seats.leave(second.peer, second.visit));

        let third = seats.admit(&ticket(&format!("resume={token}")), 1).unwrap();
        assert!(!third.is_resumed, "it was given up");
        assert_ne!((third.peer, third.token), (first.peer, first.token));
    }

    #[test]
    fn who_cannot_resume_gets_no_token() {
        let mut seats = Seats::default();
        let plain = seats.admit(&Ticket::default(), 9).unwrap();
        assert!(plain.token.is_none());
    }
}

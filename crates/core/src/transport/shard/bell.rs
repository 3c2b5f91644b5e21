//! How a shard rests, and how it is woken: by other threads, at no cost while it is awake, and by its sockets.

use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering::SeqCst};
use std::thread::{Thread, park_timeout};
use std::time::Duration;

use mio::{Events, Poll, Token, Waker};

/// It will look at its queues before it rests.
const AWAKE: u8 = 0;
/// It was called since it last looked.
const CALLED: u8 = 1;
/// It sleeps, and its sockets do not wake it.
const NAPPING: u8 = 2;
/// It waits for its sockets.
const POLLING: u8 = 3;
/// It sleeps on, and is to look at its queues when it wakes.
const HINTED: u8 = 4;

/// Between a shard and those who post to it.
pub(super) struct Bell {
    state: AtomicU8,
    waker: Waker,
    thread: OnceLock<Thread>,
}

impl Bell {
    pub(super) fn new(poll: &Poll) -> io::Result<Self> {
        Ok(Self {
            state: AtomicU8::new(AWAKE),
            waker: Waker::new(poll.registry(), Token(usize::MAX))?,
            thread: OnceLock::new(),
        })
    }

    /// Has the shard look at its queues, if it would not anyway.
    pub(super) fn ring(&self) {
        match self.state.swap(CALLED, SeqCst) {
            NAPPING | HINTED => {
                if let Some(thread) = self.thread.get() {
                    thread.unpark();
                }
            }
            POLLING => {
                if let Err(error) = self.waker.wake() {
                    tracing::error!(%error, "the network thread cannot be woken");
                }
            }
            _ => {}
        }
    }

    /// The same, but a nap goes on to its end.
    pub(super) fn hint(&self) {
        let asleep = self.state.compare_exchange(NAPPING, HINTED, SeqCst, SeqCst);
        if !matches!(asleep, Ok(_) | Err(HINTED)) {
            self.ring();
        }
    }

    /// The calling thread is the one to wake.
    pub(super) fn belongs_to_this_thread(&self) {
        let _ = self.thread.set(std::thread::current());
    }

    /// Sleeps so long, or until it is called. Whether it was.
    pub(super) fn nap(&self, time: Duration) -> bool {
        if self.may_rest(NAPPING) {
            park_timeout(time);
        }
        matches!(self.state.swap(AWAKE, SeqCst), CALLED | HINTED)
    }

    /// Waits for sockets, a call, or the end of `timeout`.
    pub(super) fn poll(
        &self,
        poll: &mut Poll,
        events: &mut Events,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        let timeout = match self.may_rest(POLLING) {
            true => timeout,
            false => Some(Duration::ZERO),
        };
        let result = poll.poll(events, timeout);
        self.state.store(AWAKE, SeqCst);
        result
    }

    fn may_rest(&self, how: u8) -> bool {
        self.state
            .compare_exchange(AWAKE, how, SeqCst, SeqCst)
            .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::time::Instant;

    const LONG: Duration = Duration::from_secs(30);

    fn bell() -> (Arc<Bell>, Poll) {
        let poll = Poll::new().unwrap();
        let bell = Arc::new(Bell::new(&poll).unwrap());
        bell.belongs_to_this_thread();
        (bell, poll)
    }

    /// Rings once the shard rests.
    fn ring_at_rest(bell: &Arc<Bell>) {
        let bell = bell.clone();
        std::thread::spawn(move || {
            while bell.state.load(SeqCst) == AWAKE {
                std::thread::yield_now();
            }
            bell.ring();
        });
    }

    #[test]
    fn a_call_ends_either_rest() {
        let (bell, mut poll) = bell();
        let start = Instant::now();
        ring_at_rest(&bell);
        assert!(bell.nap(LONG));
        ring_at_rest(&bell);
        let mut events = Events::with_capacity(4);
        bell.poll(&mut poll, &mut events, Some(LONG)).unwrap();
        assert!(start.elapsed() < LONG);
    }

    #[test]
    fn a_hint_ends_no_nap_but_is_remembered() {
        let (bell, mut poll) = bell();
        const NAP: Duration = Duration::from_millis(50);
        let start = Instant::now();
        let ringing = bell.clone();
        let hinting = std::thread::spawn(move || {
            while ringing.state.load(SeqCst) == AWAKE {
                std::thread::yield_now();
            }
            ringing.hint();
            ringing.hint();
        });
        assert!(bell.nap(NAP), "remembered");
        assert!(start.elapsed() >= NAP);
        hinting.join().unwrap();
        // One that waits for its sockets is woken.
        bell.state.store(AWAKE, SeqCst);
        let ringing = bell.clone();
        std::thread::spawn(move || {
            while ringing.state.load(SeqCst) == AWAKE {
                std::thread::yield_now();
            }
            ringing.hint();
        });
        let mut events = Events::with_capacity(4);
        bell.poll(&mut poll, &mut events, Some(LONG)).unwrap();
        assert!(start.elapsed() < LONG);
        // And a call after a hint ends the nap.
        bell.state.store(HINTED, SeqCst);
        bell.ring();
        assert_eq!(bell.state.load(SeqCst), CALLED);
    }

    #[test]
    fn a_call_before_the_rest_is_not_lost() {
        let (bell, mut poll) = bell();
        let start = Instant::now();
        bell.ring();
        assert!(bell.nap(LONG));
        bell.ring();
        let mut events = Events::with_capacity(4);
        bell.poll(&mut poll, &mut events, Some(LONG)).unwrap();
        assert!(start.elapsed() < LONG);
        assert!(!bell.nap(Duration::from_millis(1)), "nobody called since");
    }
}

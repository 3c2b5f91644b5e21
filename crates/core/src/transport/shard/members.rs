//! The peers of a shard: who they are, when their timers are due, and what follows from what they do.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use slab::Slab;

use super::stream::{Receives, Stream};
use super::{Io, MEDIA_FOR, Shard};
use crate::codec::{KeyframeReason, Layer};
use crate::event::{PeerId, PeerState};
use crate::transport::limit::{Bucket, Rate};
use crate::transport::outlet::Outlet;
use crate::transport::peer::{Output, Peer, PeerSetup};
use crate::transport::rtcp::Feedback;
use crate::transport::{Datagram, StreamId};

/// A peer's timers come no faster.
const SHORTEST_TIMER: Duration = Duration::from_millis(1);

/// Datagrams of one peer that are read: a microphone is 50 a second, a message of 64 KiB some sixty at once. More is
/// a flood, and costs no more than looking up whose it is.
const DATAGRAMS: Rate = Rate {
    per_second: 1_000.0,
    burst: 1_000.0,
};

/// Data-channel messages of one peer: as many as signalling allows. Each is an event for the application.
const MESSAGES: Rate = Rate {
    per_second: 100.0,
    burst: 200.0,
};

struct Member {
    peer: Peer,
    stream: StreamId,
    /// What its stream counts of it.
    receives: Receives,
    /// The timer that is kept for it.
    armed: Option<Instant>,
    datagrams: Bucket,
    messages: Bucket,
}

/// All of them, by key and by name.
#[derive(Default)]
pub(super) struct Members {
    slab: Slab<Member>,
    by_id: HashMap<PeerId, usize>,
    timers: BinaryHeap<Reverse<(Instant, usize)>>,
}

impl Members {
    pub(super) fn key(&self, id: PeerId) -> Option<usize> {
        self.by_id.get(&id).copied()
    }

    pub(super) fn len(&self) -> usize {
        self.slab.len()
    }

    pub(super) fn outlet(&mut self, key: usize) -> Option<&mut Outlet> {
        self.slab.get_mut(key)?.peer.outlet.as_mut()
    }

    pub(super) fn next_timer(&self) -> Option<Instant> {
        self.timers.peek().map(|Reverse((at, _))| *at)
    }

    /// The next peer whose timer is due.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<usize> {
        while let Some(&Reverse((at, key))) = self.timers.peek()
            && at <= now
        {
            self.timers.pop();
            let due = |member: &&mut Member| member.armed == Some(at);
            if let Some(member) = self.slab.get_mut(key).filter(due) {
                member.armed = None;
                return Some(key);
            }
        }
        None
    }

    fn arm(&mut self, key: usize, at: Instant) {
        if let Some(member) = self.slab.get_mut(key)
            && member.armed.is_none_or(|armed| at < armed)
        {
            member.armed = Some(at);
            self.timers.push(Reverse((at, key)));
        }
    }

    fn insert(&mut self, now: Instant, peer: Peer, stream: StreamId) -> usize {
        let id = peer.id;
        let key = self.slab.insert(Member {
            peer,
            stream,
            receives: Receives::default(),
            armed: None,
            datagrams: Bucket::new(now, DATAGRAMS),
            messages: Bucket::new(now, MESSAGES),
        });
        self.by_id.insert(id, key);
        key
    }
}

impl Shard {
    pub(super) fn offer(&mut self, stream: StreamId, setup: PeerSetup) {
        let now = Instant::now();
        if let Some(key) = self.members.key(setup.id) {
            let known = self.members.slab.get(key);
            if known.is_some_and(|member| member.peer.continues(&setup.offer)) {
                return self.renegotiate(now, key, setup);
            }
            self.remove(key);
            if let Some(stream) = self.streams.get(&stream) {
                stream.hub.delegate.state(setup.id, PeerState::Connecting);
            }
        }
        let (id, ufrag) = (setup.id, setup.local.ufrag.clone());
        let Some(joined) = self.streams.get_mut(&stream) else {
            return;
        };
        let (identity, local) = (self.common.identity.clone(), &self.common.local);
        let made = catch_unwind(AssertUnwindSafe(|| Peer::new(now, setup, identity, local)));
        match made.unwrap_or_else(|_| Err("a protocol failed on its offer".to_owned())) {
            Ok(peer) => {
                let key = self.members.insert(now, peer, stream);
                joined.peers.push(key);
                self.router.add_ufrag(ufrag, key);
                self.with_peer(Some(key), |_, _, _| ());
            }
            Err(error) => {
                tracing::warn!(peer = %id, %error, "the peer cannot be made");
                joined.hub.delegate.state(id, PeerState::Failed);
            }
        }
    }

    /// A known peer's new offer goes on over its association.
    fn renegotiate(&mut self, now: Instant, key: usize, setup: PeerSetup) {
        let ufrag = |shard: &Self| {
            let member = shard.members.slab.get(key)?;
            Some(member.peer.local.ufrag.clone())
        };
        let old = ufrag(self);
        let done = self.with_peer(Some(key), |peer, _, _| {
            peer.renegotiate(now, setup.offer, setup.local)
        });
        if let Some(Err(error)) = done {
            tracing::warn!(%error, "ICE restart");
        }
        let new = ufrag(self);
        if let (Some(old), Some(new)) = (old, new)
            && old != new
        {
            self.router.remove_ufrag(&old);
            self.router.add_ufrag(new, key);
        }
        if let Some(member) = self.members.slab.get(key)
            && let Some(stream) = self.streams.get(&member.stream)
        {
            ask_for_keyframe(&member.peer, stream);
        }
    }

    pub(super) fn send_text(
        &mut self,
        stream: StreamId,
        peer: Option<PeerId>,
        label: &'static str,
        text: &str,
    ) {
        let keys: Vec<usize> = match peer {
            Some(peer) => {
                let is_ours = |&key: &usize| {
                    let member = self.members.slab.get(key);
                    member.is_some_and(|member| member.stream == stream)
                };
                self.members.key(peer).filter(is_ours).into_iter().collect()
            }
            None => self
                .streams
                .get(&stream)
                .map(|stream| stream.peers.clone())
                .unwrap_or_default(),
        };
        for key in keys {
            self.with_peer(Some(key), |peer, now, _| {
                peer.write(now, label, text);
            });
        }
    }

    /// Takes a datagram of a member.
    pub(super) fn read(&mut self, key: usize, local: SocketAddr, remote: SocketAddr, data: &[u8]) {
        let Some(member) = self.members.slab.get_mut(key) else {
            return;
        };
        if !member.datagrams.take(Instant::now(), DATAGRAMS) {
            if let Some(stream) = self.streams.get(&member.stream) {
                stream.hub.counters.refused_datagrams.add(1);
            }
            return;
        }
        let learned = self.with_peer(Some(key), |peer, now, out| {
            peer.handle(now, local, remote, data, out);
            (out.authenticated, out.proved)
        });
        if let Some((true, proved)) = learned
            && self.router.learn(key, remote, proved)
            && let Some(member) = self.members.slab.get_mut(key)
            && !member.peer.addresses.contains(&remote)
        {
            member.peer.addresses.push(remote);
        }
    }

    /// Does something with a peer, then all that follows from it. The protocols beneath read what strangers
    /// send: should one of them panic, it costs that peer alone.
    pub(super) fn with_peer<R>(
        &mut self,
        key: Option<usize>,
        act: impl FnOnce(&mut Peer, Instant, &mut Output) -> R,
    ) -> Option<R> {
        let key = key?;
        let member = self.members.slab.get_mut(key)?;
        let now = Instant::now();
        let mut out = Output::default();
        let result = catch_unwind(AssertUnwindSafe(|| {
            let result = act(&mut member.peer, now, &mut out);
            if out.is_settled {
                return (result, None);
            }
            member.peer.settle(now, &mut out);
            (result, member.peer.next_timeout())
        }));
        match result {
            Ok((result, next)) => {
                // No protocol holds the thread with a timer that is always due.
                if let Some(next) = next {
                    self.members.arm(key, next.max(now + SHORTEST_TIMER));
                }
                self.deliver(now, key, out);
                Some(result)
            }
            Err(_) => {
                tracing::error!(peer = %member.peer.id, "a protocol failed on this peer's data; the peer is dropped");
                let (id, stream) = (member.peer.id, member.stream);
                self.remove(key);
                if let Some(stream) = self.streams.get(&stream) {
                    stream.hub.delegate.state(id, PeerState::Failed);
                }
                None
            }
        }
    }

    /// Sends a peer's datagrams and tells its stream what came of it.
    fn deliver(&mut self, now: Instant, key: usize, out: Output) {
        self.io.send(&out.datagrams);
        let Some(member) = self.members.slab.get_mut(key) else {
            return;
        };
        let Some(stream) = self.streams.get_mut(&member.stream) else {
            return;
        };
        let peer = &mut member.peer;
        let delegate = &stream.hub.delegate;
        if !out.microphone.packets.is_empty() {
            self.common.pace.stay_busy(now + MEDIA_FOR);
            delegate.microphone(peer.id, out.microphone);
        }
        for text in out.texts {
            match member.messages.take(now, MESSAGES) {
                true => delegate.text(peer.id, &text.label, &text.text),
                false => stream.hub.counters.refused_messages.add(1),
            }
        }
        if let Some(outlet) = &mut peer.outlet {
            for feedback in out.feedback {
                answer(now, feedback, outlet, stream, &mut self.io);
            }
        }
        if out.is_back
            && let Some(codec) = peer.outlet.as_ref().and_then(Outlet::video)
        {
            delegate.keyframe_wanted(codec, KeyframeReason::Asked);
        }
        if let Some(state) = out.state {
            delegate.state(peer.id, state);
            if state == PeerState::Failed {
                self.router.forget(&peer.addresses, key);
                peer.addresses.clear();
            }
            // Asked for before the audience is told, whose first viewer starts the encoder: one keyframe, not two.
            if state == PeerState::Connected {
                ask_for_keyframe(peer, stream);
            }
        }
        let receives = receives(peer.outlet.as_ref());
        stream.recount(self.index, key, member.receives, receives);
        member.receives = receives;
    }

    pub(super) fn remove(&mut self, key: usize) {
        let Some(mut member) = self.members.slab.try_remove(key) else {
            return;
        };
        let peer = &mut member.peer;
        let mut out = Output::default();
        let _ = catch_unwind(AssertUnwindSafe(|| peer.close(Instant::now(), &mut out)));
        self.io.send(&out.datagrams);
        self.members.by_id.remove(&peer.id);
        self.router.remove_ufrag(&peer.local.ufrag);
        self.router.forget(&peer.addresses, key);
        if let Some(stream) = self.streams.get_mut(&member.stream) {
            stream.peers.retain(|&peer| peer != key);
            stream.hub.delegate.gone(peer.id);
            stream.recount(self.index, key, member.receives, Receives::default());
        }
    }

    pub(super) fn close_all(&mut self) {
        let keys: Vec<usize> = self.members.slab.iter().map(|(key, _)| key).collect();
        for key in keys {
            self.remove(key);
        }
    }
}

impl Io {
    fn send(&self, datagrams: &[Datagram]) {
        for Datagram {
            local,
            remote,
            data,
        } in datagrams
        {
            let _ = self.sockets.send(*local, *remote, data, data.len());
        }
    }
}

/// Gives a viewer the packet or the keyframe that it asks for, and passes on how its sound arrives.
fn answer(now: Instant, feedback: Feedback, outlet: &mut Outlet, stream: &Stream, io: &mut Io) {
    let counters = &stream.hub.counters;
    let Some(codec) = outlet.video() else { return };
    match feedback {
        Feedback::Nack { ssrc, sequence } => outlet.retransmit(
            now,
            (ssrc, sequence),
            stream.history(Layer::Video(codec)),
            &mut io.scratch,
            &io.sockets,
            counters,
        ),
        Feedback::Keyframe { ssrc } => {
            if outlet.grants_keyframe(now, ssrc, counters) {
                let delegate = &stream.hub.delegate;
                delegate.keyframe_wanted(codec, KeyframeReason::Asked);
            }
        }
        Feedback::Loss { ssrc, share } => {
            if outlet.is_audio(ssrc) {
                stream.hub.delegate.sound_lost(f64::from(share) / 256.0);
            }
        }
    }
}

fn receives(outlet: Option<&Outlet>) -> Receives {
    outlet.map_or_else(Receives::default, |outlet| Receives {
        video: outlet.video(),
        audio: outlet.audio(),
    })
}

fn ask_for_keyframe(peer: &Peer, stream: &Stream) {
    if let Some(outlet) = &peer.outlet
        && outlet.waits_for_keyframe()
        && let Some(codec) = outlet.video()
    {
        let delegate = &stream.hub.delegate;
        delegate.keyframe_wanted(codec, KeyframeReason::Joined);
    }
}

//! One avatar as a shard sees it: its viewers here, and what they may ask for again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::Io;
use super::members::Members;
use crate::rtp::{AccessUnit, History};
use crate::transport::counters::Counters;
use crate::transport::{StreamDelegate, Track};
use crate::wall_clock::unix_ms;

/// A unit that waited longer for its shard is not sent any more: the machine cannot keep up, and what comes late
/// makes everything after it late too. Browsers' jitter buffers hold about as much.
const MAX_LATE: Duration = Duration::from_millis(200);

/// How many receive video and audio.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Audience {
    pub(super) viewers: usize,
    pub(super) listeners: usize,
}

/// What all shards share of a stream.
pub(crate) struct StreamHub {
    pub(crate) delegate: Arc<dyn StreamDelegate>,
    pub(crate) counters: Arc<Counters>,
    /// Of each shard.
    audience: Mutex<Vec<Audience>>,
}

impl StreamHub {
    pub(crate) fn new(delegate: Arc<dyn StreamDelegate>, shards: usize) -> Arc<Self> {
        Arc::new(Self {
            delegate,
            counters: Arc::default(),
            audience: Mutex::new(vec![Audience::default(); shards]),
        })
    }

    /// Takes one shard's count, and tells the delegate the sum.
    fn count(&self, shard: usize, audience: Audience) {
        let mut parts = self.audience.lock();
        if let Some(part) = parts.get_mut(shard) {
            *part = audience;
        }
        let sum = |of: fn(&Audience) -> usize| parts.iter().map(of).sum();
        // The lock is held meanwhile, so that the last word is the newest.
        self.delegate
            .audience(sum(|part| part.viewers), sum(|part| part.listeners));
    }
}

/// A stream within one shard.
pub(super) struct Stream {
    pub(super) hub: Arc<StreamHub>,
    pub(super) peers: Vec<usize>,
    /// Who is served first moves on with each access unit.
    first_served: usize,
    pub(super) video: History,
    pub(super) audio: History,
    pub(super) audience: Audience,
    /// Video came too late and was left out: nothing can be decoded before the next keyframe.
    is_broken: bool,
}

impl Stream {
    pub(super) fn new(hub: Arc<StreamHub>) -> Self {
        Self {
            hub,
            peers: Vec::new(),
            first_served: 0,
            video: History::default(),
            audio: History::default(),
            audience: Audience::default(),
            is_broken: false,
        }
    }

    /// Whether a unit that was published at `published` is still to be sent.
    pub(super) fn accepts(
        &mut self,
        now: Instant,
        published: Instant,
        track: Track,
        unit: &AccessUnit,
    ) -> bool {
        let is_late = now.saturating_duration_since(published) > MAX_LATE;
        if track == Track::Video {
            self.is_broken = is_late || self.is_broken && !unit.keyframe;
            if is_late && !self.peers.is_empty() {
                self.hub.delegate.keyframe_wanted();
            }
        }
        let left_out = is_late || track == Track::Video && self.is_broken;
        self.hub.counters.late_units.add(left_out.into());
        !left_out
    }

    /// Sends one access unit to every viewer, and the reports that are due.
    pub(super) fn fan_out(
        &mut self,
        now: Instant,
        track: Track,
        unit: Arc<AccessUnit>,
        members: &mut Members,
        io: &mut Io,
    ) {
        let (scratch, sockets) = (&mut io.scratch, &io.sockets);
        let history = match track {
            Track::Video => &mut self.video,
            Track::Audio => &mut self.audio,
        };
        history.push(unit.clone());
        let newest = [&self.video, &self.audio].map(|history| history.newest().map(Arc::as_ref));
        let now_ms = unix_ms();

        let first = self.first_served.min(self.peers.len());
        self.first_served = (first + 1) % self.peers.len().max(1);
        let (last, first) = self.peers.split_at(first);
        for &key in first.iter().chain(last) {
            let Some(outlet) = members.outlet(key) else {
                continue;
            };
            let waited = outlet.waits_for_keyframe();
            outlet.send(track, &unit, scratch, sockets, &self.hub.counters);
            // One that did not get its keyframe either has to be given another.
            let asks = !waited || unit.keyframe;
            if track == Track::Video && outlet.waits_for_keyframe() && asks {
                self.hub.delegate.keyframe_wanted();
            }
            outlet.report(now, now_ms, newest, sockets);
        }
    }

    /// Follows a change of who receives what.
    pub(super) fn recount(&mut self, shard: usize, before: Receives, after: Receives) {
        let follow = |count: &mut usize, before: bool, after: bool| {
            *count = (*count + usize::from(after)).saturating_sub(usize::from(before));
        };
        if before != after {
            follow(&mut self.audience.viewers, before.video, after.video);
            follow(&mut self.audience.listeners, before.audio, after.audio);
            self.hub.count(shard, self.audience);
        }
    }
}

/// What one viewer receives.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Receives {
    pub(super) video: bool,
    pub(super) audio: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::Packetizer;
    use crate::transport::testing::Told;

    #[test]
    fn after_a_late_frame_everybody_waits_for_a_keyframe_that_is_in_time() {
        let delegate = Arc::<Told>::default();
        let mut stream = Stream::new(StreamHub::new(delegate.clone(), 1));
        stream.peers.push(0);
        let mut packetizer = Packetizer::default();
        let start = Instant::now();
        let mut accepts = |waited_ms: u64, keyframe| {
            let unit = packetizer
                .h264(&[0, 0, 1, 0x65, 1], 0, 0.0, keyframe)
                .unwrap();
            let now = start + Duration::from_millis(waited_ms);
            stream.accepts(now, start, Track::Video, &unit)
        };
        let in_time = [accepts(200, true), accepts(200, false)];
        let late = [accepts(201, false), accepts(0, false), accepts(300, true)];
        let after = [accepts(0, false), accepts(0, true), accepts(0, false)];
        assert_eq!(in_time, [true, true]);
        assert_eq!(late, [false, false, false]);
        assert_eq!(after, [false, true, true]);
        assert_eq!(*delegate.keyframes_wanted.lock(), 2);
        assert_eq!(stream.hub.counters.snapshot().late_units, 4);
    }

    #[test]
    fn the_audience_is_the_sum_of_all_shards() {
        let delegate = Arc::<Told>::default();
        let hub = StreamHub::new(delegate.clone(), 2);
        let mut shards = [Stream::new(hub.clone()), Stream::new(hub)];
        let nothing = Receives::default();
        let video = Receives {
            video: true,
            audio: false,
        };
        let both = Receives {
            video: true,
            audio: true,
        };
        shards[0].recount(0, nothing, both);
        shards[1].recount(1, nothing, video);
        shards[1].recount(1, video, video);
        shards[0].recount(0, both, nothing);
        assert_eq!(*delegate.audiences.lock(), [(1, 1), (2, 1), (1, 0)]);
    }
}

//! When a keyframe is made. A keyframe is everyone's: it must not cost more because more viewers ask.

use std::time::{Duration, Instant};

use crate::codec::KeyframeReason;

/// One keyframe serves all who asked within this time.
const SHORTEST_GAP: Duration = Duration::from_millis(100);
/// What the gap grows to while requests pour in: a viewer who joins then waits no longer than this.
const LONGEST_GAP: Duration = Duration::from_millis(500);

/// Decides which pictures become keyframes.
///
/// The first request after a quiet time is served at once. After a keyframe there is none for a gap, which
/// doubles each time requests arrive soon after a keyframe. Every request is served by a keyframe that is
/// encoded after it.
#[derive(Debug)]
pub struct KeyframePolicy {
    frame_interval: Duration,
    /// The first request that is not served.
    asked: Option<(Instant, KeyframeReason)>,
    last: Option<Instant>,
    gap: Duration,
}

impl KeyframePolicy {
    /// A policy for a source that means to push `fps` frames a second.
    pub fn new(fps: u32) -> Self {
        Self {
            frame_interval: Duration::from_secs(1) / fps.max(1),
            asked: None,
            last: None,
            gap: SHORTEST_GAP,
        }
    }

    /// Somebody asked for a keyframe.
    pub fn request(&mut self, now: Instant, reason: KeyframeReason) {
        self.asked.get_or_insert((now, reason));
    }

    /// Whether a picture that is encoded now must be a keyframe.
    pub fn is_due(&self, now: Instant) -> bool {
        self.asked.is_some() && self.earliest().is_none_or(|at| now >= at)
    }

    /// When the last picture is to be encoded again, as a keyframe, if no new frame comes until then:
    /// one frame interval after the request.
    pub fn repeat_at(&self) -> Option<Instant> {
        let patience = self.asked?.0 + self.frame_interval;
        Some(self.earliest().map_or(patience, |at| at.max(patience)))
    }

    /// A keyframe was encoded at `now`, after every request that this policy was told of. Gives the first one's reason.
    pub fn encoded(&mut self, now: Instant) -> KeyframeReason {
        let soon = self
            .last
            .zip(self.asked)
            .is_some_and(|(last, (asked, _))| asked < last + 2 * self.gap);
        self.gap = match soon {
            true => (2 * self.gap).min(LONGEST_GAP),
            false => SHORTEST_GAP,
        };
        self.last = Some(now);
        let asked = self.asked.take();
        asked.map_or(KeyframeReason::Began, |(_, reason)| reason)
    }

    /// A keyframe could not be made: it is tried again after the gap.
    pub fn failed(&mut self, now: Instant) {
        self.last = Some(now);
    }

    fn earliest(&self) -> Option<Instant> {
        self.last.map(|last| last + self.gap)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use KeyframeReason::{Asked, Began, Joined};
    use proptest::prelude::*;

    const MS: Duration = Duration::from_millis(1);

    /// Plays requests (in ms) against a 30 fps source; gives the times of the keyframes in ms.
    fn keyframes(requests: &[u64], until: u64) -> Vec<u64> {
        let start = Instant::now();
        let mut policy = KeyframePolicy::new(30);
        let mut keyframes = Vec::new();
        for ms in 0..until {
            let now = start + ms as u32 * MS;
            for _ in requests.iter().filter(|at| **at == ms) {
                policy.request(now, Asked);
            }
            if ms % 33 == 0 && policy.is_due(now) {
                policy.encoded(now);
                keyframes.push(ms);
            }
        }
        keyframes
    }

    #[test]
    fn without_requests_there_is_no_keyframe() {
        assert!(keyframes(&[], 5_000).is_empty());
        assert_eq!(KeyframePolicy::new(30).repeat_at(), None);
    }

    #[test]
    fn five_hundred_requests_within_a_second_cost_few_keyframes() {
        let requests: Vec<_> = (0..500).map(|n| n * 2).collect();
        let made = keyframes(&requests, 3_000);
        assert!((2..=6).contains(&made.len()), "{made:?}");
    }

    #[test]
    fn the_first_request_after_a_quiet_time_is_served_by_the_next_frame() {
        let storm = (0..500).map(|n| n * 2);
        let requests: Vec<_> = storm.chain([5_000]).collect();
        let made = keyframes(&requests, 6_000);
        assert_eq!(made.last(), Some(&5_016));
        assert_eq!(made[0], 0);
    }

    #[test]
    fn requests_that_come_together_share_a_keyframe() {
        assert_eq!(keyframes(&[10, 12, 13, 30], 1_000), [33]);
        // The one at 40 came after the keyframe: that cannot have served it.
        assert_eq!(keyframes(&[10, 40, 60, 90], 1_000), [33, 165]);
    }

    #[test]
    fn a_frozen_source_gets_a_keyframe_after_one_frame_interval() {
        let start = Instant::now();
        let mut policy = KeyframePolicy::new(10);
        policy.request(start, Asked);
        policy.request(start + 50 * MS, Asked);
        assert_eq!(policy.repeat_at(), Some(start + 100 * MS));
        policy.encoded(start + 100 * MS);
        assert_eq!(policy.repeat_at(), None);
        policy.request(start + 101 * MS, Asked);
        assert_eq!(policy.repeat_at(), Some(start + 201 * MS));
    }

    #[test]
    fn a_keyframe_that_failed_is_tried_again_later() {
        let start = Instant::now();
        let mut policy = KeyframePolicy::new(30);
        policy.request(start, Asked);
        policy.failed(start + MS);
        assert!(!policy.is_due(start + 2 * MS));
        assert!(policy.is_due(start + 101 * MS));
        assert_eq!(policy.repeat_at(), Some(start + 101 * MS));
    }

    #[test]
    fn a_keyframe_is_for_the_first_who_waits() {
        let start = Instant::now();
        let mut policy = KeyframePolicy::new(30);
        assert_eq!(policy.encoded(start), Began);
        policy.request(start, Joined);
        policy.request(start + MS, Asked);
        assert_eq!(policy.encoded(start + 200 * MS), Joined);
        policy.request(start + 201 * MS, Asked);
        assert_eq!(policy.encoded(start + 400 * MS), Asked);
    }

    proptest! {
        #[test]
        fn every_request_is_served_after_it_and_within_the_longest_gap(
            mut requests in proptest::collection::vec(0u64..4_000, 1..200),
        ) {
            requests.sort_unstable();
            let made = keyframes(&requests, 6_000);
            for request in &requests {
                let served = made.iter().find(|at| *at >= request);
                prop_assert!(served.is_some_and(|at| at - request <= 540), "{request}: {made:?}");
            }
            for pair in made.windows(2) {
                prop_assert!(pair[1] - pair[0] >= 100);
            }
        }
    }
}

//! What is to happen in the page when a moment of the sound is heard.

use std::collections::BTreeMap;

use serde_json::Value;

use super::queue::POSITION_HZ;

/// Most cues that wait: three a word, for half an hour of speech.
const MOST_WAITING: usize = 16_384;
/// So long before its moment a cue is handed out: longer than signalling takes, short enough that those who join late miss
/// little.
const AHEAD: u64 = POSITION_HZ as u64;

/// When a cue is due.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum CueTime {
    /// In ms from the beginning of the chunk that was pushed last.
    InChunk(f64),
    /// At this timestamp of the application's, in ms.
    Timestamp(f64),
}

/// Cues that are handed out at a tick: each makes a message to every client longer.
const MOST_A_TICK: usize = 16;

/// A cue that is due soon.
#[derive(Debug, Clone, PartialEq)]
pub struct Cue {
    /// On the media clock, in samples at [`POSITION_HZ`] since 1970.
    pub position: u64,
    /// Whatever the application gave it.
    pub data: Value,
}

/// The cues that wait, by their time.
#[derive(Debug, Default)]
pub(super) struct Cues {
    waiting: BTreeMap<(u64, u64), Value>,
    pushed: u64,
    /// What is played now, and the last moment of which somebody was told.
    position: u64,
    told_until: u64,
}

impl Cues {
    /// False: too many wait.
    pub(super) fn push(&mut self, position: u64, data: Value) -> bool {
        let has_room = self.waiting.len() < MOST_WAITING;
        if has_room {
            self.pushed += 1;
            self.waiting.insert((position, self.pushed), data);
        }
        has_room
    }

    /// Takes out some that are due soon, if what is played now is at `position`.
    pub(super) fn take(&mut self, position: u64) -> Vec<Cue> {
        self.position = position;
        let mut taken = Vec::new();
        while taken.len() < MOST_A_TICK
            && let Some(first) = self.waiting.first_entry()
            && first.key().0 <= position + AHEAD
        {
            let position = first.key().0;
            self.told_until = self.told_until.max(position);
            taken.push(Cue {
                position,
                data: first.remove(),
            });
        }
        taken
    }

    /// None of them happens; tells whether somebody was told of one that has not happened.
    pub(super) fn clear(&mut self) -> bool {
        self.waiting.clear();
        std::mem::take(&mut self.told_until) > self.position
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn cues_come_out_in_the_order_of_their_times_a_second_ahead() {
        let mut cues = Cues::default();
        for (position, name) in [(96_000, "b"), (96_000, "c"), (50_000, "a"), (500_000, "d")] {
            assert!(cues.push(position, json!(name)));
        }
        let mut taken = |position| {
            let cues = cues.take(position);
            cues.iter()
                .map(|cue| cue.data.to_string())
                .collect::<String>()
        };
        assert_eq!(taken(1_999), "");
        assert_eq!(taken(2_000), "\"a\"");
        assert_eq!(taken(60_000), "\"b\"\"c\"");
        assert_eq!(taken(451_999), "");
    }

    #[test]
    fn no_more_wait_than_there_is_room_for_and_none_after_an_interruption() {
        let mut cues = Cues::default();
        let taken = (0..20_000).filter(|at| cues.push(*at, Value::Null)).count();
        assert_eq!(taken, MOST_WAITING);
        assert!(!cues.clear());
        assert_eq!(cues.take(u64::MAX / 2), []);
        cues.push(100_000, Value::Null);
        assert_eq!(cues.take(90_000).len(), 1);
        assert!(cues.clear(), "it was told of, and is not to happen");
    }

    #[test]
    fn a_burst_of_cues_is_spread() {
        let mut cues = Cues::default();
        assert!((0..100).all(|at| cues.push(at, Value::Null)));
        let taken: Vec<usize> = (0..8).map(|tick| cues.take(tick * 960).len()).collect();
        assert_eq!(taken, [16, 16, 16, 16, 16, 16, 4, 0]);
    }
}

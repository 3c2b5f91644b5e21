//! When to play: absolute 20 ms deadlines, so that lateness never adds up.

use std::time::{Duration, Instant};

use super::queue::TICK_FRAMES;

const TICK: Duration = Duration::from_millis(20);
/// After a longer stall the ticks that were missed are left out: browsers conceal up to about as much, and
/// a burst of more would only grow their jitter buffer.
const MAX_STALL: Duration = Duration::from_millis(200);

/// Gives the ticks, one at a time.
pub struct Ticker {
    next: Instant,
    position: u64,
}

/// One tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tick {
    /// When it was due.
    pub at: Instant,
    /// Its place on the media clock, at 48 kHz.
    pub position: u64,
    /// Ticks that were left out before it; the clock counts them.
    pub skipped: u64,
}

impl Ticker {
    /// The first tick is due at `start`, and plays what is at `position`.
    pub fn new(start: Instant, position: u64) -> Self {
        Self {
            next: start,
            position,
        }
    }

    /// When the next tick is due.
    pub fn deadline(&self) -> Instant {
        self.next
    }

    /// Takes the tick that is due at `now`.
    pub fn tick(&mut self, now: Instant) -> Tick {
        let late = now.saturating_duration_since(self.next);
        let skipped = if late > MAX_STALL {
            (late.as_nanos() / TICK.as_nanos()) as u64
        } else {
            0
        };
        self.next += Duration::from_nanos(skipped.saturating_mul(TICK.as_nanos() as u64));
        self.position += skipped * TICK_FRAMES as u64;
        let tick = Tick {
            at: self.next,
            position: self.position,
            skipped,
        };
        self.next += TICK;
        self.position += TICK_FRAMES as u64;
        tick
    }

    /// Has the tick that was taken last play what is at `position`, and those after it what follows.
    pub fn move_to(&mut self, position: u64) {
        self.position = position + TICK_FRAMES as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn lateness_does_not_add_up() {
        let start = Instant::now();
        let mut ticker = Ticker::new(start, 0);
        for n in 0..1_000 {
            let tick = ticker.tick(start + 20 * n * MS + (n % 7) * MS);
            assert_eq!(tick.at, start + 20 * n * MS);
            assert_eq!(tick.position, u64::from(n) * 960);
        }
    }

    #[test]
    fn a_short_stall_is_caught_up_and_a_long_one_is_left_out() {
        let start = Instant::now();
        let mut ticker = Ticker::new(start, 0);
        assert_eq!(ticker.tick(start + 190 * MS).skipped, 0);
        assert_eq!(ticker.deadline(), start + 20 * MS);
        let tick = ticker.tick(start + 1_050 * MS);
        assert_eq!((tick.at, tick.skipped), (start + 1_040 * MS, 51));
        assert_eq!(tick.position, 52 * 960);
        assert_eq!(ticker.deadline(), start + 1_060 * MS);
    }
}

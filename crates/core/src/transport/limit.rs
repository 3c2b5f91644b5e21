//! How much one viewer may ask for: token buckets. Pure, time is an argument.

use std::time::Instant;

/// What a viewer may do in the long run, and at once.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rate {
    pub(super) per_second: f32,
    pub(super) burst: f32,
}

/// One viewer's account of one thing. Full at first.
#[derive(Debug)]
pub(super) struct Bucket {
    tokens: f32,
    filled: Instant,
}

impl Bucket {
    pub(super) fn new(now: Instant, rate: Rate) -> Self {
        Self {
            tokens: rate.burst,
            filled: now,
        }
    }

    /// Whether there is one to take.
    pub(super) fn has(&mut self, now: Instant, rate: Rate) -> bool {
        let waited = now.saturating_duration_since(self.filled).as_secs_f32();
        self.tokens = (self.tokens + waited * rate.per_second).min(rate.burst);
        self.filled = self.filled.max(now);
        self.tokens >= 1.0
    }

    /// Takes one, if there is one.
    pub(super) fn take(&mut self, now: Instant, rate: Rate) -> bool {
        let granted = self.has(now, rate);
        if granted {
            self.tokens -= 1.0;
        }
        granted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_burst_is_granted_and_then_the_rate() {
        let rate = Rate {
            per_second: 10.0,
            burst: 3.0,
        };
        let start = Instant::now();
        let mut bucket = Bucket::new(start, rate);
        let granted = |bucket: &mut Bucket, ms: u64| {
            (0..100)
                .filter(|_| bucket.take(start + Duration::from_millis(ms), rate))
                .count()
        };
        assert_eq!(granted(&mut bucket, 0), 3);
        assert_eq!(granted(&mut bucket, 50), 0);
        assert_eq!(granted(&mut bucket, 150), 1);
        assert_eq!(granted(&mut bucket, 60_000), 3);
        assert_eq!(granted(&mut bucket, 100), 0, "a time before the last one");
    }
}

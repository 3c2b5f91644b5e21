//! How long something takes, counted in classes: cheap to add to, and sums of several remain exact.

use std::array;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// The upper bound of the first class.
const FIRST: Duration = Duration::from_micros(125);
/// Classes until the bound has doubled: each is 19 % wider than the one before.
const A_DOUBLING: usize = 4;
/// Up to 128 ms; the last class has no bound.
const CLASSES: usize = 10 * A_DOUBLING + 2;

/// Times, by class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Histogram {
    counts: [u64; CLASSES],
    total_ns: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            counts: [0; CLASSES],
            total_ns: 0,
        }
    }
}

impl Histogram {
    /// How many there are.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// All of them together.
    pub fn total(&self) -> Duration {
        Duration::from_nanos(self.total_ns)
    }

    /// What one took on average; zero without any.
    pub fn mean(&self) -> Duration {
        Duration::from_nanos(self.total_ns / self.count().max(1))
    }

    /// The time that a `share` (0 to 1) of them did not exceed, within a tenth; zero without any.
    pub fn quantile(&self, share: f64) -> Duration {
        let wanted = (self.count() as f64 * share).ceil().max(1.0);
        let mut seen = 0;
        let class = self.counts.iter().position(|count| {
            seen += count;
            seen as f64 >= wanted
        });
        // In the middle of the class, as its width grows.
        class.map_or(Duration::ZERO, |class| bound(class as f64 - 0.5))
    }

    /// Bounds that double, and how many took no longer.
    pub fn cumulative(&self) -> impl Iterator<Item = (Duration, u64)> + '_ {
        (0..CLASSES - 1).step_by(A_DOUBLING).map(|class| {
            let within = self.counts.iter().take(class + 1);
            (bound(class as f64), within.sum())
        })
    }

    /// Both together.
    pub fn plus(self, other: Self) -> Self {
        Self {
            counts: array::from_fn(|class| self.counts[class] + other.counts[class]),
            total_ns: self.total_ns.saturating_add(other.total_ns),
        }
    }

    /// What was added since it was `before`.
    pub fn since(self, before: Self) -> Self {
        Self {
            counts: array::from_fn(|class| self.counts[class].saturating_sub(before.counts[class])),
            total_ns: self.total_ns.saturating_sub(before.total_ns),
        }
    }
}

/// A [`Histogram`] that several threads add to.
#[derive(Debug)]
pub struct AtomicHistogram {
    counts: [AtomicU64; CLASSES],
    total_ns: AtomicU64,
}

impl Default for AtomicHistogram {
    fn default() -> Self {
        Self {
            counts: array::from_fn(|_| AtomicU64::new(0)),
            total_ns: AtomicU64::new(0),
        }
    }
}

impl AtomicHistogram {
    /// Adds one.
    pub fn add(&self, time: Duration) {
        if let Some(count) = self.counts.get(class(time)) {
            count.fetch_add(1, Relaxed);
        }
        self.total_ns.fetch_add(time.as_nanos() as u64, Relaxed);
    }

    /// What was added so far.
    pub fn snapshot(&self) -> Histogram {
        Histogram {
            counts: array::from_fn(|class| self.counts[class].load(Relaxed)),
            total_ns: self.total_ns.load(Relaxed),
        }
    }
}

fn class(time: Duration) -> usize {
    let doublings = (time.as_secs_f64() / FIRST.as_secs_f64()).log2();
    let class = (doublings * A_DOUBLING as f64 - 1e-9).ceil();
    (class.max(0.0) as usize).min(CLASSES - 1)
}

/// The upper bound of a class.
fn bound(class: f64) -> Duration {
    FIRST.mul_f64((class / A_DOUBLING as f64).exp2())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(times: &[u64]) -> Histogram {
        let histogram = AtomicHistogram::default();
        for time in times {
            histogram.add(Duration::from_micros(*time));
        }
        histogram.snapshot()
    }

    #[test]
    fn nothing_took_no_time() {
        assert_eq!(Histogram::default().quantile(0.5), Duration::ZERO);
        assert_eq!(of(&[0]).count(), 1);
    }

    #[test]
    fn bounds_double_and_count_everything_up_to_them() {
        let times = of(&[1, 125, 126, 250, 4_000, 4_001, 1_000_000]);
        let within: Vec<(u128, u64)> = times
            .cumulative()
            .map(|(bound, count)| (bound.as_micros(), count))
            .collect();
        let bounds: Vec<u128> = (0..11).map(|doublings| 125 << doublings).collect();
        assert_eq!(within.iter().map(|(b, _)| *b).collect::<Vec<_>>(), bounds);
        assert_eq!((within[0].1, within[1].1), (2, 4));
        assert_eq!((within[5].1, within[6].1, within[10].1), (5, 6, 6));
        assert_eq!((times.count(), times.total().as_micros()), (7, 1_008_503));
    }

    proptest! {
        #[test]
        fn a_quantile_is_within_a_tenth(
            times in prop::collection::vec(150u64..100_000, 1..200), share in 0.01f64..1.0,
        ) {
            let mut sorted = times.clone();
            sorted.sort_unstable();
            let exact = sorted[(times.len() as f64 * share).ceil() as usize - 1] as f64;
            let found = of(&times).quantile(share).as_secs_f64() * 1e6;
            prop_assert!((0.9..=1.1).contains(&(found / exact)), "{found} for {exact}");
        }

        #[test]
        fn sums_and_differences_are_exact(
            a in prop::collection::vec(0u64..300_000, 0..50),
            b in prop::collection::vec(0u64..300_000, 0..50),
        ) {
            let both = of(&a).plus(of(&b));
            prop_assert_eq!(both, of(&[a.clone(), b.clone()].concat()));
            prop_assert_eq!(both.since(of(&a)), of(&b));
        }
    }
}

//! Durations in buckets: as many samples as there are frames, in a few kilobytes.

/// The shortest and the longest duration that are told apart, ms.
const SHORTEST_MS: f64 = 0.1;
const LONGEST_MS: f64 = 10_000.0;

/// Buckets in each tenfold: one is 2 % wide, and so is the error of a quantile.
const BUCKETS_PER_DECADE: f64 = 116.0;

/// Five decades, one bucket below them and one above.
const BUCKETS: usize = 5 * 116 + 2;

/// Counts of durations on a logarithmic scale, 0.1 ms to 10 s.
#[derive(Debug, Clone)]
pub(super) struct Histogram {
    counts: Box<[u64]>,
    total: u64,
    max_ms: f64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            counts: vec![0; BUCKETS].into(),
            total: 0,
            max_ms: 0.0,
        }
    }
}

impl Histogram {
    /// Counts one duration. One below zero counts as zero.
    pub(super) fn record(&mut self, ms: f64) {
        if let Some(count) = self.counts.get_mut(bucket(ms)) {
            *count += 1;
            self.total += 1;
            self.max_ms = self.max_ms.max(ms);
        }
    }

    /// Adds another one's counts.
    pub(super) fn merge(&mut self, other: &Self) {
        for (ours, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *ours += theirs;
        }
        self.total += other.total;
        self.max_ms = self.max_ms.max(other.max_ms);
    }

    /// The duration that this share (0 to 1) of all samples does not exceed, within 2 %; `None` without samples.
    pub(super) fn quantile_ms(&self, share: f64) -> Option<f64> {
        let rank = ((self.total as f64 * share).ceil() as u64).clamp(1, self.total.max(1));
        let mut seen = 0;
        let index = self.counts.iter().position(|count| {
            seen += count;
            seen >= rank
        })?;
        Some(upper_end_ms(index).min(self.max_ms))
    }

    /// The longest of all, exactly; `None` without samples.
    pub(super) fn max_ms(&self) -> Option<f64> {
        (self.total > 0).then_some(self.max_ms)
    }

    /// How many there are.
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        self.counts.fill(0);
        self.total = 0;
        self.max_ms = 0.0;
    }
}

fn bucket(ms: f64) -> usize {
    if ms < SHORTEST_MS || ms.is_nan() {
        0
    } else if ms >= LONGEST_MS {
        BUCKETS - 1
    } else {
        1 + ((ms / SHORTEST_MS).log10() * BUCKETS_PER_DECADE) as usize
    }
}

fn upper_end_ms(bucket: usize) -> f64 {
    if bucket >= BUCKETS - 1 {
        f64::INFINITY
    } else {
        SHORTEST_MS * 10f64.powf(bucket as f64 / BUCKETS_PER_DECADE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: impl IntoIterator<Item = f64>) -> Histogram {
        let mut histogram = Histogram::default();
        for value in values {
            histogram.record(value);
        }
        histogram
    }

    #[test]
    fn quantiles_are_within_two_per_cent() {
        let histogram = of((1..=10_000).map(|n| f64::from(n) * 0.5));
        for (share, exact) in [
            (0.01, 50.0),
            (0.5, 2_500.0),
            (0.99, 4_950.0),
            (1.0, 5_000.0),
        ] {
            let found = histogram.quantile_ms(share).unwrap();
            assert!((found / exact - 1.0).abs() <= 0.02, "{share}: {found}");
        }
        assert_eq!(histogram.max_ms(), Some(5_000.0));
    }

    #[test]
    fn what_lies_outside_the_scale_counts_at_its_ends() {
        let histogram = of([-3.0, 0.0, 25_000.0]);
        assert_eq!(histogram.total(), 3);
        assert!(histogram.quantile_ms(0.5).unwrap() <= SHORTEST_MS);
        assert_eq!(histogram.quantile_ms(1.0), Some(25_000.0));
    }

    #[test]
    fn two_merge_into_what_one_would_have_counted() {
        let mut merged = of([1.0, 2.0]);
        merged.merge(&of([40.0]));
        let one = of([1.0, 2.0, 40.0]);
        assert_eq!(merged.counts, one.counts);
        assert_eq!((merged.total(), merged.max_ms()), (3, Some(40.0)));
    }

    #[test]
    fn without_samples_there_is_no_quantile() {
        let mut histogram = of([1.0]);
        histogram.clear();
        assert_eq!(
            (histogram.quantile_ms(0.5), histogram.max_ms()),
            (None, None)
        );
    }
}

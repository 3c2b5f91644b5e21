//! The Unix clock, as JavaScript's `Date.now()` gives it.

use std::time::SystemTime;

/// Now, in ms since 1970.
pub(crate) fn unix_ms() -> f64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0.0, |since| since.as_secs_f64() * 1_000.0)
}

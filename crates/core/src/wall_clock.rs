//! The Unix clock, as JavaScript's `Date.now()` gives it.

use std::sync::LazyLock;
use std::time::{Instant, SystemTime};

/// Now, in ms since 1970. Read once from the system, then counted on: a system clock that is set anew must not
/// shake the RTP clocks. (The application's own timestamps then jump, and are mapped: `media_clock`.)
pub(crate) fn unix_ms() -> f64 {
    unix_ms_at(Instant::now())
}

/// The same at another moment.
pub(crate) fn unix_ms_at(moment: Instant) -> f64 {
    static START: LazyLock<(Instant, f64)> = LazyLock::new(|| (Instant::now(), system_ms()));
    let (start, start_ms) = *START;
    let since = moment.saturating_duration_since(start).as_secs_f64();
    let before = start.saturating_duration_since(moment).as_secs_f64();
    start_ms + (since - before) * 1_000.0
}

/// The same, as the system has it at this moment: the clock by which JavaScript pushes.
pub(crate) fn system_ms() -> f64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0.0, |since| since.as_secs_f64() * 1_000.0)
}

/// Whole ms since 1970 until `time`: what JSON has for a date. 0 before.
pub fn date_ms(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as u64)
}

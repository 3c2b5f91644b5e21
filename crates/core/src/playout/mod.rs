//! The audio queue, played out at real time as Opus.

//! The audio queue, played out at real time as Opus.
//!
//! ```text
//! push ─copy─► queue ─ 20 ms ─► resample to 48 kHz ─► Opus ─► output
//!                      ▲ ticker: absolute deadlines
//! ```
//! The queue, the ticker and the player decide without a clock of their own; the pipeline only joins them, as
//! a task of the media pool.

mod encoder;
mod pipeline;
mod player;
mod queue;
mod ticker;

pub use encoder::OpusEncoder;
pub use pipeline::{AudioPipeline, EncodedAudio, PlayoutStats, Warn};
pub use player::Player;
pub use queue::{PlayoutQueue, Pulled, TICK_FRAMES};
pub use ticker::{Tick, Ticker};

#[cfg(test)]
mod tests;

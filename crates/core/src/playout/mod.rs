//! The audio queue, played out at real time as Opus, and as G.711 for who has no Opus.
//!
//! ```text
//! push ─copy─► queue ─ 20 ms ─► resample to a rate of Opus ─┬─► Opus ─────────────────► output
//!                      ▲ ticker: absolute deadlines         └─► to 8 kHz ─► µ-law, A-law ─┘
//! ```
//! Each is there only while somebody listens to it.
//! The queue, the ticker and the player decide without a clock of their own; the pipeline only joins them, as
//! a task of the media pool.

mod encoder;
mod pipeline;
mod player;
mod queue;
mod telephone;
mod ticker;

pub use encoder::OpusEncoder;
pub use pipeline::{AudioPipeline, EncodedAudio, PlayoutStats, Warn};
pub use player::Player;
pub use queue::{POSITION_HZ, PlayoutQueue, Pulled, TICK_FRAMES};
pub use telephone::Telephone;
pub use ticker::{Tick, Ticker};

#[cfg(test)]
mod tests;

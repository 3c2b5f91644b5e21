//! The audio queue, played out at real time as Opus, and as G.711 for who has no Opus.
//!
//! ```text
//! push ─copy─► queue ─ 20 ms ─► resample to a rate of Opus ─┬─► Opus ─────────────────► output
//!                      ▲ ticker: absolute deadlines         └─► to 8 kHz ─► µ-law, A-law ─┘
//! ```
//! Each is there only while somebody listens to it. MP3 is decoded on its way out of the queue. Opus packets pass by the
//! encoder, and are decoded for G.711 alone.
//! The queue, the ticker and the player decide without a clock of their own; the pipeline only joins them, as
//! a task of the media pool.

mod backlog;
mod cues;
mod encoder;
mod pipeline;
mod player;
mod queue;
mod telephone;
mod ticker;
mod timeline;
mod unpacker;

pub use cues::{Cue, CueTime};
pub use encoder::OpusEncoder;
pub use pipeline::{AudioPipeline, EncodedAudio, Notice, Notify, PlayoutStats};
pub use player::Player;
pub use queue::{Begins, Interrupted, POSITION_HZ, Passed, PlayoutQueue, Pulled, TICK_FRAMES};
pub use telephone::Telephone;
pub use ticker::{Tick, Ticker};

#[cfg(test)]
mod tests;

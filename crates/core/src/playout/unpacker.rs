//! Passed packets for those who listen to G.711: decoded, a tick at a time.

use super::queue::{POSITION_HZ, Passed, Pulled, TICK_FRAMES};

/// Twice what G.711 carries: nothing of it is lost. A rate that Opus decodes to.
const RATE: u32 = 16_000;
/// Samples at [`POSITION_HZ`] for each of ours.
const DIVISOR: usize = (POSITION_HZ / RATE) as usize;
/// Samples of a tick.
const TICK_SAMPLES: usize = TICK_FRAMES / DIVISOR;

/// The decoder, and what it decoded that no tick has played yet.
pub(super) struct Unpacker {
    opus: opus::Decoder,
    ready: Vec<f32>,
    tick: Vec<f32>,
}

impl Unpacker {
    pub(super) fn new() -> Result<Self, opus::Error> {
        Ok(Self {
            opus: opus::Decoder::new(RATE, opus::Channels::Mono)?,
            ready: Vec::new(),
            tick: Vec::new(),
        })
    }

    /// One tick: `packets` begin in it, others may go on.
    pub(super) fn unpack(&mut self, packets: &[Passed], spurt_start: bool) -> (Pulled, &[f32]) {
        for packet in packets {
            let begun = self.ready.len();
            let samples = packet.frames / DIVISOR;
            self.ready.resize(begun + samples, 0.0);
            let into = self.ready.get_mut(begun..).unwrap_or_default();
            // A damaged one is silent.
            let _ = self.opus.decode_float(&packet.data, into, false);
        }
        let taken = self.ready.len().min(TICK_SAMPLES);
        self.tick.clear();
        self.tick.extend(self.ready.drain(..taken));
        self.tick.resize(TICK_SAMPLES, 0.0);
        let pulled = Pulled {
            rate: RATE,
            channels: 1,
            spurt_start,
        };
        (pulled, &self.tick)
    }
}

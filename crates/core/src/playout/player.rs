//! What goes out to Opus listeners at a tick: sound, somebody else's packets, an occasional packet of silence, or nothing.

use std::time::Duration;

use super::encoder::OpusEncoder;
use super::pipeline::EncodedAudio;
use super::queue::{POSITION_HZ, Passed, Pulled, TICK};
use crate::codec::AudioCodec;

/// DTX packets of Opus have at most 2 bytes: nothing to hear in them.
const DTX_BYTES: usize = 2;
/// In silence one packet goes out every 400 ms, as often as Opus would refresh its comfort noise
/// (`MAX_CONSECUTIVE_DTX`): with fewer Chromium takes the silence for loss, and conceals it.
const KEEPALIVE_TICKS: u32 = 20;
/// After a long silence nobody converses any more, and one every 5 s says that the stream lives: what is concealed then
/// is silence, and packets of silence would be most of what a thousand idle viewers cost.
const RESTING_KEEPALIVE_TICKS: u32 = 250;
/// A long silence: 15 s.
const RESTING_AFTER_TICKS: u32 = 750;
/// After half a second of silence Opus has entered DTX (200 ms), and only the packets that go out are
/// encoded: an idle avatar costs next to nothing.
pub(super) const SETTLED_TICKS: u32 = 25;

/// The encoder and what it needs to know of the last ticks.
pub struct Player {
    encoder: OpusEncoder,
    /// Ticks since the last packet went out.
    quiet_ticks: u32,
    /// Ticks since the last sound.
    silent_ticks: u32,
    /// The next packet of sound is the first one of its talk-spurt.
    marker: bool,
    heard: bool,
    /// The last packet encoded was DTX.
    in_dtx: bool,
}

impl Player {
    /// A player that has played nothing yet.
    pub fn new() -> Result<Self, opus::Error> {
        Ok(Self {
            encoder: OpusEncoder::new()?,
            quiet_ticks: 0,
            silent_ticks: 0,
            marker: false,
            heard: false,
            in_dtx: false,
        })
    }

    /// Whether packets repeat what was in the one before: see [`OpusEncoder::set_redundant`].
    pub fn set_redundant(&mut self, redundant: bool) -> Result<(), opus::Error> {
        self.encoder.set_redundant(redundant)
    }

    /// Plays one tick of sound, or of silence.
    pub fn play(
        &mut self,
        sound: Option<(Pulled, &[f32])>,
        position: u64,
        heard: bool,
    ) -> Result<Option<EncodedAudio>, opus::Error> {
        let returned = heard && !self.heard;
        self.heard = heard;
        if !heard {
            return Ok(None);
        }
        if returned {
            self.begin()?;
        }
        self.quiet_ticks += 1;
        self.silent_ticks = self.silent_ticks.saturating_add(1);
        let keepalive = self.quiet_ticks >= keepalive_ticks(self.silent_ticks);
        let data = match sound {
            Some((pulled, samples)) => {
                self.silent_ticks = 0;
                self.marker |= pulled.spurt_start;
                self.encoder.encode(samples, pulled.rate, pulled.channels)?
            }
            None if self.silent_ticks > SETTLED_TICKS && !keepalive => return Ok(None),
            None => self.encoder.encode_silence()?,
        };
        // The first DTX packet goes out, as libwebrtc's does: without it a browser takes the silence that
        // follows for loss, and conceals it.
        let dtx = data.len() <= DTX_BYTES;
        let enters_dtx = dtx && !self.in_dtx;
        self.in_dtx = dtx;
        if dtx && !enters_dtx && !keepalive {
            return Ok(None);
        }
        self.quiet_ticks = 0;
        let spurt_start = sound.is_some() && std::mem::take(&mut self.marker);
        Ok(Some(EncodedAudio {
            codec: AudioCodec::Opus,
            data,
            position,
            length: TICK,
            is_sound: sound.is_some(),
            spurt_start,
        }))
    }

    /// Gives `output` the packets of a tick that somebody else encoded.
    pub fn pass(
        &mut self,
        packets: &[Passed],
        spurt_start: bool,
        position: u64,
        heard: bool,
        mut output: impl FnMut(EncodedAudio),
    ) -> Result<(), opus::Error> {
        let begins = spurt_start || (heard && !self.heard);
        self.heard = heard;
        if begins {
            // What our encoder gives out behind them must not build on what was before them.
            self.begin()?;
        }
        (self.quiet_ticks, self.silent_ticks) = (0, 0);
        for packet in packets.iter().filter(|_| heard) {
            output(EncodedAudio {
                codec: AudioCodec::Opus,
                data: packet.data.clone(),
                position: position + packet.at as u64,
                length: Duration::from_secs(packet.frames as u64) / POSITION_HZ,
                is_sound: true,
                spurt_start: std::mem::take(&mut self.marker),
            });
        }
        Ok(())
    }

    /// What goes out next follows a pause.
    fn begin(&mut self) -> Result<(), opus::Error> {
        self.encoder.reset()?;
        (self.quiet_ticks, self.silent_ticks) = (0, 0);
        self.marker = true;
        self.in_dtx = false;
        Ok(())
    }
}

/// After so many ticks without a packet one goes out, if nothing was said for `silent_ticks`.
pub(super) fn keepalive_ticks(silent_ticks: u32) -> u32 {
    match silent_ticks < RESTING_AFTER_TICKS {
        true => KEEPALIVE_TICKS,
        false => RESTING_KEEPALIVE_TICKS,
    }
}

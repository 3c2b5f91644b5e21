//! From a browser's packets to gated PCM.
//!
//! ```text
//!  network thread                      avatar-microphone thread
//!  RTP ─► activity ─► spurt ─► queue ─► jitter buffer ─► Opus: decode, recover, conceal ─┬─► gate ─► chunks,
//!            └► pre-roll                                              voice detector ◄───┘  utterances
//! ```
//! **Nothing is decoded that cannot be speech, or that nobody listens to.** The level in the packets' headers
//! tells the network thread (`Activity`) when a microphone is worth a decoder; until then its last packets wait,
//! encoded, in its `PreRoll`. [`Microphone`] is one peer's and lives while that peer speaks; it decides without a
//! clock of its own. [`MicrophoneWorker`] is the thread that serves all of them. [`Hearing`] is what a stream
//! wants.

mod activity;
mod decoder;
mod gate;
mod hearing;
mod jitter;
mod pre_roll;
mod voice;
mod worker;

use std::time::{Duration, Instant};

use bytes::Bytes;

pub(crate) use activity::{Activity, Verdict};
pub use hearing::{Attention, Hearing, MicrophoneUsage, Wanted};
pub(crate) use pre_roll::PreRoll;
pub use worker::{MicrophoneHandle, MicrophoneWorker};

use self::decoder::Decoder;
use self::gate::{Gate, Passed, Piece};
use self::jitter::{Inserted, JitterBuffer, Next, Packet};
use self::voice::VoiceDetector;
use crate::codec::AudioCodec;
use crate::config::MicrophoneConfig;
use crate::event::{Event, PeerId, Speech};
use crate::media::audio::{Resampler, to_i16};

/// A peer that sends nothing for this long counts as silent (muted, or DTX between two keep-alives). Longer
/// than a hiccup of its network, short enough for chunks to stop 0.7 s after speech.
const IDLE: Duration = Duration::from_millis(300);
/// A packet of no more says that the sender is silent from now on (RFC 6716, 2.1.9: DTX), whatever its codec.
const DTX_BYTES: usize = 2;
/// And after this it has no decoder any more, once its gate is closed: longer than two DTX keep-alives (400 ms)
/// are apart.
const OVER: Duration = Duration::from_secs(1);
/// Time without packets is passed to the gate as silence, but no more than this at once.
const MOST_SILENCE: Duration = Duration::from_secs(1);
/// So many lost packets in a row are concealed; then comes silence, as from any phone.
const MOST_CONCEALED: u32 = 5;
/// A packet that comes this much later or sooner than its timestamp says belongs to a clock that was set anew.
const RESTART_MS: f64 = 1_000.0;
/// By this share a clock may be slower than ours.
const SLOWER: f64 = 0.0005;
/// Of the timestamps in here, whatever the codec's own clock.
pub(crate) const CLOCK_HZ: u32 = 48_000;

/// One RTP packet of a microphone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MicrophonePacket {
    /// When it came.
    pub received: Instant,
    /// Its number.
    pub sequence: u16,
    /// Its RTP timestamp in 48 kHz.
    pub timestamp: u32,
    /// What a decoder takes, or whatever the peer takes for that.
    pub payload: Bytes,
}

/// Packets of one microphone, in the order in which they came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Spurt {
    /// Whether nothing before them counts: they start with the pre-roll.
    pub begins: bool,
    /// How they are encoded.
    pub codec: AudioCodec,
    /// The packets.
    pub packets: Vec<MicrophonePacket>,
}

/// What a microphone received so far, in packets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MicrophoneStats {
    /// Received.
    pub packets: u64,
    /// Received twice, too late, or before the sender started anew.
    pub late: u64,
    /// Never received in time.
    pub lost: u64,
    /// Received, but not decodable.
    pub undecodable: u64,
}

/// The microphone of one peer.
pub struct Microphone {
    peer: PeerId,
    config: MicrophoneConfig,
    jitter: JitterBuffer,
    decoder: Decoder,
    listener: Listener,
    stats: MicrophoneStats,
    lost_in_a_row: u32,
    /// The RTP timestamp up to which there is sound, and the moment.
    heard_until: Option<(u32, Instant)>,
    /// The sender is known to be silent: it said so (DTX), or silence was put in since the last packet.
    is_idle: bool,
    /// An RTP timestamp, and when what it belongs to would have come had the network not delayed it.
    origin: Option<(u32, f64)>,
    /// When the last packet came.
    last_packet: Option<Instant>,
    passed: Vec<Passed>,
}

/// What is behind the decoder.
struct Listener {
    /// Of the decoder.
    rate: u32,
    output_rate: u32,
    channels: usize,
    /// For rates that the decoder does not give.
    resampler: Option<Resampler>,
    voice: VoiceDetector,
    gate: Gate,
    floats: Vec<f32>,
    resampled: Vec<f32>,
    pcm: Vec<i16>,
}

impl Microphone {
    /// A microphone from which nothing came yet.
    pub fn new(
        peer: PeerId,
        codec: AudioCodec,
        config: &MicrophoneConfig,
    ) -> Result<Self, MicrophoneError> {
        let channels = usize::from(config.channels);
        let decoder = Decoder::new(codec, config.sample_rate, channels)?;
        let rate = decoder.rate();
        let unusable = |_| MicrophoneError::Rate(config.sample_rate);
        let resampler = (rate != config.sample_rate)
            .then(|| Resampler::new(rate, config.sample_rate, channels))
            .transpose()
            .map_err(unusable)?;
        Ok(Self {
            peer,
            config: config.clone(),
            jitter: JitterBuffer::default(),
            decoder,
            listener: Listener {
                rate,
                output_rate: config.sample_rate,
                channels,
                resampler,
                voice: VoiceDetector::new(rate, channels).map_err(unusable)?,
                gate: Gate::new(config),
                floats: Vec::new(),
                resampled: Vec::new(),
                pcm: Vec::new(),
            },
            stats: MicrophoneStats::default(),
            lost_in_a_row: 0,
            heard_until: None,
            is_idle: false,
            origin: None,
            last_packet: None,
            passed: Vec::new(),
        })
    }

    /// What is made of the sound from now on.
    pub fn set_wanted(&mut self, wanted: Wanted) {
        self.listener.gate.set_wanted(wanted);
    }

    /// Takes a packet, whatever it is, that was received at `now`, or `wall_ms` of the Unix clock.
    pub fn on_packet(
        &mut self,
        now: Instant,
        wall_ms: f64,
        packet: MicrophonePacket,
        out: &mut Vec<Event>,
    ) {
        self.stats.packets += 1;
        self.last_packet = Some(now);
        let sequence = packet.sequence;
        self.follow_clock(packet.timestamp, wall_ms);
        let packet = Packet {
            timestamp: packet.timestamp,
            payload: packet.payload,
        };
        match self.jitter.insert(now, sequence, packet) {
            Inserted::Accepted => {}
            Inserted::Late => self.stats.late += 1,
            Inserted::Restarted(discarded) => {
                self.stats.late += discarded as u64;
                self.heard_until = None;
            }
        }
        self.play(now);
        self.deliver(out);
    }

    /// Does what is due at `now`.
    pub fn on_timeout(&mut self, now: Instant, out: &mut Vec<Event>) {
        self.play(now);
        if self.idle_deadline().is_some_and(|at| at <= now) {
            self.pass_silence(now);
        }
        self.deliver(out);
    }

    /// When [`Self::on_timeout`] has something to do, or [`Self::is_over`] may be true, if no packet comes before.
    pub fn next_timeout(&self) -> Option<Instant> {
        (self.jitter.deadline().into_iter())
            .chain(self.idle_deadline())
            .min()
            .or(self.last_packet.map(|at| at + OVER))
    }

    /// Whether nothing has come for so long, and nothing waits, that a new one would do as well.
    pub fn is_over(&self, now: Instant) -> bool {
        let is_waiting = self.jitter.deadline().is_some() || self.idle_deadline().is_some();
        !is_waiting && self.last_packet.is_some_and(|at| at + OVER <= now)
    }

    /// Ends what is being said: the peer is gone.
    pub fn close(&mut self, out: &mut Vec<Event>) {
        self.listener.gate.flush_chunk(&mut self.passed);
        self.listener.gate.close(&mut self.passed);
        self.deliver(out);
    }

    /// Whether somebody was told that the peer speaks, and not yet that it has stopped.
    pub fn is_speaking(&self) -> bool {
        self.listener.gate.is_told()
    }

    /// What was received so far.
    pub fn stats(&self) -> MicrophoneStats {
        self.stats
    }

    /// Follows the sender's clock by the packets that came soonest; it may be slower than ours by half a thousandth.
    fn follow_clock(&mut self, timestamp: u32, wall_ms: f64) {
        let expected_ms = self.origin.map_or(f64::NEG_INFINITY, |(origin, wall_ms)| {
            let passed_ms = rtp_ms(timestamp, origin);
            wall_ms + passed_ms + SLOWER * passed_ms.max(0.0)
        });
        let is_sane = (wall_ms - expected_ms).abs() < RESTART_MS;
        let soonest_ms = if is_sane {
            expected_ms.min(wall_ms)
        } else {
            wall_ms
        };
        self.origin = Some((timestamp, soonest_ms));
    }

    /// When the sound at an RTP timestamp would have come, in ms of the Unix clock.
    fn wall_of(&self, timestamp: u32) -> f64 {
        self.origin.map_or(f64::NEG_INFINITY, |(origin, wall_ms)| {
            wall_ms + rtp_ms(timestamp, origin)
        })
    }

    fn play(&mut self, now: Instant) {
        while let Some(next) = self.jitter.pop(now) {
            match next {
                Next::Packet(packet) => self.play_packet(now, &packet),
                Next::Lost(following) => self.play_lost(now, following.as_ref()),
            }
        }
    }

    fn play_packet(&mut self, now: Instant, packet: &Packet) {
        self.lost_in_a_row = 0;
        let expected = self
            .heard_until
            .map_or(packet.timestamp, |(until, _)| until);
        // A timestamp ahead without a missing number is DTX: the sender was silent. One behind is sound
        // that was given up already, and is delivered nevertheless.
        let ahead = i64::from(packet.timestamp.wrapping_sub(expected) as i32);
        if let Ok(ahead @ 1..) = u64::try_from(ahead) {
            let wall_ms = self.wall_of(expected);
            self.listener
                .pass_silence(ticks(ahead), wall_ms, &mut self.passed);
        }
        self.is_idle = packet.payload.len() <= DTX_BYTES;
        let wall_ms = self.wall_of(packet.timestamp);
        let frames = match self.decoder.decode(&packet.payload) {
            Ok(samples) => self.listener.pass(samples, wall_ms, &mut self.passed),
            Err(_) => {
                self.stats.undecodable += 1;
                let samples = self.decoder.recover(None);
                self.listener.pass(samples, wall_ms, &mut self.passed)
            }
        };
        // Time that silence was put in for stays covered when a late packet belongs there.
        let end = packet.timestamp.wrapping_add(frames);
        let covered = expected.wrapping_sub(end) as i32;
        let covered = (1..=CLOCK_HZ as i32).contains(&covered);
        let end = if covered { expected } else { end };
        self.heard_until = Some((end, now));
    }

    fn play_lost(&mut self, now: Instant, following: Option<&Packet>) {
        self.stats.lost += 1;
        self.lost_in_a_row += 1;
        if self.lost_in_a_row > MOST_CONCEALED {
            return; // the timestamp of the next packet tells how much silence it was
        }
        let wall_ms = match self.heard_until {
            Some((until, _)) => self.wall_of(until),
            None => return,
        };
        let samples = self
            .decoder
            .recover(following.map(|packet| &packet.payload[..]));
        let frames = self.listener.pass(samples, wall_ms, &mut self.passed);
        if let Some((until, _)) = self.heard_until {
            self.heard_until = Some((until.wrapping_add(frames), now));
        }
    }

    fn idle_deadline(&self) -> Option<Instant> {
        let gate = &self.listener.gate;
        let (_, moment) = self.heard_until?;
        // Once it is idle, no later than the gate closes.
        let wait = match self.is_idle {
            true => gate.closes_after().min(IDLE),
            false => IDLE,
        };
        (gate.is_open() || gate.has_partial_chunk()).then(|| moment + wait)
    }

    fn pass_silence(&mut self, now: Instant) {
        let Some((until, moment)) = self.heard_until else {
            return;
        };
        let silent = now.saturating_duration_since(moment);
        if self.listener.gate.is_open() {
            let start_ms = self.wall_of(until);
            let passed = &mut self.passed;
            self.listener.pass_silence(silent, start_ms, passed);
            let ticks = silent.as_micros() as u64 * u64::from(CLOCK_HZ) / 1_000_000;
            self.heard_until = Some((until.wrapping_add(ticks as u32), now));
            self.is_idle = true;
        }
        if !self.listener.gate.is_open() {
            self.listener.gate.flush_chunk(&mut self.passed);
        }
    }

    fn deliver(&mut self, out: &mut Vec<Event>) {
        let speech = |piece: Piece| Speech {
            peer: self.peer,
            data: piece.samples.iter().flat_map(|s| s.to_le_bytes()).collect(),
            sample_rate: self.config.sample_rate,
            channels: self.config.channels,
            timestamp_ms: piece.timestamp_ms,
            avatar_speaking: false,
        };
        out.extend(self.passed.drain(..).map(|passed| match passed {
            Passed::Chunk(piece) => Event::IncomingAudio(speech(piece)),
            Passed::Utterance(piece) => Event::Utterance(speech(piece)),
            Passed::Started(timestamp_ms) => Event::SpeechStarted {
                peer: self.peer,
                timestamp_ms,
                avatar_speaking: false,
            },
            Passed::Ended(timestamp_ms) => Event::SpeechEnded {
                peer: self.peer,
                timestamp_ms,
            },
        }));
    }
}

impl Listener {
    /// Passes decoded sound on, 10 ms at a time so that the gate's clock is fine; gives its RTP ticks.
    fn pass(&mut self, samples: &[i16], wall_ms: f64, out: &mut Vec<Passed>) -> u32 {
        let step = self.rate as usize / 100 * self.channels;
        for (n, slice) in samples.chunks(step).enumerate() {
            let wall_ms = wall_ms + 10.0 * n as f64;
            if let Some(resampler) = &mut self.resampler {
                self.floats.clear();
                self.floats
                    .extend(slice.iter().map(|&sample| f32::from(sample) / 32_768.0));
                resampler.push(&self.floats, &mut self.resampled);
                self.pcm.clear();
                self.pcm.extend(self.resampled.drain(..).map(to_i16));
                self.gate.push(&self.pcm, wall_ms, out);
            } else {
                self.gate.push(slice, wall_ms, out);
            }
            self.voice.push(slice, |voice| self.gate.answer(voice, out));
        }
        let frames = (samples.len() / self.channels) as u64;
        (frames * u64::from(CLOCK_HZ) / u64::from(self.rate)) as u32
    }

    /// Passes silence on, that begins at `wall_ms`. The detector need not hear it to know.
    fn pass_silence(&mut self, length: Duration, wall_ms: f64, out: &mut Vec<Passed>) {
        let step = vec![0; self.output_rate as usize / 100 * self.channels];
        for n in 0..length.min(MOST_SILENCE).as_millis() / 10 {
            self.gate.push(&step, wall_ms + 10.0 * n as f64, out);
            self.gate.answer(false, out);
        }
    }
}

/// Why a microphone cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum MicrophoneError {
    /// libopus has no memory.
    #[error("cannot make an Opus decoder: {0}")]
    Opus(#[from] opus::Error),
    /// Not a rate that can be resampled to.
    #[error("cannot resample the microphone to {0} Hz")]
    Rate(u32),
}

/// From one RTP timestamp to another in ms.
fn rtp_ms(to: u32, from: u32) -> f64 {
    f64::from(to.wrapping_sub(from) as i32) * 1_000.0 / f64::from(CLOCK_HZ)
}

/// RTP ticks as time.
fn ticks(ticks: u64) -> Duration {
    Duration::from_nanos(ticks.saturating_mul(1_000_000_000) / u64::from(CLOCK_HZ))
}

#[cfg(test)]
pub(crate) mod tests;

//! What was pushed and is not played yet, as it was pushed: compressed sound is decoded when its turn comes.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::queue::{Begins, POSITION_HZ};
use crate::error::DropReason;
use crate::media::audio::extend_f32;
use crate::media::{AudioChunk, SampleFormat, mp3, opus_packet};

/// Chunks of one format are joined up to this size: one-sample chunks must not cost an allocation each.
const JOINED_BYTES: usize = 16 * 1024;

/// How the next sound comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// As samples, to be encoded.
    Samples { rate: u32, channels: usize },
    /// As an Opus packet, to be passed on.
    Packet,
}

/// The chunks, in their order.
#[derive(Default)]
pub(super) struct Backlog {
    chunks: VecDeque<Chunk>,
    /// Of the first chunk, what is already taken.
    taken: Part,
    /// Of all chunks, what is taken included.
    length: Duration,
    /// While MP3 is played.
    decoder: Option<mp3::Decoder>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Coding {
    /// 16 bits, little-endian, interleaved.
    Pcm,
    /// Whole frames.
    Mp3,
    /// One packet.
    Opus,
}

struct Chunk {
    coding: Coding,
    rate: u32,
    channels: usize,
    data: Vec<u8>,
    frames: u64,
    arrived: Instant,
    begins: Begun,
}

/// How a chunk follows what was pushed before it.
#[derive(Clone, Copy)]
enum Begun {
    /// Without a pause.
    Behind,
    /// After this much silence.
    After(Begins),
    /// Not before this moment, which is `media_ms` on the media clock.
    At { media_ms: f64, due: Instant },
}

#[derive(Clone, Copy, Default)]
struct Part {
    bytes: usize,
    /// Samples of each channel.
    frames: u64,
}

/// A piece of sound on its way in.
struct Piece<'a> {
    coding: Coding,
    rate: u32,
    channels: usize,
    data: &'a [u8],
    frames: u64,
}

impl Backlog {
    /// Takes a chunk that [`crate::media::audio::check_audio`] accepts, whole or not at all; no more than `room` of sound.
    /// `is_first`: nothing that was pushed before plays any more.
    pub(super) fn push(
        &mut self,
        chunk: &AudioChunk<'_>,
        begins: Option<Begins>,
        is_first: bool,
        room: Duration,
        now: Instant,
    ) -> Result<(), DropReason> {
        let mut begins = match begins {
            None => Begun::Behind,
            Some(begins) if is_first => begins.from(now),
            Some(begins) => Begun::After(begins),
        };
        let fits = |added: Duration| match added <= room {
            true => Ok(()),
            false => Err(DropReason::QueueFull),
        };
        match chunk.format {
            SampleFormat::Pcm => {
                let channels = chunk.channels as usize;
                let piece = Piece {
                    coding: Coding::Pcm,
                    rate: chunk.sample_rate,
                    channels,
                    data: chunk.data,
                    frames: (chunk.data.len() / (2 * channels.max(1))) as u64,
                };
                fits(piece.duration())?;
                self.append(&piece, begins, now);
            }
            SampleFormat::Opus => {
                let piece = Piece {
                    coding: Coding::Opus,
                    rate: POSITION_HZ,
                    channels: 1,
                    data: chunk.data,
                    frames: opus_packet::frames(chunk.data)? as u64,
                };
                fits(piece.duration())?;
                self.append(&piece, begins, now);
            }
            SampleFormat::Mp3 => {
                let pieces = mp3::runs(chunk.data).map(|run| Piece {
                    coding: Coding::Mp3,
                    rate: run.layout.rate,
                    channels: run.layout.channels,
                    data: run.data,
                    frames: run.frames,
                });
                let pieces: Vec<Piece<'_>> = pieces.collect();
                fits(pieces.iter().map(Piece::duration).sum())?;
                for piece in &pieces {
                    self.append(piece, begins, now);
                    begins = Begun::Behind;
                }
            }
        }
        Ok(())
    }

    fn append(&mut self, piece: &Piece<'_>, begins: Begun, now: Instant) {
        self.length += piece.duration();
        match self.chunks.back_mut() {
            Some(last)
                if matches!(begins, Begun::Behind)
                    && piece.coding != Coding::Opus
                    && last.coding == piece.coding
                    && (last.rate, last.channels) == (piece.rate, piece.channels)
                    && last.data.len() + piece.data.len() <= JOINED_BYTES =>
            {
                self.length -= last.duration() + piece.duration();
                last.data.extend_from_slice(piece.data);
                last.frames += piece.frames;
                self.length += last.duration();
            }
            _ => self.chunks.push_back(Chunk {
                coding: piece.coding,
                rate: piece.rate,
                channels: piece.channels,
                data: piece.data.to_vec(),
                frames: piece.frames,
                arrived: now,
                begins,
            }),
        }
    }

    /// How much there is.
    pub(super) fn length(&self) -> Duration {
        let taken = self.chunks.front().map_or(Duration::ZERO, |first| {
            duration(self.taken.frames, first.rate)
        });
        self.length.saturating_sub(taken)
    }

    /// When the first chunk came, if it is due. Nothing plays any more: a pause before it begins now.
    pub(super) fn due(&mut self, now: Instant) -> Option<Instant> {
        let first = self.chunks.front_mut()?;
        if let Begun::After(begins) = first.begins {
            first.begins = begins.from(now);
        }
        let waits = matches!(first.begins, Begun::At { due, .. } if due > now);
        (!waits).then_some(first.arrived)
    }

    /// Where the first chunk is on the media clock, if that was said.
    pub(super) fn begins_ms(&self) -> Option<f64> {
        match self.chunks.front()?.begins {
            Begun::At { media_ms, .. } => Some(media_ms),
            _ => None,
        }
    }

    /// What comes next without a pause.
    pub(super) fn next(&self) -> Option<Next> {
        let first = self.chunks.front();
        let first = first.filter(|first| !matches!(first.begins, Begun::After(_)));
        first.map(|first| match first.coding {
            Coding::Opus => Next::Packet,
            Coding::Pcm | Coding::Mp3 => Next::Samples {
                rate: first.rate,
                channels: first.channels,
            },
        })
    }

    /// Appends up to `wanted` samples a channel of the first chunk, interleaved; of MP3 a frame.
    pub(super) fn take_samples(&mut self, wanted: usize, out: &mut Vec<f32>) {
        let Some(first) = self.chunks.front() else {
            return;
        };
        let rest = first.data.get(self.taken.bytes..).unwrap_or_default();
        let (bytes, frames) = match first.coding {
            Coding::Pcm => {
                self.decoder = None;
                let frame_bytes = 2 * first.channels;
                let taken = rest.get(..wanted * frame_bytes).unwrap_or(rest);
                extend_f32(taken, out);
                (taken.len(), taken.len() / frame_bytes)
            }
            Coding::Mp3 => {
                let decoder = self.decoder.get_or_insert_with(mp3::Decoder::default);
                decoder.decode(rest, out).unwrap_or((rest.len(), 0))
            }
            Coding::Opus => return,
        };
        self.taken.bytes += bytes;
        self.taken.frames += frames as u64;
        if self.taken.bytes >= first.data.len() {
            self.take_first();
        }
    }

    /// Takes the first chunk if it is a packet, and how many samples a channel it plays at [`POSITION_HZ`].
    pub(super) fn take_packet(&mut self) -> Option<(Bytes, usize)> {
        if self.next() != Some(Next::Packet) {
            return None;
        }
        self.decoder = None;
        self.take_first()
            .map(|chunk| (Bytes::from(chunk.data), chunk.frames as usize))
    }

    /// Takes what is left of the first chunk.
    fn take_first(&mut self) -> Option<Chunk> {
        let first = self.chunks.pop_front()?;
        self.taken = Part::default();
        self.length = self.length.saturating_sub(first.duration());
        Some(first)
    }

    /// Leaves the first chunk out.
    pub(super) fn skip(&mut self) {
        self.take_first();
    }
}

impl Begins {
    fn from(self, now: Instant) -> Begun {
        Begun::At {
            media_ms: self.media_ms,
            due: now + self.after,
        }
    }
}

impl Chunk {
    fn duration(&self) -> Duration {
        duration(self.frames, self.rate)
    }
}

impl Piece<'_> {
    fn duration(&self) -> Duration {
        duration(self.frames, self.rate)
    }
}

fn duration(frames: u64, rate: u32) -> Duration {
    Duration::from_nanos(frames.saturating_mul(1_000_000_000) / u64::from(rate.max(1)))
}

//! Decoding for the few viewers that look at their pictures, on a thread of its own.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use crate::decode::Decoder;
use crate::report::AccessUnit;

/// Access units that wait for the decoder: 2 s of four viewers. What comes on top is skipped, and counted.
const QUEUE: usize = 256;

/// Since the crowd began.
#[derive(Debug, Default)]
pub(super) struct DecodeCounts {
    /// Pictures that came out.
    pub(super) pictures: AtomicU64,
    /// Access units that gave an error or no picture.
    pub(super) broken: AtomicU64,
    /// Access units that found the queue full, and those up to the next keyframe.
    pub(super) skipped: AtomicU64,
}

/// A viewer's access unit; [`DecodeThread`] keeps one decoder for each viewer.
type Work = (u64, AccessUnit);

/// The way to the decoder, for one media thread.
#[derive(Clone)]
pub(super) struct DecodeQueue {
    queue: SyncSender<Work>,
    counts: Arc<DecodeCounts>,
}

/// The thread; it ends when all of its queues are dropped.
pub(super) struct DecodeThread {
    thread: Option<JoinHandle<()>>,
    pub(super) counts: Arc<DecodeCounts>,
}

impl DecodeThread {
    pub(super) fn start() -> std::io::Result<(Self, DecodeQueue)> {
        let (queue, work) = sync_channel(QUEUE);
        let counts = Arc::<DecodeCounts>::default();
        let thread = std::thread::Builder::new()
            .name("crowd-decode".to_owned())
            .spawn({
                let counts = counts.clone();
                move || run(&work, &counts)
            })?;
        let decode_queue = DecodeQueue {
            queue,
            counts: counts.clone(),
        };
        let thread = Some(thread);
        Ok((Self { thread, counts }, decode_queue))
    }
}

impl Drop for DecodeThread {
    fn drop(&mut self) {
        // A decoder that panicked has left `broken` and `pictures` short: the report shows it.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

impl DecodeQueue {
    /// Hands over one access unit. False if it was skipped: then the viewer's next one must be a keyframe.
    pub(super) fn push(&self, viewer: u64, unit: AccessUnit) -> bool {
        match self.queue.try_send((viewer, unit)) {
            Ok(()) => true,
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.skip();
                false
            }
        }
    }

    /// Counts one that was not handed over.
    pub(super) fn skip(&self) {
        self.counts.skipped.fetch_add(1, Ordering::Relaxed);
    }
}

fn run(work: &Receiver<Work>, counts: &DecodeCounts) {
    let mut decoders: HashMap<u64, Decoder> = HashMap::new();
    for (viewer, unit) in work {
        let is_whole = decode(&mut decoders, viewer, &unit);
        let counter = if is_whole {
            &counts.pictures
        } else {
            &counts.broken
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// Whether a picture came out.
fn decode(decoders: &mut HashMap<u64, Decoder>, viewer: u64, unit: &AccessUnit) -> bool {
    let decoder = match decoders.entry(viewer) {
        std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
        std::collections::hash_map::Entry::Vacant(entry) => match Decoder::new(unit.codec) {
            Ok(decoder) => entry.insert(decoder),
            Err(_) => return false,
        },
    };
    matches!(decoder.decode(&unit.data), Ok(Some(_)))
}

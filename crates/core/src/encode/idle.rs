//! What is shown while no frames come: a loop that was given once, at the stream's frame rate.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::media::OwnedFrame;

/// So long after the last frame the loop begins.
const BEGINS_AFTER: Duration = Duration::from_secs(1);

/// The loop, and where it is. Pure: time is an argument.
pub(super) struct IdleLoop {
    frames: Arc<[OwnedFrame]>,
    interval: Duration,
    position: usize,
    /// `None`: at once.
    next: Option<Instant>,
}

impl IdleLoop {
    /// Plays `frames`, if there are any, from the beginning on, until the first frame comes.
    pub(super) fn new(frames: Arc<[OwnedFrame]>, fps: u32) -> Self {
        Self {
            frames,
            interval: Duration::from_secs(1) / fps.max(1),
            position: 0,
            next: None,
        }
    }

    /// A frame came: the loop is over.
    pub(super) fn stop(&mut self, now: Instant) {
        self.next = Some(now + BEGINS_AFTER);
        self.position = 0;
    }

    /// When it has something to show.
    pub(super) fn due(&self, now: Instant) -> Option<Instant> {
        (!self.frames.is_empty()).then_some(self.next.unwrap_or(now))
    }

    /// What it shows at `now`, if that is due.
    pub(super) fn take(&mut self, now: Instant) -> Option<&OwnedFrame> {
        let due = self.due(now).filter(|due| *due <= now)?;
        // Where nobody watched for a while it goes on from now.
        let next = due + self.interval;
        self.next = Some(if next <= now {
            now + self.interval
        } else {
            next
        });
        let position = self.position;
        self.position = (position + 1) % self.frames.len();
        self.frames.get(position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::PixelFormat;

    #[test]
    fn the_loop_begins_at_once_and_again_a_second_after_the_last_frame() {
        let frame = |width| OwnedFrame {
            data: Vec::new(),
            width,
            height: 1,
            format: PixelFormat::Rgba,
        };
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut idle = IdleLoop::new([frame(1), frame(2)].into(), 25);
        let shown = |idle: &mut IdleLoop, ms| idle.take(at(ms)).map(|frame| frame.width);
        let first = [0, 20, 40, 81, 120].map(|ms| shown(&mut idle, ms));
        assert_eq!(first, [Some(1), None, Some(2), Some(1), Some(2)]);
        idle.stop(at(130));
        assert_eq!(idle.due(at(130)), Some(at(1_130)));
        let again = [1_129, 1_130, 5_000, 5_039, 5_040].map(|ms| shown(&mut idle, ms));
        assert_eq!(again, [None, Some(1), Some(2), None, Some(1)]);
        assert_eq!(IdleLoop::new(Arc::default(), 25).due(start), None);
    }
}

//! From pushed frames to encoded ones, on the pool.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::encoder::LayerSettings;
use super::idle::IdleLoop;
use super::layer::{EncodedFrame, LayerEncoder};
use super::slot::{ByCodec, Orders, Slot, SlotFrame, VideoStats};
use crate::codec::{KeyframeReason, VideoCodec};
use crate::config::MediaConfig;
use crate::error::StartError;
use crate::media::{Converter, VideoFrame};
use crate::media_clock::MediaClock;
use crate::media_pool::{Class, Next, PoolHandle, Task, TaskHandle};
use crate::wall_clock::unix_ms_at;

/// Takes each encoded picture, layer by layer, on a thread of the pool: it must not block.
pub type Output = Box<dyn FnMut(&EncodedFrame) + Send>;
/// Takes a sentence about something that went wrong, at most one a second.
pub type Warn = Box<dyn Fn(String) + Send>;

/// The encoders of a stream and their slot. Once this is dropped nothing more comes out.
pub struct VideoPipeline {
    slot: Arc<Slot>,
    task: TaskHandle,
}

impl VideoPipeline {
    /// What encodes on `pool`, by the times of `clock`. Nobody watches yet: see [`VideoPipeline::set_watched`].
    pub fn spawn(
        pool: &PoolHandle,
        config: &MediaConfig,
        clock: Arc<Mutex<MediaClock>>,
        output: Output,
        warn: Warn,
    ) -> Result<Self, StartError> {
        let settings = VideoCodec::ALL.map(|codec| LayerSettings {
            codec,
            width: config.video_width,
            height: config.video_height,
            fps: config.video_fps,
            bitrate_bps: config.video_bitrate_bps,
        });
        // Looked at here, so that a size that cannot be encoded is an error of the start.
        let checked = settings.iter().try_for_each(|layer| layer.check());
        checked.map_err(|error| StartError::Thread {
            what: "the video encoder",
            source: std::io::Error::other(error),
        })?;
        let slot = Arc::new(Slot::new(config.video_width, config.video_height));
        let worker = Worker {
            slot: Arc::clone(&slot),
            converter: Converter::new(config.video_width, config.video_height)
                .with_fit(config.video_fit),
            settings,
            layers: Default::default(),
            clock,
            trickle: None,
            idle: IdleLoop::new(Arc::clone(&config.idle_frames), config.video_fps),
            output,
            warnings: Warnings::new(warn),
        };
        Ok(Self {
            slot,
            task: pool.spawn(Class::Pictures, Next::Woken, worker),
        })
    }

    /// Takes a frame that [`check_video`](crate::media::check_video) accepted: copies it into the slot (or
    /// converts it, where that is as quick), in the place of one that was not encoded yet. From any thread.
    pub fn push(&self, frame: VideoFrame<'_>) {
        if self.slot.push(frame) {
            self.task.wake();
        }
    }

    /// Asks for a keyframe of a layer: the next frame, or the last picture again if none comes within a frame
    /// interval; later when keyframes were made just before. From any thread.
    pub fn request_keyframe(&self, codec: VideoCodec, reason: KeyframeReason) {
        self.slot.request_keyframe(codec, reason, Instant::now());
        self.task.wake();
    }

    /// Says which layers are watched: each has an encoder from now on, and no other has. While there is none, frames
    /// are kept (the last one), not encoded. The first viewer of a layer begins with a keyframe of the last picture.
    pub fn set_watched(&self, codecs: &[VideoCodec]) {
        self.slot.set_watched(codecs, Instant::now());
        self.task.wake();
    }

    /// Drops a frame that was not encoded yet.
    pub fn drop_waiting(&self) {
        self.slot.drop_waiting();
    }

    /// How long frames have waited for the encoders, which are behind then. Never for longer than it takes to encode one,
    /// unless the machine has too much to do.
    pub fn waits(&self) -> Duration {
        self.slot.waits()
    }

    /// What was done so far.
    pub fn stats(&self) -> VideoStats {
        self.slot.counters.snapshot()
    }
}

/// What runs on the pool.
struct Worker {
    slot: Arc<Slot>,
    settings: ByCodec<LayerSettings>,
    converter: Converter,
    /// Those that are watched.
    layers: ByCodec<Option<LayerEncoder>>,
    clock: Arc<Mutex<MediaClock>>,
    /// When the last picture was encoded, and when it is encoded again if no other comes.
    trickle: Option<Trickle>,
    idle: IdleLoop,
    output: Output,
    warnings: Warnings,
}

/// A picture that stands still is sent again now and then: a decoder that lost it has it again, and knows that it is
/// still so.
#[derive(Clone, Copy)]
struct Trickle {
    next: Instant,
    interval: Duration,
}

const FIRST_TRICKLE: Duration = Duration::from_secs(1);
/// A thousand viewers of a picture that stands still cost a packet each so often.
const LONGEST_TRICKLE: Duration = Duration::from_secs(10);

impl Trickle {
    fn after_frame(now: Instant) -> Self {
        Self {
            next: now + FIRST_TRICKLE,
            interval: FIRST_TRICKLE,
        }
    }

    fn after_repeat(self, now: Instant) -> Self {
        let interval = (2 * self.interval).min(LONGEST_TRICKLE);
        Self {
            next: now + interval,
            interval,
        }
    }
}

impl Task for Worker {
    fn run(&mut self, now: Instant) -> Next {
        let Orders { frame, watched } = self.slot.take();
        for ((layer, settings), watched) in self.layers.iter_mut().zip(self.settings).zip(watched) {
            match watched {
                Some(watched) => {
                    let layer = layer.get_or_insert_with(|| LayerEncoder::new(settings));
                    if let Some((asked, reason)) = watched.asked {
                        layer.request_keyframe(asked, reason);
                    }
                }
                None => *layer = None,
            }
        }
        match frame {
            Some(frame) => self.on_frame(frame, now),
            None if self.idle_at(now).is_some_and(|at| at <= now) => self.on_idle(now),
            None if self.repeat_at().is_some_and(|at| at <= now) => self.on_repeat(now),
            None => {}
        }
        // Frames and requests that came meanwhile have woken the task again.
        match self.repeat_at().into_iter().chain(self.idle_at(now)).min() {
            Some(at) => Next::At(at),
            None => Next::Woken,
        }
    }

    fn on_panic(&mut self) {
        (self.warnings.warn)(
            "the video encoder crashed: no more pictures until the next start".to_owned(),
        );
    }
}

impl Worker {
    /// When the last picture is to be encoded again in some layer, unless a frame or a request comes before.
    fn repeat_at(&self) -> Option<Instant> {
        let trickle = self.trickle?;
        let mut layers = self.layers.iter().flatten().peekable();
        layers.peek()?;
        let wanted = layers.filter_map(LayerEncoder::repeat_at).min();
        Some(wanted.map_or(trickle.next, |at| at.min(trickle.next)))
    }

    /// When the next picture of the idle loop is to be encoded, unless a frame comes before.
    fn idle_at(&self, now: Instant) -> Option<Instant> {
        let is_watched = self.layers.iter().any(Option::is_some);
        self.idle.due(now).filter(|_| is_watched)
    }

    fn on_idle(&mut self, now: Instant) {
        let timestamp_ms = self.clock.lock().repeat(unix_ms_at(now));
        let Some(frame) = self.idle.take(now) else {
            return;
        };
        match self.converter.convert(&frame.at(timestamp_ms)) {
            Ok(_) => {
                self.trickle = Some(Trickle::after_frame(now));
                self.encode(timestamp_ms, now, |_| true);
            }
            Err(reason) => self
                .warnings
                .warn(now, format!("idle frame not sent: {reason}")),
        }
    }

    fn on_frame(&mut self, frame: SlotFrame, now: Instant) {
        let timestamp_ms = frame.timestamp_ms;
        let was_watched = frame.was_watched;
        match self.slot.show(frame, &mut self.converter) {
            Ok(()) => {
                // What was kept while nobody watched is old: the loop follows at once.
                if was_watched {
                    self.idle.stop(now);
                }
                self.trickle = Some(Trickle::after_frame(now));
                let now_ms = unix_ms_at(now);
                let timestamp_ms = match was_watched {
                    true => self.clock.lock().picture(timestamp_ms, now_ms),
                    // It is the picture of this moment, however old it is.
                    false => self.clock.lock().repeat(now_ms),
                };
                self.encode(timestamp_ms, now, |_| true);
            }
            Err(reason) => {
                self.slot.counters.invalid.fetch_add(1, Relaxed);
                self.warnings
                    .warn(now, format!("video frame not sent: {reason}"));
            }
        }
    }

    fn on_repeat(&mut self, now: Instant) {
        let timestamp_ms = self.clock.lock().repeat(unix_ms_at(now));
        let trickles = self.trickle.is_some_and(|trickle| trickle.next <= now);
        if trickles {
            self.trickle = self.trickle.map(|trickle| trickle.after_repeat(now));
        }
        let is_due =
            |layer: &LayerEncoder| trickles || layer.repeat_at().is_some_and(|at| at <= now);
        if self.encode(timestamp_ms, now, is_due) {
            self.slot.counters.repeated.fetch_add(1, Relaxed);
        }
    }

    /// Encodes the converter's picture in the layers that `wanted` takes, and hands it out; tells whether there was
    /// something to hand out.
    fn encode(
        &mut self,
        timestamp_ms: f64,
        now: Instant,
        wanted: impl Fn(&LayerEncoder) -> bool,
    ) -> bool {
        let counters = &self.slot.counters;
        let mut is_encoded = false;
        for layer in self
            .layers
            .iter_mut()
            .flatten()
            .filter(|layer| wanted(layer))
        {
            let start = Instant::now();
            let encoded = layer.encode(self.converter.picture(), timestamp_ms, now);
            match encoded {
                Ok(Some(frame)) => {
                    counters.encoded.fetch_add((!is_encoded).into(), Relaxed);
                    is_encoded = true;
                    let bytes = frame.data.len() as u64;
                    counters.bytes.fetch_add(bytes, Relaxed);
                    if let Some(reason) = frame.reason {
                        counters.keyframes[reason as usize].fetch_add(1, Relaxed);
                    }
                    counters.encode_time.add(start.elapsed());
                    (self.output)(frame);
                }
                Ok(None) => {
                    counters.failed.fetch_add(1, Relaxed);
                }
                Err(error) => {
                    counters.failed.fetch_add(1, Relaxed);
                    self.warnings
                        .warn(now, format!("video frame not sent: {error}"));
                }
            }
        }
        is_encoded
    }
}

/// Says at most one thing a second.
struct Warnings {
    warn: Warn,
    last: Option<Instant>,
    kept_back: u64,
}

impl Warnings {
    fn new(warn: Warn) -> Self {
        Self {
            warn,
            last: None,
            kept_back: 0,
        }
    }

    fn warn(&mut self, now: Instant, message: String) {
        let soon = |last| now.saturating_duration_since(last) < Duration::from_secs(1);
        if self.last.is_some_and(soon) {
            self.kept_back += 1;
            return;
        }
        self.last = Some(now);
        (self.warn)(match std::mem::take(&mut self.kept_back) {
            0 => message,
            more => format!("{message} (and {more} more since the last warning)"),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::PixelFormat;
    use crate::media_pool::MediaPool;
    use crate::wall_clock::unix_ms;
    use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};

    const PATIENCE: Duration = Duration::from_secs(10);
    /// Long enough for anything that is going to happen to have happened.
    const QUIET: Duration = Duration::from_millis(250);

    struct Rig {
        pipeline: VideoPipeline,
        /// Ends after the pipeline.
        _pool: MediaPool,
        frames: Receiver<EncodedFrame>,
        warnings: Receiver<String>,
        /// The output waits for one of these a picture, if `gated`.
        gate: Sender<()>,
        /// Times are told as from here on.
        base_ms: f64,
    }

    fn rig(gated: bool) -> Rig {
        rig_at(MediaConfig::default().video_fps, gated)
    }

    fn rig_at(video_fps: u32, gated: bool) -> Rig {
        let config = MediaConfig {
            video_fps,
            video_width: 64,
            video_height: 64,
            ..MediaConfig::default()
        };
        let (frame_to, frames) = channel();
        let (warning_to, warnings) = channel();
        let (gate, opened) = channel();
        let output = Box::new(move |frame: &EncodedFrame| {
            let _ = frame_to.send(frame.clone());
            if gated {
                let _ = opened.recv_timeout(PATIENCE);
            }
        });
        let warn = Box::new(move |text| {
            let _ = warning_to.send(text);
        });
        let pool = MediaPool::new(1).unwrap();
        Rig {
            pipeline: VideoPipeline::spawn(&pool.handle(), &config, Arc::default(), output, warn)
                .unwrap(),
            _pool: pool,
            frames,
            warnings,
            gate,
            base_ms: unix_ms().floor(),
        }
    }

    impl Rig {
        fn push(&self, timestamp_ms: f64) {
            let level = timestamp_ms as u64 as u8;
            self.pipeline.push(VideoFrame {
                data: &[level; 64 * 64 * 4],
                width: 64,
                height: 64,
                timestamp_ms: self.base_ms + timestamp_ms,
                format: PixelFormat::Rgba,
            });
        }

        fn push_jpeg(&self, data: &[u8], timestamp_ms: f64) {
            self.pipeline.push(VideoFrame {
                data,
                width: 64,
                height: 64,
                timestamp_ms: self.base_ms + timestamp_ms,
                format: PixelFormat::Jpeg,
            });
        }

        fn frame(&self) -> EncodedFrame {
            let mut frame = self.frames.recv_timeout(PATIENCE).unwrap();
            frame.timestamp_ms -= self.base_ms;
            frame
        }

        fn assert_nothing_comes(&self) {
            let next = self.frames.recv_timeout(QUIET);
            assert_eq!(next, Err(RecvTimeoutError::Timeout));
        }
    }

    #[test]
    fn frames_come_out_with_their_times_the_first_as_a_keyframe() {
        let rig = rig(false);
        rig.pipeline.set_watched(&[VideoCodec::H264]);
        for (n, timestamp) in [0.0, 33.25, 66.5].into_iter().enumerate() {
            rig.push(timestamp);
            let frame = rig.frame();
            assert_eq!((frame.timestamp_ms, frame.keyframe), (timestamp, n == 0));
            assert_eq!(frame.data[..4], [0, 0, 0, 1]);
        }
        let stats = rig.pipeline.stats();
        assert_eq!((stats.frames_in, stats.encoded), (3, 3));
        assert_eq!(stats.keyframes, [1, 0, 0, 0]);
        assert!(stats.encode_time.count() == 3 && stats.bytes > 0);
    }

    #[test]
    fn the_latest_frame_wins_while_the_encoder_is_busy() {
        let rig = rig(true);
        rig.pipeline.set_watched(&[VideoCodec::H264]);
        rig.push(0.0);
        assert_eq!(rig.frame().timestamp_ms, 0.0);
        // The encoder is held up in the output.
        for n in 1..=20 {
            rig.push(f64::from(n));
        }
        rig.gate.send(()).unwrap();
        assert_eq!(rig.frame().timestamp_ms, 20.0);
        rig.gate.send(()).unwrap();
        rig.assert_nothing_comes();
        let stats = rig.pipeline.stats();
        assert_eq!(
            (stats.frames_in, stats.encoded, stats.superseded),
            (21, 2, 19)
        );
    }

    #[test]
    fn nothing_is_encoded_while_nobody_watches_and_the_first_viewer_gets_the_last_frame() {
        let rig = rig(false);
        for n in 0..10 {
            rig.push(f64::from(n) * 33.0);
        }
        rig.assert_nothing_comes();
        rig.pipeline.set_watched(&[VideoCodec::H264]);
        let frame = rig.frame();
        assert!(frame.keyframe);
        // Shown now, not when it was pushed.
        let late = frame.timestamp_ms;
        assert!(
            (QUIET.as_secs_f64() * 1_000.0..20_000.0).contains(&late),
            "{late} ms"
        );
        let stats = rig.pipeline.stats();
        assert_eq!(
            (stats.encoded, stats.unwatched, stats.superseded),
            (1, 9, 0)
        );

        rig.pipeline.set_watched(&[]);
        rig.push(30_000.0);
        rig.assert_nothing_comes();
        rig.pipeline.set_watched(&[VideoCodec::H264]);
        assert!(rig.frame().keyframe, "the next viewer begins with one too");
    }

    #[test]
    fn a_keyframe_is_made_of_the_last_picture_when_no_frame_comes() {
        let rig = rig(false);
        rig.pipeline.set_watched(&[VideoCodec::H264]);
        rig.push(0.0);
        rig.frame();
        rig.assert_nothing_comes();
        rig.pipeline
            .request_keyframe(VideoCodec::H264, KeyframeReason::Asked);
        let again = rig.frame();
        assert!(again.keyframe);
        let late = again.timestamp_ms;
        assert!(
            (QUIET.as_secs_f64() * 1_000.0..20_000.0).contains(&late),
            "{late} ms"
        );
        rig.assert_nothing_comes();
        assert_eq!(rig.pipeline.stats().repeated, 1);
        // A frame that is stamped before the repetition still comes out, behind it.
        rig.push(33.0);
        assert!(rig.frame().timestamp_ms > again.timestamp_ms);
    }

    #[test]
    fn each_layer_that_is_watched_is_encoded_and_no_other() {
        use VideoCodec::{H264, Vp8, Vp9};
        // So slow a source that a frame always comes before a repetition.
        let rig = rig_at(1, false);
        let shown = |timestamp: f64, layers: &[VideoCodec]| {
            rig.push(timestamp);
            let frames: Vec<EncodedFrame> = layers.iter().map(|_| rig.frame()).collect();
            assert!(frames.iter().all(|frame| frame.timestamp_ms == timestamp));
            let made = frames.iter().map(|frame| frame.codec);
            assert_eq!(made.collect::<Vec<_>>(), layers);
            let keyframes = frames.iter().filter(|frame| frame.keyframe);
            keyframes.map(|frame| frame.codec).collect::<Vec<_>>()
        };
        rig.pipeline.set_watched(&[H264]);
        assert_eq!(shown(0.0, &[H264]), [H264]);
        rig.pipeline.set_watched(&[Vp8, H264]);
        assert_eq!(shown(33.0, &[H264, Vp8]), [Vp8]);
        assert_eq!(shown(66.0, &[H264, Vp8]), []);
        rig.pipeline.set_watched(&[Vp9, Vp8]);
        assert_eq!(shown(100.0, &[Vp8, Vp9]), [Vp9]);
        rig.assert_nothing_comes();
        let stats = rig.pipeline.stats();
        assert_eq!((stats.encoded, stats.keyframes.iter().sum()), (4, 3_u64));
    }

    #[test]
    fn only_the_layer_that_wants_a_keyframe_repeats_the_last_picture() {
        let rig = rig(false);
        rig.pipeline.set_watched(&[VideoCodec::H264]);
        rig.push(0.0);
        rig.frame();
        rig.pipeline
            .set_watched(&[VideoCodec::H264, VideoCodec::Vp8]);
        let again = rig.frame();
        assert_eq!((again.codec, again.keyframe), (VideoCodec::Vp8, true));
        rig.assert_nothing_comes();
        assert_eq!(rig.pipeline.stats().repeated, 1);
    }

    #[test]
    fn a_source_clock_that_jumps_back_does_not_stall_the_stream() {
        let rig = rig(false);
        rig.pipeline.set_watched(&[VideoCodec::H264]);
        let mut last = f64::MIN;
        for timestamp in [1e12, 1e12 + 33.0, 5.0, 38.0, 38.0, -1e9, 1e12 + 1e6] {
            rig.push(timestamp);
            let frame = rig.frame();
            assert!(frame.timestamp_ms > last);
            last = frame.timestamp_ms;
        }
    }

    #[test]
    fn undecodable_frames_are_counted_warned_of_once_and_passed_over() {
        let rig = rig(false);
        rig.pipeline.set_watched(&[VideoCodec::H264]);
        rig.push(1.0);
        rig.frame();
        for n in 2..30 {
            rig.push_jpeg(b"\xff\xd8 this is not a picture", f64::from(n));
            while rig.pipeline.stats().invalid + rig.pipeline.stats().superseded < n as u64 - 1 {
                std::thread::yield_now();
            }
        }
        rig.push(100.0);
        let frame = rig.frame();
        assert_eq!((frame.timestamp_ms, frame.keyframe), (100.0, false));
        assert_eq!(
            rig.warnings.try_iter().collect::<Vec<_>>(),
            ["video frame not sent: `data` is not a readable JPEG"]
        );
        assert_eq!(rig.pipeline.stats().invalid, 28);
    }

    #[test]
    fn a_picture_that_stands_still_is_sent_again_ever_more_seldom() {
        let rig = rig(false);
        rig.pipeline.set_watched(&[VideoCodec::H264]);
        rig.push(0.0);
        assert!(rig.frame().keyframe);
        let begun = Instant::now();
        let times: Vec<Duration> = (0..2)
            .map(|_| {
                let again = rig.frame();
                assert!(!again.keyframe && again.data.len() < 100, "{again:?}");
                begun.elapsed()
            })
            .collect();
        let near = |at: Duration, seconds: f64| (at.as_secs_f64() - seconds).abs() < 0.5;
        assert!(near(times[0], 1.0) && near(times[1], 3.0), "{times:?}");
        let mut trickle = Trickle::after_frame(begun);
        for _ in 0..9 {
            trickle = trickle.after_repeat(begun);
        }
        assert_eq!(trickle.next, begun + LONGEST_TRICKLE);
    }

    #[test]
    fn a_storm_of_requests_costs_few_keyframes() {
        let rig = rig(false);
        rig.pipeline.set_watched(&[VideoCodec::H264]);
        rig.push(0.0);
        rig.frame();
        for _ in 0..500 {
            rig.pipeline
                .request_keyframe(VideoCodec::H264, KeyframeReason::Asked);
            std::thread::sleep(Duration::from_millis(1));
        }
        assert!(rig.frame().keyframe);
        let made: u64 = rig.pipeline.stats().keyframes.iter().sum();
        assert!(made <= 6, "{made}");
    }

    #[test]
    fn dropping_ends_the_encoder_also_with_a_frame_in_the_slot() {
        let rig = rig(false);
        rig.push(1.0);
        let Rig {
            pipeline, frames, ..
        } = rig;
        drop(pipeline);
        // The encoder owned the other end, and is gone.
        assert_eq!(frames.try_recv(), Err(TryRecvError::Disconnected));
    }

    #[test]
    fn a_stream_that_cannot_be_encoded_is_an_error_of_the_start() {
        let config = MediaConfig {
            video_width: 4096,
            video_height: 4096,
            ..MediaConfig::default()
        };
        let pool = MediaPool::new(1).unwrap().handle();
        let error = VideoPipeline::spawn(
            &pool,
            &config,
            Arc::default(),
            Box::new(|_| ()),
            Box::new(|_| ()),
        )
        .err()
        .unwrap();
        assert!(error.to_string().contains("3840x2160"), "{error}");
    }
}

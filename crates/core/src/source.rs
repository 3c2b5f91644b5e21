//! The handle that media is pushed into: it checks, counts and hands on to every output.
//!
//! A source works without any server; a server attaches outputs to it. Nothing that is pushed can fail:
//! what cannot be sent is counted, and reported at most once a second for pictures and once for sound.

use std::array;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::Value;

use crate::codec::ByReason;
use crate::config::MediaConfig;
use crate::error::DropReason;
use crate::event::{Event, EventSink};
use crate::histogram::Histogram;
use crate::media::audio::check_audio;
use crate::media::{
    AudioChunk, PushOutcome, SampleFormat, VideoFrame, check_timestamp, check_video, mp3,
};
use crate::metrics::{Metrics, Recorder};
use crate::playout::{CueTime, Interrupted};

/// Warnings of one kind come at most this often.
const WARNING_INTERVAL_MS: f64 = 1_000.0;

/// Where pushed media goes: a server's stream. Called on the pusher's thread: it copies and returns.
pub trait MediaOutput: Send + Sync + 'static {
    /// Takes a frame that was checked.
    fn push_video(&self, frame: VideoFrame<'_>);
    /// How long frames have waited for the encoders.
    fn video_waits(&self) -> Duration;
    /// How much sound waits to be played.
    fn queued_audio(&self) -> Duration;
    /// Takes a chunk that was checked; refuses it when its queue is full.
    fn push_audio(&self, chunk: AudioChunk<'_>) -> PushOutcome;
    /// Has `data` told to every viewer at a moment of the sound.
    fn push_cue(&self, time: CueTime, data: &Value) -> PushOutcome;
    /// Drops what was not played and not encoded yet.
    fn interrupt(&self) -> Interrupted;
    /// What became of all that was pushed so far.
    fn counts(&self) -> OutputCounts;
}

/// What an output did since it was made.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct OutputCounts {
    /// Frames encoded; a frame that was repeated for a keyframe counts again.
    pub encoded_frames: u64,
    /// Frames that newer ones replaced before they were encoded.
    pub superseded_frames: u64,
    /// Frames that turned out undecodable when they were to be encoded.
    pub undecodable_frames: u64,
    /// Encoded frames that a decoder can begin at, by reason.
    pub keyframes: ByReason<u64>,
    /// What an encoder took for a frame.
    pub encode_time: Histogram,
    /// Sound that waits to be played, in ms.
    pub queued_audio_ms: f64,
}

impl OutputCounts {
    fn plus(self, other: Self) -> Self {
        Self {
            encoded_frames: self.encoded_frames + other.encoded_frames,
            superseded_frames: self.superseded_frames + other.superseded_frames,
            undecodable_frames: self.undecodable_frames + other.undecodable_frames,
            keyframes: array::from_fn(|why| self.keyframes[why] + other.keyframes[why]),
            encode_time: self.encode_time.plus(other.encode_time),
            queued_audio_ms: self.queued_audio_ms.max(other.queued_audio_ms),
        }
    }

    /// What was added since `before`.
    fn since(self, before: Self) -> Self {
        Self {
            encoded_frames: self.encoded_frames.saturating_sub(before.encoded_frames),
            superseded_frames: self
                .superseded_frames
                .saturating_sub(before.superseded_frames),
            undecodable_frames: self
                .undecodable_frames
                .saturating_sub(before.undecodable_frames),
            keyframes: array::from_fn(|why| {
                self.keyframes[why].saturating_sub(before.keyframes[why])
            }),
            encode_time: self.encode_time.since(before.encode_time),
            queued_audio_ms: self.queued_audio_ms,
        }
    }
}

/// Pictures or sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MediaKind {
    /// Pictures.
    Video,
    /// Sound.
    Audio,
}

/// What a bridge pushes into.
pub struct Source {
    config: MediaConfig,
    events: Arc<dyn EventSink>,
    is_streaming: AtomicBool,
    /// Replaced as a whole, so that a push never holds the lock while an output copies.
    outputs: Mutex<Arc<[Weak<dyn MediaOutput>]>>,
    book: Mutex<Book>,
    /// Of the MP3 that is pushed.
    framer: Mutex<mp3::Framer>,
}

/// What is kept of the pushes.
struct Book {
    recorder: Recorder,
    /// What the outputs had counted when they were last asked.
    absorbed: OutputCounts,
    video_warnings: Limiter,
    audio_warnings: Limiter,
}

impl Source {
    /// A source that is not started. `events` gets [`Event::Warning`]s and [`Event::PlayoutEnded`], from any thread.
    pub fn new(config: MediaConfig, events: Arc<dyn EventSink>) -> Arc<Self> {
        let book = Book {
            recorder: Recorder::new(config.video_fps),
            absorbed: OutputCounts::default(),
            video_warnings: Limiter::default(),
            audio_warnings: Limiter::default(),
        };
        Arc::new(Self {
            config,
            events,
            is_streaming: AtomicBool::new(false),
            outputs: Mutex::new(Arc::new([])),
            book: Mutex::new(book),
            framer: Mutex::default(),
        })
    }

    /// What it was made with.
    pub fn config(&self) -> &MediaConfig {
        &self.config
    }

    /// Where its events go.
    pub(crate) fn events(&self) -> &Arc<dyn EventSink> {
        &self.events
    }

    /// Lets pushes through. False: it was started.
    pub fn start(&self) -> bool {
        self.switch(true)
    }

    /// Refuses pushes from now on. False: it was not started.
    pub fn stop(&self) -> bool {
        self.switch(false)
    }

    /// Whether pushes are let through.
    pub fn is_streaming(&self) -> bool {
        self.is_streaming.load(Ordering::Acquire)
    }

    /// Checks and counts a frame, and hands it to every output. `now_ms` is of the Unix clock.
    pub fn push_video(&self, frame: VideoFrame<'_>, now_ms: f64) -> PushOutcome {
        if let Err(reason) = check_video(&frame) {
            return self.refuse_video(reason, frame.timestamp_ms, now_ms);
        }
        if !self.is_streaming() {
            return self.refuse_video(DropReason::NotStarted, frame.timestamp_ms, now_ms);
        }
        self.book
            .lock()
            .recorder
            .video(frame.timestamp_ms, now_ms, None);
        for output in self.live_outputs() {
            output.push_video(frame);
        }
        PushOutcome::Queued
    }

    /// Counts a push that is not even a [`VideoFrame`], such as one of an unknown format.
    pub fn refuse_video(&self, reason: DropReason, timestamp_ms: f64, now_ms: f64) -> PushOutcome {
        self.refuse(MediaKind::Video, reason, now_ms, |recorder, reason| {
            recorder.video(timestamp_ms, now_ms, Some(reason));
        })
    }

    /// Checks and counts a chunk, and hands it to every output. It is dropped only if none takes it.
    pub fn push_audio(&self, chunk: AudioChunk<'_>, now_ms: f64) -> PushOutcome {
        if !self.is_streaming() {
            return self.refuse_audio(DropReason::NotStarted, now_ms);
        }
        if chunk.format != SampleFormat::Mp3 {
            *self.framer.lock() = mp3::Framer::default();
            return self.hand_on(chunk, now_ms);
        }
        // A piece of a stream: what it completes goes on, unless nobody has room.
        let split = self.framer.lock().split(chunk.data);
        let split = check_timestamp(chunk.timestamp_ms)
            .and_then(|()| split.ok_or(DropReason::Undecodable("MP3")));
        let (frames, next) = match split {
            Ok(split) => split,
            Err(reason) => return self.refuse_audio(reason, now_ms),
        };
        let outcome = match frames.is_empty() {
            true => self.accept_audio(),
            false => {
                let data = &frames;
                self.hand_on(AudioChunk { data, ..chunk }, now_ms)
            }
        };
        if outcome == PushOutcome::Queued {
            *self.framer.lock() = next;
        }
        outcome
    }

    fn hand_on(&self, chunk: AudioChunk<'_>, now_ms: f64) -> PushOutcome {
        if let Err(reason) = check_audio(&chunk) {
            return self.refuse_audio(reason, now_ms);
        }
        let mut refused = None;
        let mut is_taken = false;
        for output in self.live_outputs() {
            match output.push_audio(chunk) {
                PushOutcome::Queued => is_taken = true,
                PushOutcome::Dropped(reason) => refused = Some(reason),
            }
        }
        match refused {
            Some(reason) if !is_taken => self.refuse_audio(reason, now_ms),
            _ => self.accept_audio(),
        }
    }

    fn accept_audio(&self) -> PushOutcome {
        self.book.lock().recorder.audio(None);
        PushOutcome::Queued
    }

    /// Has every viewer told of `data` when a moment of the sound is heard. Dropped only if an output has no room.
    pub fn push_cue(&self, time: CueTime, data: &Value) -> PushOutcome {
        let (CueTime::InChunk(ms) | CueTime::Timestamp(ms)) = time;
        if let Err(reason) = check_timestamp(ms) {
            return PushOutcome::Dropped(reason);
        }
        if !self.is_streaming() {
            return PushOutcome::Dropped(DropReason::NotStarted);
        }
        let outcomes = self
            .live_outputs()
            .map(|output| output.push_cue(time, data));
        let refused = outcomes
            .filter(|outcome| *outcome != PushOutcome::Queued)
            .last();
        refused.unwrap_or(PushOutcome::Queued)
    }

    /// How much sound waits to be played, in ms.
    pub fn queued_audio_ms(&self) -> f64 {
        longest(self.live_outputs().map(|output| output.queued_audio()))
    }

    /// How long frames have waited for the encoders, in ms: 0 while those keep up.
    pub fn video_waits_ms(&self) -> f64 {
        longest(self.live_outputs().map(|output| output.video_waits()))
    }

    /// Drops the sound that waits to be played and the frame that waits to be encoded, everywhere.
    /// Tells of the output that had most.
    pub fn interrupt(&self) -> Interrupted {
        *self.framer.lock() = mp3::Framer::default();
        self.live_outputs()
            .map(|output| output.interrupt())
            .max_by_key(|cut| cut.played + cut.discarded)
            .unwrap_or_default()
    }

    /// Counts a push that is not even an [`AudioChunk`], such as one of an unknown format.
    pub fn refuse_audio(&self, reason: DropReason, now_ms: f64) -> PushOutcome {
        self.refuse(MediaKind::Audio, reason, now_ms, |recorder, reason| {
            recorder.audio(Some(reason));
        })
    }

    /// The counters; `now_ms` is of the Unix clock.
    pub fn metrics(&self, now_ms: f64) -> Metrics {
        let is_streaming = self.is_streaming();
        let mut book = self.book.lock();
        self.absorb(&mut book);
        book.recorder.snapshot(now_ms, is_streaming)
    }

    /// Sets the counters to zero.
    pub fn reset_metrics(&self) {
        let mut book = self.book.lock();
        self.absorb(&mut book);
        book.recorder.reset();
    }

    /// Takes over what the outputs counted since they were last asked.
    fn absorb(&self, book: &mut Book) {
        let total = self.total();
        let added = total.since(book.absorbed);
        book.absorbed = total;
        book.recorder.output(&added);
    }

    fn total(&self) -> OutputCounts {
        self.live_outputs()
            .map(|output| output.counts())
            .fold(OutputCounts::default(), OutputCounts::plus)
    }

    /// Hands what is pushed to `output` too, as long as it lives. Adding it twice is once.
    pub fn add_output(&self, output: Weak<dyn MediaOutput>) {
        let mut outputs = self.outputs.lock();
        *outputs = without(&outputs, &output)
            .chain([Weak::clone(&output)])
            .collect();
    }

    /// Hands nothing more to `output`.
    pub fn remove_output(&self, output: &Weak<dyn MediaOutput>) {
        let mut book = self.book.lock();
        self.absorb(&mut book);
        {
            let mut outputs = self.outputs.lock();
            *outputs = without(&outputs, output).collect();
        }
        book.absorbed = self.total();
    }

    fn switch(&self, on: bool) -> bool {
        let changed = self.is_streaming.swap(on, Ordering::AcqRel) != on;
        if changed {
            let mut book = self.book.lock();
            book.video_warnings = Limiter::default();
            book.audio_warnings = Limiter::default();
            drop(book);
            *self.framer.lock() = mp3::Framer::default();
        }
        changed
    }

    fn live_outputs(&self) -> impl Iterator<Item = Arc<dyn MediaOutput>> {
        let outputs = Arc::clone(&self.outputs.lock());
        (0..outputs.len()).filter_map(move |at| outputs.get(at).and_then(Weak::upgrade))
    }

    /// A bridge that is not started counts nothing, and that is the only reason it gives.
    fn refuse(
        &self,
        kind: MediaKind,
        reason: DropReason,
        now_ms: f64,
        count: impl FnOnce(&mut Recorder, &DropReason),
    ) -> PushOutcome {
        let reason = if self.is_streaming() {
            count(&mut self.book.lock().recorder, &reason);
            reason
        } else {
            DropReason::NotStarted
        };
        self.warn(kind, &reason, now_ms);
        PushOutcome::Dropped(reason)
    }

    fn warn(&self, kind: MediaKind, reason: &DropReason, now_ms: f64) {
        let what = match kind {
            MediaKind::Video => "video frame",
            MediaKind::Audio => "audio chunk",
        };
        if self.config.debug {
            tracing::debug!("{what} dropped: {reason}");
        }
        let permit = {
            let mut book = self.book.lock();
            match kind {
                MediaKind::Video => book.video_warnings.permit(now_ms),
                MediaKind::Audio => book.audio_warnings.permit(now_ms),
            }
        };
        let text = match permit {
            None => return,
            Some(0) => format!("{what} dropped: {reason}"),
            Some(held_back) => {
                format!("{what} dropped: {reason} ({held_back} more since the last warning)")
            }
        };
        self.events.emit(Event::Warning(text));
    }
}

fn longest(durations: impl Iterator<Item = Duration>) -> f64 {
    durations.max().unwrap_or_default().as_secs_f64() * 1_000.0
}

fn without<'a>(
    outputs: &'a [Weak<dyn MediaOutput>],
    output: &'a Weak<dyn MediaOutput>,
) -> impl Iterator<Item = Weak<dyn MediaOutput>> + 'a {
    outputs
        .iter()
        .filter(move |other| other.strong_count() > 0 && !other.ptr_eq(output))
        .cloned()
}

/// Lets one warning through an interval, and remembers how many it held back.
#[derive(Debug, Default)]
struct Limiter {
    last_ms: Option<f64>,
    held_back: u64,
}

impl Limiter {
    fn permit(&mut self, now_ms: f64) -> Option<u64> {
        // A clock that was set back lets one through rather than none for as long.
        if self
            .last_ms
            .is_some_and(|last| (now_ms - last).abs() < WARNING_INTERVAL_MS)
        {
            self.held_back += 1;
            return None;
        }
        self.last_ms = Some(now_ms);
        Some(std::mem::take(&mut self.held_back))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::PixelFormat;
    use crate::media::mp3::tests::FILES;

    #[derive(Default)]
    struct Output {
        frames: Mutex<Vec<f64>>,
        chunks: Mutex<usize>,
        bytes: Mutex<Vec<u8>>,
        counts: Mutex<OutputCounts>,
        is_full: bool,
    }

    impl MediaOutput for Output {
        fn push_video(&self, frame: VideoFrame<'_>) {
            self.frames.lock().push(frame.timestamp_ms);
        }

        fn video_waits(&self) -> Duration {
            Duration::ZERO
        }

        fn queued_audio(&self) -> Duration {
            Duration::ZERO
        }

        fn push_cue(&self, _: CueTime, _: &Value) -> PushOutcome {
            PushOutcome::Queued
        }

        fn push_audio(&self, chunk: AudioChunk<'_>) -> PushOutcome {
            if self.is_full {
                return PushOutcome::Dropped(DropReason::QueueFull);
            }
            *self.chunks.lock() += 1;
            self.bytes.lock().extend_from_slice(chunk.data);
            PushOutcome::Queued
        }

        fn interrupt(&self) -> Interrupted {
            Interrupted {
                discarded: Duration::from_millis(*self.chunks.lock() as u64),
                ..Interrupted::default()
            }
        }

        fn counts(&self) -> OutputCounts {
            *self.counts.lock()
        }
    }

    fn source() -> (Arc<Source>, Arc<Mutex<Vec<Event>>>) {
        let events = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&events);
        let sink = Arc::new(move |event| seen.lock().push(event));
        (Source::new(MediaConfig::default(), sink), events)
    }

    fn weak(output: &Arc<Output>) -> Weak<dyn MediaOutput> {
        let output: Arc<dyn MediaOutput> = output.clone();
        Arc::downgrade(&output)
    }

    fn frame(data: &[u8]) -> VideoFrame<'_> {
        VideoFrame {
            data,
            width: 2,
            height: 2,
            timestamp_ms: 7.0,
            format: PixelFormat::Rgba,
        }
    }

    fn chunk(data: &[u8]) -> AudioChunk<'_> {
        AudioChunk {
            data,
            sample_rate: 16_000,
            channels: 1,
            timestamp_ms: 7.0,
            format: SampleFormat::Pcm,
        }
    }

    fn mp3_chunk(data: &[u8]) -> AudioChunk<'_> {
        AudioChunk {
            format: SampleFormat::Mp3,
            ..chunk(data)
        }
    }

    #[test]
    fn a_push_reaches_every_output_until_it_is_removed() {
        let (source, _) = source();
        let (one, two) = (Arc::new(Output::default()), Arc::new(Output::default()));
        source.add_output(weak(&one));
        source.add_output(weak(&one));
        source.add_output(weak(&two));
        assert!(source.start());
        assert!(!source.start());
        assert_eq!(
            source.push_video(frame(&[0; 16]), 10.0),
            PushOutcome::Queued
        );
        source.remove_output(&weak(&two));
        source.push_audio(chunk(&[0; 640]), 10.0);
        assert_eq!(one.frames.lock().len(), 1);
        assert_eq!(two.frames.lock().len(), 1);
        assert_eq!((*one.chunks.lock(), *two.chunks.lock()), (1, 0));
    }

    #[test]
    fn nothing_passes_or_counts_before_start_and_one_warning_says_so() {
        let (source, events) = source();
        let output = Arc::new(Output::default());
        source.add_output(weak(&output));
        for _ in 0..30 {
            let outcome = source.push_video(frame(&[0; 16]), 10.0);
            assert_eq!(outcome, PushOutcome::Dropped(DropReason::NotStarted));
        }
        assert_eq!(source.metrics(10.0), Metrics::default());
        assert!(output.frames.lock().is_empty());
        assert_eq!(events.lock().len(), 1);
    }

    #[test]
    fn invalid_content_is_counted_and_reported_once_a_second() {
        let (source, events) = source();
        source.start();
        for frame_number in 0..60 {
            let now = f64::from(frame_number) * 1_000.0 / 30.0;
            source.push_video(frame(&[0; 3]), now);
        }
        let metrics = source.metrics(2_000.0);
        assert_eq!((metrics.video_frames, metrics.invalid_frames), (60, 60));
        let events = events.lock();
        assert_eq!(events.len(), 2);
        assert!(
            matches!(&events[1], Event::Warning(text) if text.ends_with("(29 more since the last warning)"))
        );
    }

    #[test]
    fn a_chunk_is_dropped_only_if_every_output_refuses_it() {
        let (source, _) = source();
        source.start();
        let full = Arc::new(Output {
            is_full: true,
            ..Output::default()
        });
        source.add_output(weak(&full));
        let outcome = source.push_audio(chunk(&[0; 640]), 0.0);
        assert_eq!(outcome, PushOutcome::Dropped(DropReason::QueueFull));
        let roomy = Arc::new(Output::default());
        source.add_output(weak(&roomy));
        assert_eq!(
            source.push_audio(chunk(&[0; 640]), 0.0),
            PushOutcome::Queued
        );
        let metrics = source.metrics(0.0);
        assert_eq!((metrics.audio_chunks, metrics.dropped_chunks), (2, 1));
    }

    #[test]
    fn mp3_goes_on_in_whole_frames_however_it_is_cut() {
        let (source, _) = source();
        let output = Arc::new(Output::default());
        source.add_output(weak(&output));
        source.start();
        let (file, _) = FILES[1];
        let (whole, _) = mp3::Framer::default().split(file).unwrap();
        for piece in file.chunks(100) {
            assert_eq!(
                source.push_audio(mp3_chunk(piece), 0.0),
                PushOutcome::Queued
            );
        }
        assert!(*output.bytes.lock() == whole);
        assert_eq!(*output.chunks.lock(), whole.len() / 144);
        let undecodable = PushOutcome::Dropped(DropReason::Undecodable("MP3"));
        assert_eq!(source.push_audio(mp3_chunk(&[0; 640]), 0.0), undecodable);
        let at_no_time = AudioChunk {
            timestamp_ms: f64::NAN,
            ..mp3_chunk(&file[..50])
        };
        let no_time = PushOutcome::Dropped(DropReason::BadTimestamp);
        assert_eq!(source.push_audio(at_no_time, 0.0), no_time);

        // What was begun is forgotten with other sound.
        source.push_audio(mp3_chunk(&file[..200]), 0.0);
        source.push_audio(chunk(&[0; 640]), 0.0);
        assert_eq!(source.push_audio(mp3_chunk(&[0; 640]), 0.0), undecodable);
    }

    #[test]
    fn mp3_that_nobody_has_room_for_may_be_pushed_again() {
        let (source, _) = source();
        source.start();
        let full = Arc::new(Output {
            is_full: true,
            ..Output::default()
        });
        source.add_output(weak(&full));
        let (file, _) = FILES[1];
        assert_eq!(
            source.push_audio(mp3_chunk(&file[..100]), 0.0),
            PushOutcome::Queued
        );
        let outcome = source.push_audio(mp3_chunk(&file[100..]), 0.0);
        assert_eq!(outcome, PushOutcome::Dropped(DropReason::QueueFull));
        source.remove_output(&weak(&full));
        let roomy = Arc::new(Output::default());
        source.add_output(weak(&roomy));
        source.push_audio(mp3_chunk(&file[100..]), 0.0);
        let (whole, _) = mp3::Framer::default().split(file).unwrap();
        assert!(*roomy.bytes.lock() == whole);
    }

    #[test]
    fn what_an_output_finds_out_later_is_counted_once() {
        let (source, _) = source();
        source.start();
        let output = Arc::new(Output::default());
        source.add_output(weak(&output));
        let add = |superseded_frames, undecodable_frames| {
            let mut counts = output.counts.lock();
            counts.superseded_frames += superseded_frames;
            counts.undecodable_frames += undecodable_frames;
        };
        add(3, 1);
        source.metrics(20.0);
        let metrics = source.metrics(20.0);
        assert_eq!((metrics.invalid_frames, metrics.superseded_frames), (1, 3));
        assert_eq!(metrics.dropped_frames, 4);
        source.reset_metrics();
        add(2, 0);
        source.remove_output(&weak(&output));
        assert_eq!(source.metrics(20.0).superseded_frames, 2);
    }
}

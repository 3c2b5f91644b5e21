//! The native half of `MediaBridge`.

use std::sync::Arc;

use avatar_core::config::MediaConfig;
use avatar_core::error::{ConfigError, DropReason};
use avatar_core::event::EventSink;
use avatar_core::media::{
    AudioChunk, OwnedFrame, PixelFormat, PushOutcome, SampleFormat, VideoFrame, check_video,
};
use avatar_core::playout::CueTime;
use avatar_core::source::Source;
use napi::bindgen_prelude::*;
use napi_derive::napi;

use crate::events::{EventQueue, NativeEvent};
use crate::{Failure, invalid_option, log, parse_json};

/// What a bridge pushes into.
#[napi]
pub struct NativeSource {
    pub(crate) source: Arc<Source>,
    events: Arc<EventQueue>,
}

/// One of the idle loop's.
#[napi(object, object_to_js = false)]
pub struct NativeFrame<'a> {
    pub data: BufferSlice<'a>,
    pub width: f64,
    pub height: f64,
    pub format: String,
}

impl NativeFrame<'_> {
    /// A copy, if it can be shown.
    fn keep(&self) -> std::result::Result<OwnedFrame, DropReason> {
        let frame = OwnedFrame {
            data: self.data.to_vec(),
            width: whole(self.width),
            height: whole(self.height),
            format: PixelFormat::parse(&self.format)
                .ok_or(DropReason::UnsupportedFormat("of that name"))?,
        };
        check_video(&frame.at(0.0)).map(|()| frame)
    }
}

fn unusable_frame(n: usize, reason: &DropReason) -> Failure {
    invalid_option(&ConfigError {
        option: format!("media.idleFrames[{n}]"),
        expected: "a frame as for pushVideoFrame".to_owned(),
        received: reason.to_string(),
    })
}

/// Why a push was dropped.
#[napi(object, object_from_js = false)]
pub struct NativeDrop {
    /// A stable word for programs.
    pub reason: &'static str,
    /// A sentence for people.
    pub message: String,
}

/// What an interruption cut off.
#[napi(object, object_from_js = false)]
pub struct NativeInterruption {
    pub played_ms: f64,
    pub discarded_ms: f64,
}

/// Keyframes, by why they were made.
#[napi(object, object_from_js = false)]
pub struct NativeKeyframeReasons {
    pub joined: f64,
    pub asked: f64,
    pub left_out: f64,
    pub began: f64,
}

/// What half, and what 99 of 100, did not exceed.
#[napi(object, object_from_js = false)]
pub struct NativeQuantiles {
    pub p50: f64,
    pub p99: f64,
}

/// The counters of a bridge, in the words of `getMetrics()`.
#[napi(object, object_from_js = false)]
pub struct NativeMetrics {
    pub video_frames: f64,
    pub audio_chunks: f64,
    pub dropped_frames: f64,
    pub dropped_chunks: f64,
    pub avg_latency: f64,
    pub last_frame_time: f64,
    pub fps: f64,
    pub is_streaming: bool,
    pub invalid_frames: f64,
    pub invalid_chunks: f64,
    pub superseded_frames: f64,
    pub encoded_frames: f64,
    pub keyframes: f64,
    pub keyframe_reasons: NativeKeyframeReasons,
    pub encode_ms: NativeQuantiles,
    pub late_frames: f64,
    pub queued_audio_ms: f64,
    pub last_frame_error: Option<&'static str>,
    pub last_chunk_error: Option<&'static str>,
}

#[napi]
impl NativeSource {
    /// `config` is the JSON of the `media` options, without the idle frames.
    #[napi(constructor)]
    pub fn new(
        config: String,
        idle_frames: Vec<NativeFrame<'_>>,
    ) -> std::result::Result<Self, Failure> {
        let mut config = MediaConfig::from_json(&parse_json(&config)?)
            .map_err(|error| invalid_option(&error))?;
        let frames = idle_frames.iter().enumerate();
        config.idle_frames = frames
            .map(|(n, frame)| frame.keep().map_err(|reason| unusable_frame(n, &reason)))
            .collect::<std::result::Result<_, _>>()?;
        if config.debug {
            log::enable();
        }
        let events = Arc::new(EventQueue::default());
        let sink: Arc<dyn EventSink> = events.clone();
        Ok(Self {
            source: Source::new(config, sink),
            events,
        })
    }

    /// Lets pushes through; `wake` is called when events wait. False: it was started.
    #[napi]
    pub fn start(&self, wake: Function<'_, (), ()>) -> Result<bool> {
        let is_new = self.source.start();
        if is_new {
            // What a stop left behind is of no interest any more.
            self.events.take();
            self.events.ring(&wake, false)?;
        }
        Ok(is_new)
    }

    /// Refuses pushes from now on. False: it was not started.
    #[napi]
    pub fn stop(&self) -> bool {
        self.events.hang_up();
        self.source.interrupt();
        self.source.stop()
    }

    /// Whether pushes are let through.
    #[napi(getter)]
    pub fn is_streaming(&self) -> bool {
        self.source.is_streaming()
    }

    /// `data` is read only during the call. Null: it will be sent.
    #[napi]
    pub fn push_video(
        &self,
        data: Option<BufferSlice<'_>>,
        width: f64,
        height: f64,
        timestamp: f64,
        format: String,
        now: f64,
    ) -> Option<NativeDrop> {
        let Some(data) = data else {
            return dropped(
                self.source
                    .refuse_video(DropReason::NotBytes, timestamp, now),
            );
        };
        let Some(format) = PixelFormat::parse(&format) else {
            let reason = DropReason::UnsupportedFormat("of that name");
            return dropped(self.source.refuse_video(reason, timestamp, now));
        };
        let frame = VideoFrame {
            data: &data,
            width: whole(width),
            height: whole(height),
            timestamp_ms: timestamp,
            format,
        };
        dropped(self.source.push_video(frame, now))
    }

    /// `data` is read only during the call. Null: it will be played.
    #[napi]
    pub fn push_audio(
        &self,
        data: Option<BufferSlice<'_>>,
        sample_rate: f64,
        channels: f64,
        timestamp: f64,
        format: String,
        now: f64,
    ) -> Option<NativeDrop> {
        let Some(data) = data else {
            return dropped(self.source.refuse_audio(DropReason::NotBytes, now));
        };
        let Some(format) = SampleFormat::parse(&format) else {
            let reason = DropReason::UnsupportedFormat("of that name");
            return dropped(self.source.refuse_audio(reason, now));
        };
        let chunk = AudioChunk {
            data: &data,
            sample_rate: whole(sample_rate),
            channels: whole(channels),
            timestamp_ms: timestamp,
            format,
        };
        dropped(self.source.push_audio(chunk, now))
    }

    /// Has every viewer told of `data` (JSON) when a moment of the sound is heard: `time` ms into the chunk that was pushed
    /// last, or at that timestamp. Null: it will be.
    #[napi]
    pub fn push_cue(
        &self,
        time: f64,
        is_timestamp: bool,
        data: String,
    ) -> std::result::Result<Option<NativeDrop>, Failure> {
        let time = match is_timestamp {
            true => CueTime::Timestamp(time),
            false => CueTime::InChunk(time),
        };
        Ok(dropped(self.source.push_cue(time, &parse_json(&data)?)))
    }

    /// The counters.
    #[napi]
    pub fn metrics(&self, now: f64) -> NativeMetrics {
        let metrics = self.source.metrics(now);
        NativeMetrics {
            video_frames: metrics.video_frames as f64,
            audio_chunks: metrics.audio_chunks as f64,
            dropped_frames: metrics.dropped_frames as f64,
            dropped_chunks: metrics.dropped_chunks as f64,
            avg_latency: metrics.avg_latency_ms,
            last_frame_time: metrics.last_frame_time_ms,
            fps: metrics.fps,
            is_streaming: metrics.is_streaming,
            invalid_frames: metrics.invalid_frames as f64,
            invalid_chunks: metrics.invalid_chunks as f64,
            superseded_frames: metrics.superseded_frames as f64,
            encoded_frames: metrics.encoded_frames as f64,
            keyframes: metrics.keyframes.iter().sum::<u64>() as f64,
            keyframe_reasons: {
                let [joined, asked, left_out, began] = metrics.keyframes.map(|count| count as f64);
                NativeKeyframeReasons {
                    joined,
                    asked,
                    left_out,
                    began,
                }
            },
            encode_ms: NativeQuantiles {
                p50: metrics.encode_time.quantile(0.5).as_secs_f64() * 1_000.0,
                p99: metrics.encode_time.quantile(0.99).as_secs_f64() * 1_000.0,
            },
            late_frames: metrics.late_frames as f64,
            queued_audio_ms: metrics.queued_audio_ms,
            last_frame_error: metrics.last_frame_error,
            last_chunk_error: metrics.last_chunk_error,
        }
    }

    /// Sets the counters to zero.
    #[napi]
    pub fn reset_metrics(&self) {
        self.source.reset_metrics();
    }

    /// Drops the sound and the frame that wait.
    #[napi]
    pub fn interrupt(&self) -> NativeInterruption {
        let cut = self.source.interrupt();
        NativeInterruption {
            played_ms: cut.played.as_secs_f64() * 1_000.0,
            discarded_ms: cut.discarded.as_secs_f64() * 1_000.0,
        }
    }

    /// How much sound waits to be played, in ms.
    #[napi(getter)]
    pub fn queued_audio_ms(&self) -> f64 {
        self.source.queued_audio_ms()
    }

    /// How long frames have waited for the encoders, in ms.
    #[napi(getter)]
    pub fn video_waits_ms(&self) -> f64 {
        self.source.video_waits_ms()
    }

    /// Everything that happened since the last call, oldest first.
    #[napi]
    pub fn take_events(&self) -> Vec<NativeEvent> {
        self.events.take()
    }
}

fn dropped(outcome: PushOutcome) -> Option<NativeDrop> {
    match outcome {
        PushOutcome::Queued => None,
        PushOutcome::Dropped(reason) => Some(NativeDrop {
            reason: reason.code(),
            message: reason.to_string(),
        }),
    }
}

/// What is no whole number becomes 0, which no check lets through; casts of floats saturate.
fn whole(number: f64) -> u32 {
    if number.fract() == 0.0 {
        number as u32
    } else {
        0
    }
}

//! What a viewer has seen since the window began.

use super::Member;
use crate::crowd::report::ViewerNumbers;
use crate::crowd::srtp::Srtp;
use crate::crowd::streams::Stream;

impl Member {
    pub(in crate::crowd) fn begin_window(&mut self) {
        if let Some(video) = &mut self.video {
            video.begin_window();
        }
        if let Some(audio) = &mut self.audio {
            audio.begin_window();
        }
        (self.datagrams, self.bytes) = (0, 0);
    }

    pub(in crate::crowd) fn numbers(&self) -> ViewerNumbers {
        let stream = |stream: Option<&Stream>| {
            stream.map_or_else(Default::default, |stream| {
                let (counts, bytes) = stream.at_begin;
                (stream.log.counts().since(&counts), stream.bytes - bytes).into()
            })
        };
        let frames = self
            .video
            .as_ref()
            .map(|video| video.counts)
            .unwrap_or_default();
        ViewerNumbers {
            id: self.role.id,
            port: self.port,
            times: self.times,
            gcm: self.srtp.as_ref().is_some_and(Srtp::is_gcm),
            has_picture: self.video.as_ref().is_some_and(|video| video.has_picture),
            inspected: self.role.inspected,
            witness: self.role.witness,
            floods: self.role.floods,
            frames: frames.frames,
            frozen_frames: frames.frozen,
            incomplete_frames: frames.incomplete,
            keyframes: frames.keyframes,
            longest_interval: frames.longest_interval,
            video: stream(self.video.as_ref().map(|video| &video.stream)),
            audio: stream(self.audio.as_ref()),
            datagrams: self.datagrams,
            bytes: self.bytes,
            closed: self.closed.clone(),
        }
    }
}

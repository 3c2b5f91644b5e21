//! What native viewers receive of what is pushed.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod support;

use std::time::Duration;

use avatar_viewer::{Viewer, ViewerOptions, decode, decode_opus};
use serde_json::json;
use support::{
    PATIENCE, Renderer, System, correlation, number_of, psnr, push_pcm, push_picture, sweep,
};

#[tokio::test(flavor = "multi_thread")]
async fn twenty_viewers_each_receive_every_frame_and_the_sound_under_gcm() {
    let system = System::start(json!({}));
    let _renderer = Renderer::start(&system.source, 30);
    let mut viewers = Vec::new();
    for _ in 0..20 {
        viewers.push(system.viewer().await);
    }
    for viewer in &viewers {
        viewer
            .wait_for(PATIENCE, |report| report.video.frames > 0)
            .await
            .unwrap();
    }
    push_pcm(&system.source, &sweep(300.0, 3_000.0, 3.0, 24_000), 24_000);
    let before: Vec<_> = viewers
        .iter()
        .map(|viewer| viewer.report().audio.sequence.received)
        .collect();
    for (viewer, heard) in viewers.iter().zip(before) {
        let report = viewer
            .wait_for(PATIENCE, |report| {
                report.video.frames >= 90 && report.audio.sequence.received >= heard + 140
            })
            .await
            .unwrap();
        assert_eq!(
            report.srtp_profile.as_deref(),
            Some("SRTP_AEAD_AES_128_GCM")
        );
        assert_eq!(report.video.incomplete_frames, 0);
        assert_eq!(
            (report.video.sequence.lost, report.audio.sequence.lost),
            (0, 0)
        );
        assert!(report.errors.is_empty(), "{:?}", report.errors);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pictures_that_arrive_are_those_that_were_pushed() {
    let system = System::start(json!({}));
    let renderer = Renderer::start(&system.source, 30);
    let viewer = Viewer::connect(ViewerOptions {
        keep_video: true,
        ..system.options()
    })
    .await
    .unwrap();
    let report = viewer
        .wait_for(PATIENCE, |report| report.video.frames >= 60)
        .await
        .unwrap();
    let pictures = decode(&report.video.access_units).unwrap();
    assert!(pictures.len() >= 60);
    let numbers: Vec<u32> = pictures.iter().map(number_of).collect();
    assert!(
        numbers.windows(2).all(|pair| pair[1] == pair[0] + 1),
        "{numbers:?}"
    );
    assert!(*numbers.last().unwrap() < renderer.pushed());
    for (picture, number) in pictures.iter().zip(numbers) {
        let noise = psnr(picture, number);
        assert!(noise >= 30.0, "picture {number} has {noise:.1} dB");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_joins_while_nothing_new_is_pushed_gets_the_last_picture() {
    let system = System::start(json!({}));
    push_picture(&system.source, 77);
    for _ in 0..2 {
        let viewer = Viewer::connect(ViewerOptions {
            keep_video: true,
            ..system.options()
        })
        .await
        .unwrap();
        let report = viewer
            .wait_for(PATIENCE, |report| report.video.frames > 0)
            .await
            .unwrap();
        let pictures = decode(&report.video.access_units).unwrap();
        assert_eq!(number_of(&pictures[0]), 77);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_packets_are_sent_again() {
    let system = System::start(json!({}));
    let _renderer = Renderer::start(&system.source, 30);
    let lossy = ViewerOptions {
        drop_incoming: Some(0.2),
        seed: 7,
        ..system.options()
    };
    let viewer = Viewer::connect(lossy).await.unwrap();
    let report = viewer
        .wait_for(PATIENCE, |report| report.video.frames >= 150)
        .await
        .unwrap();
    assert!(
        report.dropped_on_purpose > 20,
        "{}",
        report.dropped_on_purpose
    );
    assert!(report.video.rtx_packets > 0);
    // Without retransmission every fifth frame and more would be broken.
    assert!(
        report.video.incomplete_frames <= 10,
        "{} broken frames",
        report.video.incomplete_frames
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_for_keyframes_are_served_together() {
    let system = System::start(json!({}));
    let _renderer = Renderer::start(&system.source, 30);
    let mut viewers = Vec::new();
    for _ in 0..5 {
        viewers.push(system.viewer().await);
    }
    for viewer in &viewers {
        viewer
            .wait_for(PATIENCE, |report| report.video.frames > 30)
            .await
            .unwrap();
    }
    let before = viewers[0].report().video.keyframes;
    for viewer in &viewers {
        viewer.request_keyframe().await;
    }
    let served = viewers[0]
        .wait_for(PATIENCE, |report| report.video.keyframes > before)
        .await
        .unwrap();
    let seen = served.video.frames;
    let later = viewers[0]
        .wait_for(PATIENCE, |report| report.video.frames > seen + 30)
        .await
        .unwrap();
    assert!(
        later.video.keyframes - before <= 2,
        "{} keyframes for 5 requests",
        later.video.keyframes - before
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn sound_arrives_as_it_was_pushed_whole_or_in_pieces() {
    let rate = 24_000;
    let pushed = sweep(200.0, 4_000.0, 2.0, rate);
    for piece in [pushed.len(), rate as usize / 50] {
        let system = System::start(json!({}));
        let viewer = Viewer::connect(ViewerOptions {
            keep_audio: true,
            ..system.options()
        })
        .await
        .unwrap();
        let mut clock =
            tokio::time::interval(Duration::from_secs_f64(piece as f64 / f64::from(rate)));
        for chunk in pushed.chunks(piece) {
            clock.tick().await;
            push_pcm(&system.source, chunk, rate);
        }
        let is_whole = |report: &avatar_viewer::Report| {
            let spoken = report
                .audio
                .packets
                .iter()
                .filter(|packet| packet.data.len() > 10)
                .count();
            spoken >= 95
        };
        let report = viewer.wait_for(PATIENCE, is_whole).await.unwrap();
        let heard = decode_opus(report.audio.packets.iter().map(|packet| &packet.data)).unwrap();
        let middle: Vec<i16> = pushed
            .chunks_exact(3)
            .map(|three| three[0])
            .skip(4_000)
            .take(6_000)
            .collect();
        // At 8 kHz, from each of six samples on: the codec's delay is no whole number of eighths of a millisecond.
        let match_ = (0..6)
            .map(|from| {
                let heard: Vec<i16> = heard[from..].iter().step_by(6).copied().collect();
                correlation(&heard, &middle)
            })
            .fold(0.0, f64::max);
        assert!(
            match_ > 0.9,
            "correlation {match_:.3} for pieces of {piece} samples"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_that_reports_lost_sound_gets_redundant_copies() {
    for (drop_incoming, expected) in [(None, false), (Some(0.2), true)] {
        let system = System::start(json!({}));
        let viewer = Viewer::connect(ViewerOptions {
            keep_audio: true,
            drop_incoming,
            seed: 3,
            ..system.options()
        })
        .await
        .unwrap();
        // Long enough for some of the viewer's reports.
        push_pcm(&system.source, &sweep(200.0, 4_000.0, 8.0, 24_000), 24_000);
        let copies = |report: &avatar_viewer::Report| {
            let packets = report.audio.packets.iter();
            packets.filter(|packet| has_lbrr(&packet.data)).count()
        };
        if expected {
            (viewer
                .wait_for(PATIENCE, |report| copies(report) > 20)
                .await)
                .unwrap();
        } else {
            let heard = |report: &avatar_viewer::Report| report.audio.packets.len() > 350;
            let report = viewer.wait_for(PATIENCE, heard).await.unwrap();
            assert_eq!(copies(&report), 0);
        }
    }
}

/// Whether a mono packet of one SILK or hybrid frame holds a copy of the frame before: the flag behind the one of voice
/// activity (RFC 6716, 4.2.3).
fn has_lbrr(packet: &[u8]) -> bool {
    packet.len() > 2 && packet[0] >> 3 < 16 && packet[1] & 0x40 != 0
}

#[tokio::test(flavor = "multi_thread")]
async fn sender_reports_put_both_tracks_on_one_clock_once_there_is_sound() {
    let system = System::start(json!({}));
    let _renderer = Renderer::start(&system.source, 30);
    let viewer = system.viewer().await;
    let count = |report: &avatar_viewer::Report, ssrc: Option<u32>| {
        let reports = report.sender_reports.iter();
        reports.filter(|sr| Some(sr.ssrc) == ssrc).count()
    };
    let has_pictures = |report: &avatar_viewer::Report| count(report, report.video.ssrc) >= 2;
    let report = viewer.wait_for(PATIENCE, has_pictures).await.unwrap();
    assert_eq!(count(&report, report.audio.ssrc), 0, "nothing was said");
    push_pcm(&system.source, &sweep(200.0, 4_000.0, 8.0, 24_000), 24_000);
    let has_both = |report: &avatar_viewer::Report| count(report, report.audio.ssrc) >= 2;
    let report = viewer.wait_for(PATIENCE, has_both).await.unwrap();
    for sender_report in &report.sender_reports {
        let rate = match Some(sender_report.ssrc) == report.video.ssrc {
            true => 90.0,
            false => 48.0,
        };
        let ticks = (sender_report.unix_ms() * rate).round() as u64 as u32;
        let apart = ticks.wrapping_sub(sender_report.rtp) as i32;
        assert!(
            f64::from(apart.abs()) <= rate,
            "{apart} ticks of {rate} kHz"
        );
    }
    let now = support::now_ms();
    for sender_report in &report.sender_reports {
        let age = now - sender_report.unix_ms();
        assert!(
            (-1_000.0..30_000.0).contains(&age),
            "a report of {age} ms ago"
        );
    }
}

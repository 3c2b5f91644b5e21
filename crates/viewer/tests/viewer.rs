//! The viewer against a small server of the same protocol, built on `rtc`'s answering side.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    missing_docs,
    reason = "a test"
)]

mod support;

use std::time::Duration;

use avatar_viewer::{
    SrtpProtectionProfile, Viewer, ViewerError, ViewerOptions, decode, decode_opus,
};
use support::{Behaviour, HEIGHT, WIDTH, luma, serve};

const WAIT: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_receives_what_was_sent() {
    let server = serve(Behaviour::default()).await;
    let viewer = Viewer::connect(ViewerOptions {
        keep_video: true,
        keep_audio: true,
        ..ViewerOptions::new(&server.url)
    })
    .await
    .unwrap();
    let report = viewer
        .wait_for(WAIT, |report| {
            report.video.frames >= 45 && report.audio.sequence.received >= 75
        })
        .await
        .unwrap();

    assert_eq!(report.peer_id.as_deref(), Some("viewer-1"));
    assert_eq!(
        report.srtp_profile.as_deref(),
        Some("SRTP_AEAD_AES_128_GCM")
    );
    let times = report.times;
    let steps = [
        times.websocket_ms,
        times.answer_ms,
        times.ice_ms,
        times.dtls_ms,
        times.first_packet_ms,
        times.first_frame_ms,
    ];
    let steps: Vec<f64> = steps.into_iter().map(Option::unwrap).collect();
    assert!(steps.is_sorted(), "{steps:?}");
    assert_eq!(
        (report.video.sequence.lost, report.audio.sequence.lost),
        (0, 0)
    );
    assert_eq!(
        (report.video.incomplete_frames, report.feedback.plis),
        (0, 0)
    );
    assert_eq!(
        report.video.intervals_ms.len() as u64,
        report.video.frames - 1
    );

    let log = server.log.lock();
    for (unit, sent) in report.video.access_units.iter().zip(&log.frames) {
        assert_eq!((unit.timestamp, &unit.data), (sent.0, &sent.1));
    }
    let pictures = decode(&report.video.access_units).unwrap();
    assert_eq!(pictures.len(), report.video.access_units.len());
    for (index, picture) in pictures.iter().enumerate() {
        assert_eq!((picture.width, picture.height), (WIDTH, HEIGHT));
        let difference: u64 = luma(index as u64)
            .iter()
            .zip(&picture.y)
            .map(|(sent, received)| u64::from(sent.abs_diff(*received)))
            .sum();
        let mean = difference as f64 / (WIDTH * HEIGHT) as f64;
        assert!(mean < 3.0, "picture {index} differs by {mean}");
    }
    let opus = &report.audio.packets;
    assert!(
        opus.iter()
            .map(|packet| &packet.data)
            .eq(log.opus.iter().take(opus.len()))
    );
    let samples = decode_opus(opus.iter().map(|packet| &packet.data)).unwrap();
    assert_eq!(samples.len(), opus.len() * 960);
    let crossings = samples
        .windows(2)
        .filter(|pair| pair[0] < 0 && pair[1] >= 0)
        .count();
    let hertz = crossings as f64 / (samples.len() as f64 / 48_000.0);
    assert!((430.0..450.0).contains(&hertz), "{hertz}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sender_reports_of_both_streams_are_recorded() {
    let server = serve(Behaviour::default()).await;
    let viewer = Viewer::connect(ViewerOptions::new(&server.url))
        .await
        .unwrap();
    let report = viewer
        .wait_for(WAIT, |report| {
            let seen = |ssrc: Option<u32>| {
                report
                    .sender_reports
                    .iter()
                    .any(|seen| Some(seen.ssrc) == ssrc)
            };
            seen(report.video.ssrc) && seen(report.audio.ssrc)
        })
        .await
        .unwrap();
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs_f64()
        * 1000.0;
    assert!((report.sender_reports[0].unix_ms() - now).abs() < 60_000.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_packets_are_repaired_by_rtx() {
    let report = with_loss(true, true).await;
    assert!(
        report.video.sequence.gaps > 0 && report.video.rtx_packets > 0,
        "{report:?}"
    );
    assert!(
        report.video.sequence.lost <= 8,
        "{:?}",
        report.video.sequence
    );
    // One NACK brings most packets back: the generator sees what RTX delivered.
    let nacks = report.feedback.nacks;
    assert!(
        nacks < 3 * report.video.sequence.gaps,
        "{nacks} {:?}",
        report.video.sequence
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_packets_are_repaired_without_rtx() {
    let report = with_loss(true, false).await;
    assert!(
        report.video.sequence.late > 0 && report.feedback.nacks > 0,
        "{report:?}"
    );
    assert!(
        report.video.sequence.lost <= 8,
        "{:?}",
        report.video.sequence
    );
    assert_eq!(report.video.rtx_packets, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_packets_stay_lost_without_nack_and_a_keyframe_is_asked_for() {
    let report = with_loss(false, true).await;
    let sequence = report.video.sequence;
    assert!(
        sequence.lost > 8 && sequence.lost == sequence.gaps,
        "{sequence:?}"
    );
    assert!(report.video.incomplete_frames > 0);
    assert!(report.feedback.plis > 0 && report.video.keyframes > 1);
    assert_eq!(report.feedback.nacks, 0);
}

async fn with_loss(send_nack: bool, rtx: bool) -> avatar_viewer::Report {
    let server = serve(Behaviour {
        rtx,
        ..Default::default()
    })
    .await;
    let viewer = Viewer::connect(ViewerOptions {
        send_nack,
        drop_incoming: Some(0.05),
        seed: 7,
        ..ViewerOptions::new(&server.url)
    })
    .await
    .unwrap();
    let waited = viewer
        .wait_for(WAIT, |report| {
            report.video.sequence.received > 300 && report.video.frames > 30
        })
        .await;
    let report = waited.unwrap();
    assert!(report.dropped_on_purpose > 0 && report.audio.sequence.lost > 0);
    report
}

#[tokio::test(flavor = "multi_thread")]
async fn doubled_packets_are_counted_and_change_nothing() {
    let server = serve(Behaviour {
        double_every: Some(5),
        ..Default::default()
    })
    .await;
    let viewer = Viewer::connect(ViewerOptions::new(&server.url))
        .await
        .unwrap();
    let report = viewer
        .wait_for(WAIT, |report| report.video.frames >= 30)
        .await
        .unwrap();
    assert!(report.video.sequence.duplicates > 5);
    assert_eq!(
        (report.video.sequence.lost, report.video.incomplete_frames),
        (0, 0)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_requested_keyframe_comes() {
    let server = serve(Behaviour::default()).await;
    let viewer = Viewer::connect(ViewerOptions::new(&server.url))
        .await
        .unwrap();
    let one = viewer
        .wait_for(WAIT, |report| report.video.frames >= 5)
        .await
        .unwrap();
    assert_eq!(one.video.keyframes, 1);
    viewer.request_keyframe().await;
    let two = viewer
        .wait_for(WAIT, |report| report.video.keyframes >= 2)
        .await
        .unwrap();
    assert_eq!(two.feedback.plis, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_microphone_and_pings_go_to_the_server() {
    let server = serve(Behaviour {
        trickle: true,
        ..Default::default()
    })
    .await;
    let speech: Vec<Vec<u8>> = (0..20).map(|n| vec![0xf8, 0xff, n]).collect();
    let viewer = Viewer::connect(ViewerOptions {
        microphone: Some(speech.clone()),
        trickle: false,
        ..ViewerOptions::new(&server.url)
    })
    .await
    .unwrap();
    viewer
        .wait_for(WAIT, |report| report.channel_open)
        .await
        .unwrap();
    viewer.send_command(r#"{"command":"change-emotion"}"#).await;
    let report = viewer
        .wait_for(WAIT, |report| {
            !report.commands.is_empty() && report.microphone_packets == 20
        })
        .await
        .unwrap();
    assert_eq!(report.commands, [r#"re: {"command":"change-emotion"}"#]);
    while server.log.lock().microphone.len() < 20 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let report = viewer.finish().await;
    assert_eq!(report.closed.as_deref(), Some("closed by its owner"));
    let log = server.log.lock();
    assert_eq!((&log.microphone, log.pongs), (&speech, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_srtp_profile_follows_the_offer() {
    let server = serve(Behaviour::default()).await;
    let viewer = Viewer::connect(ViewerOptions {
        srtp_profiles: vec![SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80],
        ..ViewerOptions::new(&server.url)
    })
    .await
    .unwrap();
    let profile = viewer.report().srtp_profile;
    assert_eq!(profile.as_deref(), Some("SRTP_AES128_CM_HMAC_SHA1_80"));
    viewer.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_viewer_says_why() {
    let server = serve(Behaviour {
        full: true,
        ..Default::default()
    })
    .await;
    let refused = Viewer::connect(ViewerOptions::new(&server.url)).await;
    let Err(error) = refused else {
        panic!("connected to a full server");
    };
    assert!(matches!(error, ViewerError::Closed(_)), "{error}");
    assert!(error.to_string().contains("Server full"), "{error}");
}

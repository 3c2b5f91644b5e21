//! A crowd of light viewers, and what the server must give each of them.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod support;

use std::time::Duration;

use avatar_core::event::Event;
use avatar_viewer::crowd::{Crowd, CrowdOptions, Microphone};
use serde_json::json;
use support::{PATIENCE, Renderer, System, eventually, push_pcm, speech};

const VIEWERS: usize = 20;
const FPS: u32 = 30;

fn options(system: &System) -> CrowdOptions {
    CrowdOptions {
        count: VIEWERS,
        join_rate: 0.0,
        connect_timeout: PATIENCE,
        ..CrowdOptions::new(format!("ws://127.0.0.1:{}", system.port))
    }
}

/// A system that shows and says something.
fn playing() -> (System, Renderer) {
    let system = System::start(json!({}));
    let renderer = Renderer::start(&system.source, FPS);
    for _ in 0..4 {
        push_pcm(&system.source, &speech(24_000), 24_000);
    }
    (system, renderer)
}

#[tokio::test(flavor = "multi_thread")]
async fn everyone_sees_every_frame_and_nothing_is_lost() {
    let (system, renderer) = playing();
    let decode = 2;
    let mut crowd = Crowd::connect(CrowdOptions {
        decode,
        ..options(&system)
    })
    .await
    .unwrap();
    crowd.begin_window().await.unwrap();
    let before = renderer.pushed();
    let frames_of = |pushed: u32| u64::from(pushed - before);
    eventually("two seconds of frames", || {
        frames_of(renderer.pushed()) >= 60
    })
    .await;
    let pushed = frames_of(renderer.pushed());
    let report = crowd.report().await.unwrap();

    assert_eq!(
        (report.connected, report.with_picture, report.gcm),
        (VIEWERS, VIEWERS, VIEWERS)
    );
    assert!(report.failures.is_empty(), "{:?}", report.failures);
    // A frame may be superseded before it is encoded on a busy machine, for all alike.
    let viewers = crowd.viewers().await.unwrap();
    assert!(
        viewers.iter().all(|viewer| viewer.frames + 12 >= pushed),
        "{pushed}: {viewers:?}"
    );
    assert_eq!(
        (report.video.lost, report.audio.lost, report.socket_drops),
        (0, 0, 0)
    );
    assert_eq!((report.incomplete_frames, report.frozen_frames), (0, 0));
    assert!(report.audio.packets > 0 && report.latency_ms.samples > 0);
    // Pushed and received on this machine's clock, in whole milliseconds.
    assert!(
        report.latency_ms.p50.unwrap() < 1_000.0,
        "{:?}",
        report.latency_ms
    );
    assert!(report.decrypted > 0);
    assert_eq!(report.auth_failures, 0);

    assert_eq!((report.decode.broken, report.decode.skipped), (0, 0));
    let decoded = report.decode.pictures + 2 * 12;
    assert!(
        decoded >= decode as u64 * pushed,
        "{:?} of {pushed}",
        report.decode
    );
    crowd.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_lost_on_purpose_is_seen_as_lost() {
    let (system, _renderer) = playing();
    let mut crowd = Crowd::connect(CrowdOptions {
        nack: false,
        drop_incoming: 0.1,
        seed: 1,
        ..options(&system)
    })
    .await
    .unwrap();
    let report = crowd.report_window(Duration::from_secs(2)).await.unwrap();
    let lost = report.video.lost + report.audio.lost;
    // What is dropped is missed once a later packet comes: at the ends of the window some of each viewer's two
    // streams are not yet, or no longer, known.
    let slack = VIEWERS as u64;
    assert!(
        report.dropped_on_purpose > slack,
        "{}",
        report.dropped_on_purpose
    );
    assert!(
        lost.abs_diff(report.dropped_on_purpose) <= slack,
        "{lost}: {}",
        report.dropped_on_purpose
    );
    assert!(report.incomplete_frames > 0 && report.plis > 0 && report.nacks == 0);
    assert!(report.loss > 0.005);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_lost_is_asked_for_and_comes_again() {
    let (system, _renderer) = playing();
    let mut crowd = Crowd::connect(CrowdOptions {
        drop_incoming: 0.02,
        seed: 1,
        ..options(&system)
    })
    .await
    .unwrap();
    let report = crowd.report_window(Duration::from_secs(2)).await.unwrap();
    assert!(report.nacks > 0 && report.video.recovered > 0);
    // A retransmission may be lost as well, or still be on its way when the window ends.
    assert!(
        report.video.lost * 4 < report.video.recovered,
        "{:?}",
        report.video
    );
    assert_eq!(report.auth_failures, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_that_left_leaves_nobody_behind() {
    let (system, _renderer) = playing();
    let mut crowd = Crowd::connect(options(&system)).await.unwrap();
    for _ in 0..3 {
        crowd.leave(VIEWERS / 2).await;
        assert_eq!(crowd.join(VIEWERS / 2).await.unwrap(), VIEWERS / 2);
    }
    assert_eq!(crowd.len(), VIEWERS);
    assert_eq!(crowd.viewers().await.unwrap().len(), VIEWERS);
    crowd.close().await;
    eventually("all peers gone", || system.server.peers().is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn those_who_vanish_are_silent_and_the_others_go_on() {
    let (system, _renderer) = playing();
    let mut crowd = Crowd::connect(options(&system)).await.unwrap();
    crowd.vanish(VIEWERS / 2).await;
    eventually("the server notices", || {
        let peers = system.server.peers();
        let count = |state| peers.iter().filter(|peer| peer.state == state).count();
        count(avatar_core::event::PeerState::Disconnected) == VIEWERS / 2
    })
    .await;
    let report = crowd.report_window(Duration::from_secs(1)).await.unwrap();
    assert_eq!(
        (report.viewers, report.with_picture),
        (VIEWERS / 2, VIEWERS / 2)
    );
    assert_eq!((report.video.lost, report.incomplete_frames), (0, 0));
    assert!(report.fps.min > 20.0, "{:?}", report.fps);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_speaking_crowd_is_heard_one_by_one() {
    let (system, _renderer) = playing();
    let count = 3;
    let crowd = Crowd::connect(CrowdOptions {
        count,
        microphone: Some(Microphone::Speech),
        ..options(&system)
    })
    .await
    .unwrap();
    let mut heard = std::collections::HashSet::new();
    while heard.len() < count {
        heard.insert(system.event(|event| match event {
            Event::IncomingAudio(speech) => Some(speech.peer),
            _ => None,
        }));
    }
    let report = crowd.report().await.unwrap();
    assert!(report.microphone_packets > 0 && report.unsent == 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn viewers_that_are_not_inspected_only_count_datagrams() {
    let (system, _renderer) = playing();
    let inspect = 0.5;
    let mut crowd = Crowd::connect(CrowdOptions {
        inspect,
        ..options(&system)
    })
    .await
    .unwrap();
    let report = crowd.report_window(Duration::from_secs(1)).await.unwrap();
    assert_eq!(
        (report.with_picture, report.inspected),
        (VIEWERS, VIEWERS / 2)
    );
    let viewers = crowd.viewers().await.unwrap();
    let (inspected, others): (Vec<_>, Vec<_>) = viewers.iter().partition(|viewer| viewer.inspected);
    assert!(
        others
            .iter()
            .all(|viewer| viewer.frames == 0 && viewer.datagrams > 0)
    );
    assert!(inspected.iter().all(|viewer| viewer.frames > 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_server_fails_those_who_come_too_much() {
    let (system, _renderer) = playing();
    let most = 100;
    let count = most + 2;
    let crowd = Crowd::connect(CrowdOptions {
        count,
        ..options(&system)
    })
    .await
    .unwrap();
    assert_eq!(crowd.len(), most);
    let report = crowd.report().await.unwrap();
    assert_eq!(
        (report.viewers, report.with_picture, report.failures.len()),
        (count, most, 2)
    );
    assert!(
        report
            .failures
            .iter()
            .all(|reason| reason.contains("Server full")),
        "{:?}",
        report.failures
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn who_nominates_every_address_is_served_where_it_sends_from() {
    let addresses = json!({"listenIps": ["127.0.0.1", "127.0.0.2"]});
    let system = System::with(addresses, json!({})).unwrap();
    let _renderer = Renderer::start(&system.source, FPS);
    let mut crowd = Crowd::connect(CrowdOptions {
        nominate_all: true,
        ..options(&system)
    })
    .await
    .unwrap();
    // From the first of them, though the second was nominated last.
    crowd.begin_window().await.unwrap();
    let report = crowd.report().await.unwrap();
    assert!(report.failures.is_empty(), "{:?}", report.failures);
    assert_eq!(report.with_picture, VIEWERS);
    crowd.close().await;
}

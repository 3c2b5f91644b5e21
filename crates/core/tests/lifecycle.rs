//! Systems and connections that come, change and go.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod support;

use std::time::{Duration, Instant};

use avatar_core::event::PeerState;
use avatar_viewer::{Viewer, ViewerOptions, decode};
use serde_json::json;
use support::{
    PATIENCE, Renderer, System, eventually, more_frames, number_of, peer_id, push_picture,
};

/// Numbers of all pictures that a viewer decoded so far.
fn numbers(viewer: &Viewer) -> Vec<u32> {
    let report = viewer.report();
    let pictures = decode(&report.video.access_units).unwrap();
    pictures.iter().map(number_of).collect()
}

async fn keeper(system: &System) -> Viewer {
    Viewer::connect(ViewerOptions {
        keep_video: true,
        ..system.options()
    })
    .await
    .unwrap()
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// The server's half of the ICE credentials.
fn server_ufrag(viewer: &Viewer) -> String {
    let answer = viewer.report().answer.unwrap();
    let line = answer
        .lines()
        .find_map(|line| line.strip_prefix("a=ice-ufrag:"));
    line.unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_systems_share_a_port_and_each_viewer_sees_its_own_avatar() {
    let systems = [System::start(json!({})), System::start(json!({}))];
    assert_eq!(systems[0].server.udp_port(), systems[1].server.udp_port());
    let _renderers = [
        Renderer::from_number(0, &systems[0].source, 30),
        Renderer::from_number(10_000, &systems[1].source, 30),
    ];
    let viewers = [keeper(&systems[0]).await, keeper(&systems[1]).await];
    for viewer in &viewers {
        more_frames(viewer, 30).await;
    }
    let seen = [numbers(&viewers[0]), numbers(&viewers[1])];
    assert!(seen[0].iter().all(|number| *number < 10_000), "{seen:?}");
    assert!(seen[1].iter().all(|number| *number >= 10_000), "{seen:?}");

    systems[1].server.stop();
    let report = more_frames(&viewers[0], 30).await;
    assert_eq!(
        (report.video.sequence.lost, report.video.incomplete_frames),
        (0, 0)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_is_taken_is_refused_and_nothing_is_left_running() {
    let system = System::start(json!({}));
    let error = System::on_port(system.port, json!({})).err().unwrap();
    assert_eq!(error.code(), "EADDRINUSE");
    assert!(error.to_string().contains(&system.port.to_string()));
    let _renderer = Renderer::start(&system.source, 30);
    more_frames(&system.viewer().await, 10).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_with_viewers_ends_in_time_and_tells_their_transports() {
    let system = System::start(json!({}));
    let _renderer = Renderer::start(&system.source, 30);
    let mut viewers = Vec::new();
    for _ in 0..5 {
        let page = ViewerOptions {
            outlive_signalling: true,
            ..system.options()
        };
        viewers.push(Viewer::connect(page).await.unwrap());
    }
    for viewer in &viewers {
        more_frames(viewer, 1).await;
    }
    let began = Instant::now();
    system.server.stop();
    let took = began.elapsed();
    assert!(took < Duration::from_secs(2), "stopping took {took:?}");
    assert_eq!(system.server.peer_count(), 0);
    for viewer in &viewers {
        viewer
            .wait_for(PATIENCE, |report| report.dtls_alerts > 0)
            .await
            .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_comes_back_after_a_restart_on_the_same_port() {
    let port = free_port();
    let system = System::on_port(port, json!({})).unwrap();
    let _renderer = Renderer::start(&system.source, 30);
    more_frames(&system.viewer().await, 5).await;
    for _ in 0..3 {
        system.server.stop();
        assert_eq!(system.server.start().unwrap(), port);
        more_frames(&system.viewer().await, 5).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_source_takes_the_place_of_the_first() {
    let system = System::start(json!({}));
    let _first = Renderer::start(&system.source, 30);
    let viewer = keeper(&system).await;
    more_frames(&viewer, 30).await;
    let second = System::another_source();
    system.server.attach(&second);
    let _second = Renderer::from_number(10_000, &second, 30);
    more_frames(&viewer, 60).await;
    let seen = numbers(&viewer);
    let change = seen.iter().position(|number| *number >= 10_000).unwrap();
    assert!(seen.len() >= change + 30, "{seen:?}");
    assert!(
        seen[change..].iter().all(|number| *number >= 10_000),
        "{seen:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_may_begin_anew_over_the_same_websocket() {
    let system = System::start(json!({}));
    let _renderer = Renderer::start(&system.source, 30);
    let viewer = system.viewer().await;
    more_frames(&viewer, 10).await;
    let peer = peer_id(&viewer);
    for round in 2..4 {
        viewer.begin_anew().await;
        viewer
            .wait_for(PATIENCE, |report| report.answers == round)
            .await
            .unwrap();
        more_frames(&viewer, 20).await;
        assert_eq!(peer_id(&viewer), peer);
        assert_eq!(system.server.peer_count(), 1);
        assert_eq!(system.server.peers()[0].state, PeerState::Connected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ice_restart_keeps_media_flowing() {
    let system = System::start(json!({}));
    let _renderer = Renderer::start(&system.source, 30);
    let viewer = system.viewer().await;
    let mut known = vec![server_ufrag(&viewer)];
    more_frames(&viewer, 10).await;
    for answers in 2..5 {
        viewer.renegotiate(true).await;
        viewer
            .wait_for(PATIENCE, |report| report.answers == answers)
            .await
            .unwrap();
        let report = more_frames(&viewer, 30).await;
        assert_eq!(
            (report.video.sequence.lost, report.video.incomplete_frames),
            (0, 0)
        );
        assert_eq!(system.server.peers()[0].state, PeerState::Connected);
        let ufrag = server_ufrag(&viewer);
        assert!(
            !known.contains(&ufrag),
            "an ICE restart needs new credentials"
        );
        known.push(ufrag);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offer_without_an_ice_restart_is_answered_with_the_same_credentials() {
    let system = System::start(json!({}));
    let _renderer = Renderer::start(&system.source, 30);
    let viewer = system.viewer().await;
    let ufrag = server_ufrag(&viewer);
    viewer.renegotiate(false).await;
    viewer
        .wait_for(PATIENCE, |report| report.answers == 2)
        .await
        .unwrap();
    assert_eq!(server_ufrag(&viewer), ufrag);
    let report = more_frames(&viewer, 30).await;
    assert_eq!(report.video.sequence.lost, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_leaves_is_forgotten_and_who_vanishes_too() {
    let system = System::start(json!({}));
    push_picture(&system.source, 1);
    let (polite, abrupt) = (system.viewer().await, system.viewer().await);
    eventually("both are connected", || {
        let peers = system.server.peers();
        peers
            .iter()
            .filter(|peer| peer.state == PeerState::Connected)
            .count()
            == 2
    })
    .await;
    polite.close().await;
    abrupt.vanish().await;
    eventually("nobody is left", || system.server.peer_count() == 0).await;
}

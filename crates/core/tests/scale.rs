//! Many viewers at once. Bounds are generous, since a debug build shares a busy machine with its own load; the
//! figures are in `bench/`.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod support;

use std::time::Duration;

use avatar_core::event::{PeerInfo, PeerState};
use avatar_viewer::crowd::{Crowd, CrowdOptions, CrowdReport};
use serde_json::json;
use support::{PATIENCE, Renderer, System, eventually, now_ms, push_pcm, speech};
use tokio::sync::{Mutex, MutexGuard};

/// Two loads at once would measure each other.
static ALONE: Mutex<()> = Mutex::const_new(());

/// How long a crowd is watched.
const WINDOW: Duration = Duration::from_secs(4);

struct Stage {
    system: System,
    renderer: Renderer,
    _alone: MutexGuard<'static, ()>,
}

impl Stage {
    async fn new() -> Self {
        let alone = ALONE.lock().await;
        let system = System::with(json!({"maxClients": 1_000}), json!({})).unwrap();
        Self {
            renderer: Renderer::start(&system.source, 30),
            system,
            _alone: alone,
        }
    }

    fn options(&self, count: usize) -> CrowdOptions {
        CrowdOptions {
            count,
            connect_timeout: PATIENCE,
            ..CrowdOptions::new(format!("ws://127.0.0.1:{}", self.system.port))
        }
    }

    fn keyframes(&self) -> u64 {
        self.system.source.metrics(now_ms()).keyframes.iter().sum()
    }
}

/// That nothing got lost and nobody fell behind a renderer who may itself have been late.
fn assert_served(report: &CrowdReport, viewers: usize) {
    assert_eq!(report.failures, [""; 0]);
    assert_eq!((report.with_picture, report.gcm), (viewers, viewers));
    assert!(
        report.fps.min >= 0.9 * report.fps.p50 && report.fps.p50 > 15.0,
        "{:?}",
        report.fps
    );
    assert!(report.loss < 0.01, "{}", report.loss);
    assert!(report.decrypted > 0 && report.auth_failures == 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_viewers_are_all_served() {
    let stage = Stage::new().await;
    let mut crowd = Crowd::connect(CrowdOptions {
        decode: 2,
        ..stage.options(200)
    })
    .await
    .unwrap();
    push_pcm(&stage.system.source, &speech(24_000), 24_000);
    let report = crowd.report_window(WINDOW).await.unwrap();
    assert_served(&report, 200);
    assert!(
        report.decode.pictures > 60 && report.decode.broken == 0,
        "{:?}",
        report.decode
    );
    assert!(report.audio.packets > 200 * 100);
    let stats = stage.system.server.network_stats();
    assert_eq!((stats.refused_datagrams, stats.blocked_units), (0, 0));
    assert!(stats.packets >= report.video.packets + report.audio.packets);
    assert_eq!(stage.system.server.peer_count(), 200);
    crowd.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_herd_of_a_hundred_costs_few_keyframes_and_nobody_who_watches_freezes() {
    let stage = Stage::new().await;
    let mut watching = Crowd::connect(stage.options(5)).await.unwrap();
    watching.begin_window().await.unwrap();
    let (before, pushed) = (stage.keyframes(), stage.renderer.pushed());
    // Over a second: each frame of it would be a keyframe, were every newcomer given one.
    let herd = Crowd::connect(CrowdOptions {
        join_rate: 100.0,
        ..stage.options(100)
    })
    .await
    .unwrap();
    let report = watching.report().await.unwrap();
    let keyframes = stage.keyframes() - before;
    let seconds = (stage.renderer.pushed() - pushed) / 30 + 1;
    // At most one a 100 ms at first, then ever fewer: as many for a hundred as for any other number.
    assert!(
        (1..=u64::from(4 + 2 * seconds)).contains(&keyframes),
        "{keyframes} in {seconds} s"
    );
    let joined = herd.report().await.unwrap();
    assert_eq!((joined.failures.len(), joined.with_picture), (0, 100));
    let longest = report.interval_ms.max.unwrap();
    assert!(longest < 800.0, "{longest} ms without a frame");
    assert_eq!(report.frozen_frames, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_who_floods_is_limited_counted_and_noticed_by_nobody() {
    let stage = Stage::new().await;
    let mut crowd = Crowd::connect(CrowdOptions {
        flood: 10_000,
        ..stage.options(20)
    })
    .await
    .unwrap();
    // The burst that anybody may have is over.
    let limited = || {
        stage
            .system
            .server
            .network_stats()
            .refused_keyframe_requests
            > 0
    };
    eventually("requests are refused", limited).await;
    let before = (stage.keyframes(), stage.system.server.network_stats());
    let report = crowd.report_window(WINDOW).await.unwrap();
    assert_served(&report, 20);
    assert!(report.flood.sent > 10_000, "{:?}", report.flood);
    let stats = stage.system.server.network_stats();
    assert!(stats.refused_datagrams > before.1.refused_datagrams + 10_000);
    let again = stats.retransmitted - before.1.retransmitted;
    assert!(
        again <= 600 * (WINDOW.as_secs() + 2),
        "{again} packets sent again"
    );
    let keyframes = stage.keyframes() - before.0;
    assert!(
        keyframes <= WINDOW.as_secs() / 2 + 2,
        "{keyframes} keyframes"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn viewers_who_vanish_change_nothing_for_those_who_stay() {
    let stage = Stage::new().await;
    let mut crowd = Crowd::connect(stage.options(60)).await.unwrap();
    crowd.vanish(20).await;
    let report = crowd.report_window(WINDOW).await.unwrap();
    assert_served(&report, 40);
    let missed = |peer: &PeerInfo| peer.state == PeerState::Disconnected;
    let peers = || stage.system.server.peers();
    eventually("they are missed", || {
        peers().iter().filter(|peer| missed(peer)).count() == 20
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_that_loses_packets_gets_them_from_one_history() {
    let stage = Stage::new().await;
    let mut crowd = Crowd::connect(CrowdOptions {
        drop_incoming: 0.02,
        ..stage.options(50)
    })
    .await
    .unwrap();
    let report = crowd.report_window(WINDOW).await.unwrap();
    assert_eq!(report.with_picture, 50);
    assert!(report.video.recovered > 100, "{:?}", report.video);
    let unrepaired = report.video.lost as f64 / report.video.packets as f64;
    assert!(unrepaired < 0.004, "{unrepaired}");
    let stats = stage.system.server.network_stats();
    assert!(stats.retransmitted >= report.video.recovered);
}

//! What a viewer takes is given back. One test only, since it looks at the process's own memory: the server's and,
//! in the same process, the viewers'.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod support;

use avatar_viewer::crowd::{Crowd, CrowdOptions};
use serde_json::json;
use support::{PATIENCE, Renderer, System, eventually};

const CROWD: usize = 100;
const ROUNDS: usize = 10;

fn resident_kib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_takes_little_and_a_thousand_who_come_and_go_leave_nothing() {
    let system = System::with(json!({"maxClients": CROWD}), json!({})).unwrap();
    let _renderer = Renderer::start(&system.source, 30);
    let options = CrowdOptions {
        connect_timeout: PATIENCE,
        ..CrowdOptions::new(format!("ws://127.0.0.1:{}", system.port))
    };
    let mut crowd = Crowd::connect(CrowdOptions {
        count: 1,
        ..options
    })
    .await
    .unwrap();
    let start = resident_kib();
    let mut after = Vec::new();
    for _ in 0..ROUNDS {
        assert_eq!(crowd.join(CROWD - 1).await.unwrap(), CROWD - 1);
        let viewer = (resident_kib() - start) / CROWD as f64;
        // 200 KiB of the server; the rest is the viewer's own.
        assert!(viewer < 300.0, "{viewer} KiB a viewer");
        crowd.leave(CROWD - 1).await;
        eventually("they left", || system.server.peer_count() == 1).await;
        // What the test's own listener was told.
        while system.events.lock().unwrap().try_recv().is_ok() {}
        after.push(resident_kib());
    }
    // The first rounds fill caches and the allocator's bins.
    let least = |rounds: &[f64]| rounds.iter().copied().fold(f64::MAX, f64::min);
    let growth = least(&after[ROUNDS - 3..]) - least(&after[ROUNDS / 2 - 2..ROUNDS / 2 + 1]);
    assert!(
        growth < 1_024.0,
        "{growth} KiB more after {} viewers: {after:?}",
        CROWD * ROUNDS / 2
    );
}

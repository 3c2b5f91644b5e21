//! Nothing is left of a system that was stopped. One test only, since it counts the process's own threads and
//! files.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod support;

use serde_json::json;
use support::{PATIENCE, System};

/// Threads and open files of this process.
fn held() -> (usize, usize) {
    let count = |path| std::fs::read_dir(path).unwrap().count();
    (count("/proc/self/task"), count("/proc/self/fd"))
}

#[test]
fn fifty_starts_and_stops_leave_no_thread_and_no_file() {
    let before = held();
    let system = System::start(json!({}));
    system.server.stop();
    for round in 0..50 {
        system.server.start().unwrap();
        if round % 10 == 0 {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            support::push_picture(&system.source, round);
            let url = format!("ws://127.0.0.1:{}", system.server.port().unwrap());
            runtime.block_on(async {
                let viewer = avatar_viewer::Viewer::connect(avatar_viewer::ViewerOptions::new(url))
                    .await
                    .unwrap();
                viewer
                    .wait_for(PATIENCE, |report| report.video.frames > 0)
                    .await
                    .unwrap();
                viewer.close().await;
            });
        }
        system.server.stop();
    }
    let until = std::time::Instant::now() + PATIENCE;
    while held() != before {
        assert!(
            std::time::Instant::now() < until,
            "{before:?} threads and files became {:?}",
            held()
        );
        std::thread::yield_now();
    }
}

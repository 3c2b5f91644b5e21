//! Several network threads behind one UDP port: nobody outside can tell.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod support;

use std::collections::HashSet;

use avatar_core::event::Event;
use avatar_viewer::Viewer;
use serde_json::json;
use support::{
    PATIENCE, Renderer, System, eventually, more_frames, opus, peer_id, push_pcm, speech,
};

const THREADS: usize = 3;
const VIEWERS: usize = 9;

async fn system_with_viewers(
    options: impl Fn(avatar_viewer::ViewerOptions) -> avatar_viewer::ViewerOptions,
) -> (System, Vec<Viewer>) {
    let system = System::with(json!({"networkThreads": THREADS}), json!({})).unwrap();
    let mut viewers = Vec::new();
    for seed in 0..VIEWERS {
        let mut options = options(system.options());
        options.seed = seed as u64;
        viewers.push(Viewer::connect(options).await.unwrap());
    }
    let letters: HashSet<_> = viewers.iter().map(shard_letter).collect();
    assert_eq!(letters.len(), THREADS, "viewers on every thread");
    (system, viewers)
}

/// The first letter of the server's ufrag names the thread.
fn shard_letter(viewer: &Viewer) -> char {
    let answer = viewer.report().answer.unwrap();
    let line = answer
        .lines()
        .find_map(|line| line.strip_prefix("a=ice-ufrag:"));
    line.unwrap().chars().next().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn viewers_of_every_thread_get_picture_sound_and_commands() {
    let (system, viewers) = system_with_viewers(|options| options).await;
    let renderer = Renderer::start(&system.source, 30);
    push_pcm(&system.source, &speech(24_000), 24_000);
    for viewer in &viewers {
        let seen = |report: &avatar_viewer::Report| {
            report.video.frames >= 30 && report.audio.sequence.received > 50 && report.channel_open
        };
        let report = viewer.wait_for(PATIENCE, seen).await.unwrap();
        assert_eq!(report.video.sequence.lost + report.audio.sequence.lost, 0);
    }
    assert_eq!(system.server.send_command(None, "wave", json!({})), VIEWERS);
    let last = viewers.last().unwrap();
    let to_one = system
        .server
        .send_command(Some(peer_id(last)), "bow", json!({}));
    assert_eq!(to_one, 1);
    for viewer in &viewers {
        let waved =
            |report: &avatar_viewer::Report| report.commands.iter().any(|c| c.contains("wave"));
        viewer.wait_for(PATIENCE, waved).await.unwrap();
    }
    let bowed = |report: &avatar_viewer::Report| report.commands.iter().any(|c| c.contains("bow"));
    last.wait_for(PATIENCE, bowed).await.unwrap();
    assert!(!bowed(&viewers[0].report()));
    drop(renderer);
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_packets_are_answered_by_every_thread() {
    let (system, viewers) = system_with_viewers(|mut options| {
        options.drop_incoming = Some(0.05);
        options
    })
    .await;
    let renderer = Renderer::start(&system.source, 30);
    for viewer in &viewers {
        let repaired = |report: &avatar_viewer::Report| {
            report.video.frames >= 60 && report.video.rtx_packets > 0
        };
        viewer.wait_for(PATIENCE, repaired).await.unwrap();
    }
    let stats = system.server.network_stats();
    assert!(stats.retransmitted > 0 && stats.packets > stats.retransmitted);
    drop(renderer);
}

#[tokio::test(flavor = "multi_thread")]
async fn microphones_of_every_thread_are_heard_and_told_apart() {
    let opus = opus(&speech(16_000)[..5 * 16_000]);
    let (system, viewers) = system_with_viewers(|mut options| {
        options.microphone = Some(opus.clone());
        options
    })
    .await;
    let mut silent: HashSet<_> = viewers.iter().map(peer_id).collect();
    while !silent.is_empty() {
        let peer = system.event(|event| match event {
            Event::IncomingAudio(speech) => Some(speech.peer),
            _ => None,
        });
        silent.remove(&peer);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_last_viewer_of_all_threads_leaves_encoding_stops_and_a_new_one_starts_it() {
    let (system, mut viewers) = system_with_viewers(|options| options).await;
    let renderer = Renderer::start(&system.source, 30);
    let stayed = viewers.pop().unwrap();
    for viewer in viewers {
        viewer.close().await;
    }
    more_frames(&stayed, 30).await;
    stayed.close().await;
    let encoded = || system.source.metrics(support::now_ms()).encoded_frames;
    eventually("encoding stops", || {
        let before = (encoded(), renderer.pushed());
        std::thread::sleep(std::time::Duration::from_millis(200));
        renderer.pushed() > before.1 && encoded() == before.0
    })
    .await;
    more_frames(&system.viewer().await, 10).await;
}

//! Commands over the data channel, both ways.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod support;

use avatar_core::event::{Event, PeerId};
use avatar_viewer::Viewer;
use serde_json::{Value, json};
use support::{PATIENCE, System, peer_id};

async fn with_channel(system: &System) -> Viewer {
    let viewer = system.viewer().await;
    viewer
        .wait_for(PATIENCE, |report| report.channel_open)
        .await
        .unwrap();
    viewer
}

fn command(system: &System) -> (PeerId, String, Value) {
    system.event(|event| match event {
        Event::Command {
            peer,
            command,
            data,
        } => Some((peer, command, data)),
        _ => None,
    })
}

/// What a viewer got once it has `count` messages.
async fn received(viewer: &Viewer, count: usize) -> Vec<Value> {
    let report = viewer
        .wait_for(PATIENCE, |report| report.commands.len() >= count)
        .await
        .unwrap();
    report
        .commands
        .iter()
        .map(|text| serde_json::from_str(text).unwrap())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewers_command_becomes_an_event_and_anything_else_is_ignored() {
    let system = System::start(json!({}));
    let viewer = with_channel(&system).await;
    for ignored in [
        "hello",
        "",
        "[]",
        "3",
        r#"{"data":1}"#,
        r#"{"command":3}"#,
        "{\"command\":\"cut",
    ] {
        viewer.send_command(ignored).await;
    }
    viewer
        .send_command(r#"{"command":"change-emotion","data":{"emotion":"joy"}}"#)
        .await;
    viewer.send_command(r#"{"command":"bare"}"#).await;
    let peer = peer_id(&viewer);
    assert_eq!(
        command(&system),
        (peer, "change-emotion".to_owned(), json!({"emotion": "joy"}))
    );
    assert_eq!(command(&system), (peer, "bare".to_owned(), Value::Null));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_reaches_one_viewer_or_all() {
    let system = System::start(json!({}));
    let viewers = [
        with_channel(&system).await,
        with_channel(&system).await,
        with_channel(&system).await,
    ];
    // What a viewer says opens the channel for us, too.
    for viewer in &viewers {
        viewer.send_command(r#"{"command":"ready"}"#).await;
        command(&system);
    }
    let one = peer_id(&viewers[1]);
    assert_eq!(system.server.send_command(Some(one), "one", json!(1)), 1);
    assert_eq!(system.server.send_command(None, "all", json!([2])), 3);
    let all = json!({"command": "all", "data": [2]});
    assert_eq!(
        received(&viewers[1], 2).await,
        [json!({"command": "one", "data": 1}), all.clone()]
    );
    for viewer in [&viewers[0], &viewers[2]] {
        assert_eq!(received(viewer, 1).await, std::slice::from_ref(&all));
    }
    let nobody = PeerId::from_u128(7);
    assert_eq!(system.server.send_command(Some(nobody), "x", json!(1)), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_systems_viewer_gets_no_command_of_ours() {
    let (ours, other) = (System::start(json!({})), System::start(json!({})));
    let viewer = with_channel(&other).await;
    viewer.send_command(r#"{"command":"ready"}"#).await;
    command(&other);
    let peer = peer_id(&viewer);
    assert_eq!(ours.server.send_command(Some(peer), "wrong", json!(1)), 0);
    assert_eq!(other.server.send_command(Some(peer), "right", json!(1)), 1);
    assert_eq!(received(&viewer, 1).await[0]["command"], "right");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_of_sixty_kilobytes_passes_both_ways() {
    let system = System::start(json!({}));
    let viewer = with_channel(&system).await;
    let long: String = (0..60_000u32)
        .map(|n| char::from(b'a' + (n % 23) as u8))
        .collect();
    viewer
        .send_command(json!({"command": "long", "data": long}).to_string())
        .await;
    let (_, name, data) = command(&system);
    assert_eq!((name.as_str(), &data), ("long", &json!(long)));
    system.server.send_command(None, "back", data);
    assert_eq!(received(&viewer, 1).await[0]["data"], json!(long));
}

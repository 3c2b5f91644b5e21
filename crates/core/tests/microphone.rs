//! What is said into browsers' microphones.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod support;

use std::time::{Duration, Instant};

use avatar_core::event::{Event, PeerId, Speech};
use avatar_core::microphone::Wanted;
use avatar_viewer::{Viewer, ViewerOptions};
use serde_json::json;
use support::{PATIENCE, System, correlation, eventually, now_ms, opus, peer_id, speech};

const RATE: usize = 16_000;

async fn speaker(system: &System, samples: &[i16]) -> Viewer {
    Viewer::connect(ViewerOptions {
        microphone: Some(opus(samples)),
        ..system.options()
    })
    .await
    .unwrap()
}

/// The level of each packet, as a browser writes it into the header (RFC 6464).
fn levels(samples: &[i16]) -> Vec<u8> {
    let level = |frame: &[i16]| {
        let squares: f64 = frame
            .iter()
            .map(|&s| (f64::from(s) / 32_768.0).powi(2))
            .sum();
        (-10.0 * (squares / frame.len() as f64).log10()).clamp(0.0, 127.0) as u8
    };
    samples.chunks_exact(RATE / 50).map(level).collect()
}

/// One who says how loud it is.
async fn telling_speaker(system: &System, samples: &[i16]) -> Viewer {
    Viewer::connect(ViewerOptions {
        microphone: Some(opus(samples)),
        microphone_levels: Some(levels(samples)),
        ..system.options()
    })
    .await
    .unwrap()
}

async fn has_sent(viewer: &Viewer, packets: usize) {
    let sent = |report: &avatar_viewer::Report| report.microphone_packets >= packets as u64;
    viewer.wait_for(PATIENCE, sent).await.unwrap();
}

/// The loudest eighth of a second.
fn loudest(samples: &[i16]) -> &[i16] {
    samples
        .windows(RATE / 8)
        .step_by(RATE / 80)
        .max_by_key(|part| part.iter().map(|&s| i64::from(s).pow(2)).sum::<i64>())
        .unwrap()
}

fn samples(speech: &[Speech]) -> Vec<i16> {
    speech
        .iter()
        .flat_map(|piece| piece.data.chunks_exact(2))
        .map(|pair| i16::from_le_bytes([pair[0], pair[1]]))
        .collect()
}

/// What is heard of one peer until nothing came for the 1.5 s after which an application transcribes.
struct Heard {
    chunks: Vec<Speech>,
    utterances: Vec<Speech>,
    last_chunk: Instant,
}

async fn listen(system: &System, speakers: &[(PeerId, &Viewer)]) -> Vec<Heard> {
    const QUIET: Duration = Duration::from_millis(1_500);
    let mut heard: Vec<Heard> = speakers
        .iter()
        .map(|_| Heard {
            chunks: Vec::new(),
            utterances: Vec::new(),
            last_chunk: Instant::now(),
        })
        .collect();
    let until = Instant::now() + PATIENCE;
    let mut last = None;
    loop {
        assert!(Instant::now() < until, "the microphones never fell silent");
        tokio::time::sleep(Duration::from_millis(10)).await;
        for event in system.events.lock().unwrap().try_iter() {
            let (Event::IncomingAudio(speech) | Event::Utterance(speech)) = &event else {
                continue;
            };
            let position = speakers.iter().position(|(peer, _)| *peer == speech.peer);
            let of = &mut heard[position.expect("nobody else speaks")];
            last = Some(Instant::now());
            match event {
                Event::IncomingAudio(speech) => {
                    of.last_chunk = Instant::now();
                    of.chunks.push(speech);
                }
                Event::Utterance(speech) => of.utterances.push(speech),
                _ => {}
            }
        }
        if last.is_some_and(|last: Instant| last.elapsed() > QUIET)
            && heard.iter().all(|heard| !heard.utterances.is_empty())
        {
            return heard;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_viewer_says_is_heard_in_chunks_and_as_a_whole() {
    let system = System::start(json!({}));
    let recording = speech(16_000);
    let said = &recording[..3 * RATE];
    let viewer = speaker(&system, said).await;
    let all = said.len() / (RATE / 50);
    let speakers = [(peer_id(&viewer), &viewer)];
    let listening = listen(&system, &speakers);
    let sent = async {
        viewer
            .wait_for(PATIENCE, |report| report.microphone_packets == all as u64)
            .await
            .unwrap();
        Instant::now()
    };
    let (heard, said_until) = tokio::join!(listening, sent);
    let heard = &heard[0];
    for chunk in &heard.chunks {
        assert_eq!(
            (chunk.data.len(), chunk.sample_rate, chunk.channels),
            (3_200, 16_000, 1)
        );
    }
    let times = heard.chunks.windows(2);
    assert!(
        times
            .into_iter()
            .all(|pair| pair[1].timestamp_ms > pair[0].timestamp_ms)
    );
    assert!(
        heard.last_chunk < said_until + Duration::from_millis(1_500),
        "chunks went on for {:?}",
        heard.last_chunk - said_until
    );
    for whole in [samples(&heard.chunks), samples(&heard.utterances)] {
        let match_ = correlation(&whole, loudest(said));
        assert!(match_ > 0.8, "correlation {match_:.3}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_who_speak_at_once_are_kept_apart() {
    let system = System::start(json!({}));
    let recording = speech(16_000);
    let said = [&recording[..3 * RATE], &recording[6 * RATE..9 * RATE]];
    let viewers = tokio::join!(speaker(&system, said[0]), speaker(&system, said[1]));
    let speakers = [&viewers.0, &viewers.1].map(|viewer| (peer_id(viewer), viewer));
    let heard = listen(&system, &speakers).await;
    for (own, heard) in heard.iter().enumerate() {
        for whole in [samples(&heard.chunks), samples(&heard.utterances)] {
            let (mine, other) = (loudest(said[own]), loudest(said[1 - own]));
            let (mine, other) = (correlation(&whole, mine), correlation(&whole, other));
            assert!(mine > 0.8, "correlation {mine:.3} with the own voice");
            assert!(other < 0.6, "correlation {other:.3} with the other voice");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_before_somebody_speaks_is_not_heard() {
    let system = System::start(json!({}));
    let mut said = vec![0; 2 * RATE];
    said.extend(&speech(16_000)[..2 * RATE]);
    let viewer = speaker(&system, &said).await;
    let connected_ms = now_ms();
    let heard = listen(&system, &[(peer_id(&viewer), &viewer)]).await;
    let first = heard[0].chunks[0].timestamp_ms - connected_ms;
    // The pre-roll reaches back some hundred milliseconds before the voice.
    assert!(first > 1_200.0, "heard {first:.0} ms after connecting");
    let total = samples(&heard[0].utterances).len();
    assert!(total < 7 * RATE / 2, "{total} samples");
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_microphones_have_no_decoder_and_one_who_speaks_has() {
    let system = System::start(json!({}));
    let silence = vec![0; 4 * RATE];
    let mut said = vec![0; RATE];
    said.extend(&speech(16_000)[..2 * RATE]);
    said.extend(vec![0; 2 * RATE]);
    let silent = tokio::join!(
        telling_speaker(&system, &silence),
        telling_speaker(&system, &silence)
    );
    let speaker = telling_speaker(&system, &said).await;
    let peer = peer_id(&speaker);
    let mut most = 0;
    let speakers = [(peer, &speaker)];
    let hear = listen(&system, &speakers);
    let watch = async {
        eventually("the silent ones have said all", || {
            most = most.max(system.server.microphone_usage().decoders);
            let sent = |viewer: &Viewer| viewer.report().microphone_packets >= 200;
            sent(&silent.0) && sent(&silent.1)
        })
        .await;
    };
    let (heard, ()) = tokio::join!(hear, watch);
    assert_eq!(most, 1, "decoders at once");
    let match_ = correlation(&samples(&heard[0].utterances), loudest(&said));
    assert!(match_ > 0.8, "correlation {match_:.3}");
    let usage = system.server.microphone_usage();
    // Two seconds of speech, the pre-roll and a second or so after it.
    assert!((100..=190).contains(&usage.packets), "{usage:?}");
    eventually("nobody speaks", || {
        system.server.microphone_usage().decoders == 0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_decoded_while_nobody_listens_whoever_speaks() {
    let system = System::start(json!({}));
    system.server.set_listening(wanted(false, false));
    let said = speech(16_000);
    let told = telling_speaker(&system, &said).await;
    let untold = speaker(&system, &said).await;
    for viewer in [&told, &untold] {
        has_sent(viewer, 50).await;
    }
    assert_eq!(system.server.microphone_usage().packets, 0);

    // In mid-speech somebody begins to listen, to chunks first.
    system.server.set_listening(wanted(true, false));
    for peer in [peer_id(&told), peer_id(&untold)] {
        system.event(|event| match event {
            Event::IncomingAudio(speech) if speech.peer == peer => Some(()),
            Event::Utterance(_) => panic!("nobody listens to utterances"),
            _ => None,
        });
    }
    system.server.set_listening(wanted(false, true));
    eventually("the last chunk has come", || {
        let events = system.events.lock().unwrap();
        let chunk = |event| matches!(event, Event::IncomingAudio(_));
        !events.try_iter().any(chunk)
    })
    .await;
    system.server.set_listening(wanted(false, false));
    // What was open ends; nothing begins.
    eventually("nobody is heard", || {
        system.server.microphone_usage().decoders == 0
    })
    .await;
    let packets = system.server.microphone_usage().packets;
    let sent = told.report().microphone_packets as usize;
    has_sent(&told, (sent + 50).min(said.len() / (RATE / 50))).await;
    assert_eq!(system.server.microphone_usage().packets, packets);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_listened_to_outlasts_a_restart_of_the_server() {
    let system = System::start(json!({}));
    system.server.set_listening(wanted(false, false));
    system.server.stop();
    let port = system.server.start().unwrap();
    let said = speech(16_000);
    let viewer = Viewer::connect(ViewerOptions {
        url: format!("ws://127.0.0.1:{port}"),
        microphone: Some(opus(&said)),
        ..system.options()
    })
    .await
    .unwrap();
    has_sent(&viewer, 50).await;
    assert_eq!(system.server.microphone_usage().packets, 0);
}

fn wanted(chunks: bool, utterances: bool) -> Wanted {
    Wanted {
        chunks,
        utterances,
        speech: false,
    }
}

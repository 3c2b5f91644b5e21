//! What viewers of different codecs receive of one stream.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod support;

use std::time::Duration;

use avatar_core::event::Event;
use avatar_core::media::g711::Law;
use avatar_viewer::{AudioCodec, VideoCodec, Viewer, ViewerError, ViewerOptions, decode};
use serde_json::json;
use support::{
    PATIENCE, Renderer, System, correlation, eventually, more_frames, number_of, psnr, push_pcm,
    speech, sweep,
};

impl System {
    /// A viewer that offers these codecs and keeps its frames.
    async fn viewer_of(&self, codecs: &[VideoCodec]) -> Viewer {
        let options = ViewerOptions {
            video_codecs: codecs.to_vec(),
            keep_video: true,
            ..self.options()
        };
        Viewer::connect(options).await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn viewers_of_every_codec_see_at_once_and_in_time_what_is_pushed() {
    let system = System::start(json!({}));
    let renderer = Renderer::start(&system.source, 30);
    let mut viewers = Vec::new();
    for codec in VideoCodec::ALL {
        viewers.push((codec, system.viewer_of(&[codec]).await));
    }
    for (codec, viewer) in &viewers {
        let pushed = renderer.pushed();
        let report = more_frames(viewer, 60).await;
        let units = &report.video.access_units;
        assert!(units.iter().all(|unit| unit.codec == *codec));
        assert_eq!(report.video.incomplete_frames, 0, "{codec:?}");
        let pictures = decode(units).unwrap();
        let numbers: Vec<u32> = pictures.iter().map(number_of).collect();
        let missed = numbers
            .windows(2)
            .map(|pair| pair[1] - pair[0] - 1)
            .sum::<u32>();
        // Three encoders of a debug build, on a machine that may be busy: some pictures are superseded. No other is missed.
        let superseded = system.source.metrics(support::now_ms()).superseded_frames;
        assert!(
            u64::from(missed) <= superseded,
            "{codec:?}: {superseded} of {numbers:?}"
        );
        // In step with the source: what came last is what was pushed last, but for what is on its way.
        assert!(
            *numbers.last().unwrap() + 10 > pushed + 60,
            "{codec:?}: {numbers:?}"
        );
        for (picture, number) in pictures.iter().zip(numbers) {
            let noise = psnr(picture, number);
            assert!(
                noise >= 30.0,
                "{codec:?}: picture {number} has {noise:.1} dB"
            );
        }
    }
    // Three encoders in the time of a frame: on a machine that does other things too, a few frames are missed.
    let superseded = system.source.metrics(support::now_ms()).superseded_frames;
    assert!(
        superseded * 10 <= u64::from(renderer.pushed()),
        "{superseded}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn each_viewer_gets_the_first_of_the_list_that_it_has() {
    use VideoCodec::{H264, Vp8, Vp9};
    let system = System::with(json!({"videoCodec": "VP8"}), json!({})).unwrap();
    let _renderer = Renderer::start(&system.source, 30);
    for (offered, expected) in [
        (&[H264, Vp8, Vp9][..], Vp8),
        (&[H264], H264),
        (&[Vp9, H264], H264),
        (&[Vp9], Vp9),
    ] {
        let viewer = system.viewer_of(offered).await;
        let report = more_frames(&viewer, 10).await;
        let units = &report.video.access_units;
        assert!(
            units.iter().all(|unit| unit.codec == expected),
            "{offered:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_without_a_codec_of_the_list_is_told_both_lists_and_nothing_else_happens() {
    let system = System::with(json!({"videoCodec": ["H264", "VP9"]}), json!({})).unwrap();
    let _renderer = Renderer::start(&system.source, 30);
    let happy = system.viewer_of(&[VideoCodec::Vp9]).await;
    let options = ViewerOptions {
        video_codecs: vec![VideoCodec::Vp8],
        connect_timeout: Duration::from_secs(2),
        ..system.options()
    };
    let Err(ViewerError::Timeout { state, .. }) = Viewer::connect(options).await else {
        panic!("it connected");
    };
    let expected = "no video codec in common: the offer has VP8, this server sends \
                    H264 (baseline, packetization-mode=1), VP9 (profile-id=0)";
    assert!(state.contains(expected), "{state}");
    let mut offers = 0;
    system.event(|event| {
        offers += u32::from(matches!(event, Event::Offer { .. }));
        (offers == 2).then_some(())
    });
    let report = more_frames(&happy, 30).await;
    assert_eq!(report.video.incomplete_frames, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_packets_of_vp8_and_vp9_are_sent_again() {
    let system = System::start(json!({}));
    let _renderer = Renderer::start(&system.source, 30);
    for codec in [VideoCodec::Vp8, VideoCodec::Vp9] {
        let lossy = ViewerOptions {
            video_codecs: vec![codec],
            drop_incoming: Some(0.1),
            seed: 7,
            ..system.options()
        };
        let viewer = Viewer::connect(lossy).await.unwrap();
        let report = more_frames(&viewer, 100).await;
        assert!(report.dropped_on_purpose > 10 && report.video.rtx_packets > 0);
        let broken = report.video.incomplete_frames;
        assert!(broken <= 10, "{codec:?}: {broken} broken frames");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_encoder_works_only_while_somebody_watches_its_layer() {
    let system = System::start(json!({}));
    let _renderer = Renderer::start(&system.source, 30);
    let stays = system.viewer_of(&[VideoCodec::H264]).await;
    more_frames(&stays, 10).await;
    let keyframes = || {
        system
            .source
            .metrics(support::now_ms())
            .keyframes
            .iter()
            .sum::<u64>()
    };
    let before = keyframes();
    for round in 1..=2 {
        let comes = system.viewer_of(&[VideoCodec::Vp8]).await;
        let report = more_frames(&comes, 20).await;
        assert!(report.video.access_units[0].keyframe, "it begins with one");
        comes.close().await;
        eventually("it left", || system.server.peer_count() == 1).await;
        // A keyframe for each who comes, of a layer that nobody else watches.
        let made = keyframes() - before;
        assert!((round..=2 * round).contains(&made), "{made} keyframes");
        let report = more_frames(&stays, 10).await;
        assert_eq!(report.video.keyframes, 1, "those are not of its layer");
    }
}

/// PCMU and PCMA with their payload types.
const TELEPHONES: [(AudioCodec, Law, u8); 2] = [
    (AudioCodec::Pcmu, Law::Mu, 0),
    (AudioCodec::Pcma, Law::A, 8),
];

#[tokio::test(flavor = "multi_thread")]
async fn viewers_without_opus_hear_what_was_pushed_beside_one_with_opus() {
    let system = System::start(json!({}));
    let mut viewers = Vec::new();
    for codec in AudioCodec::ALL {
        let options = ViewerOptions {
            audio_codecs: vec![codec],
            keep_audio: true,
            ..system.options()
        };
        viewers.push(Viewer::connect(options).await.unwrap());
    }
    let pushed = sweep(200.0, 3_000.0, 2.0, 24_000);
    push_pcm(&system.source, &pushed, 24_000);
    // At 8 kHz, from each of its three samples on: a delay of less than a sample turns the phase of high sounds.
    let middles: Vec<Vec<i16>> = (0..3)
        .map(|phase| {
            let samples = pushed.iter().skip(12_000 + phase).step_by(3);
            samples.take(6_000).copied().collect()
        })
        .collect();
    for (viewer, (_, law, payload_type)) in viewers[1..].iter().zip(TELEPHONES) {
        let is_whole = |report: &avatar_viewer::Report| report.audio.packets.len() >= 130;
        let report = viewer.wait_for(PATIENCE, is_whole).await.unwrap();
        let packets = &report.audio.packets;
        let is_ours = |packet: &avatar_viewer::AudioPacket| {
            packet.payload_type == payload_type && packet.data.len() == 160
        };
        assert!(packets.iter().all(is_ours), "{law:?}");
        let spoken = packets.iter().position(|packet| packet.marker).unwrap();
        for pair in packets[spoken..spoken + 100].windows(2) {
            assert_eq!(pair[1].timestamp.wrapping_sub(pair[0].timestamp), 160);
        }
        let heard = packets.iter().flat_map(|packet| &packet.data);
        let heard: Vec<i16> = heard.map(|code| law.decode(*code)).collect();
        let matches = middles.iter().map(|middle| correlation(&heard, middle));
        let match_ = matches.fold(0.0, f64::max);
        assert!(match_ > 0.98, "{law:?}: correlation {match_:.3}");
    }
    let report = viewers[0].report();
    assert!(
        report
            .audio
            .packets
            .iter()
            .all(|packet| packet.payload_type == 111)
    );
    assert!(report.audio.packets.len() > 90);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_microphone_of_a_viewer_without_opus_is_heard() {
    let said = speech(16_000);
    let narrow: Vec<i16> = said
        .chunks_exact(2)
        .map(|pair| (pair[0] / 2) + (pair[1] / 2))
        .collect();
    for (codec, law, _) in TELEPHONES {
        let system = System::start(json!({}));
        let code = |frame: &[i16]| frame.iter().map(|sample| law.encode(*sample)).collect();
        let options = ViewerOptions {
            audio_codecs: vec![codec],
            microphone: Some(narrow.chunks_exact(160).map(code).collect()),
            ..system.options()
        };
        let _viewer = Viewer::connect(options).await.unwrap();
        let utterance = system.event(|event| match event {
            Event::Utterance(speech) => Some(speech),
            _ => None,
        });
        assert_eq!((utterance.sample_rate, utterance.channels), (16_000, 1));
        let heard: Vec<i16> = (utterance.data.chunks_exact(2))
            .map(|pair| i16::from_le_bytes([pair[0], pair[1]]))
            .collect();
        let part = &heard[heard.len() / 4..][..4_000];
        let match_ = correlation(&said, part);
        assert!(match_ > 0.9, "{law:?}: correlation {match_:.3}");
    }
}

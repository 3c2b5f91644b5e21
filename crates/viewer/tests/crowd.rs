//! A crowd against webrtc-rs's own peer connections: another implementation of all that it speaks.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    missing_docs,
    reason = "a test"
)]

mod support;

use std::time::Duration;

use avatar_viewer::SrtpProtectionProfile;
use avatar_viewer::crowd::{Crowd, CrowdOptions, CrowdReport, Microphone};
use support::{Behaviour, serve};

const WINDOW: Duration = Duration::from_secs(2);
const VIEWERS: usize = 3;

/// What a crowd sees that opens every packet.
async fn watch(behaviour: Behaviour, change: impl FnOnce(&mut CrowdOptions)) -> CrowdReport {
    let server = serve(behaviour).await;
    let mut options = CrowdOptions {
        count: VIEWERS,
        decrypt: 1.0,
        decode: 1,
        ..CrowdOptions::new(&server.url)
    };
    change(&mut options);
    let mut crowd = Crowd::connect(options).await.unwrap();
    let report = crowd.report_window(WINDOW).await.unwrap();
    crowd.close().await;
    assert!(report.failures.is_empty(), "{:?}", report.failures);
    assert_eq!((report.with_picture, report.auth_failures), (VIEWERS, 0));
    assert!(report.decrypted > 0 && report.frames > 0);
    assert_eq!((report.decode.broken, report.decode.skipped), (0, 0));
    assert!(report.decode.pictures > 0);
    report
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_receives_across_the_roll_over_of_sequence_numbers() {
    let report = watch(Behaviour::default(), |_| ()).await;
    assert_eq!(
        (report.video.lost, report.audio.lost, report.gcm),
        (0, 0, VIEWERS)
    );
    assert!(report.fps.min > 20.0, "{:?}", report.fps);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_answers_a_server_that_offers() {
    for trickle in [false, true] {
        let behaviour = Behaviour {
            offers: true,
            trickle,
            rtx: true,
            ..Behaviour::default()
        };
        let report = watch(behaviour, |options| options.wait_for_offer = true).await;
        assert_eq!((report.video.lost, report.connected), (0, VIEWERS));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn aes_cm_serves_where_gcm_is_not_offered() {
    let report = watch(Behaviour::default(), |options| {
        options.srtp_profiles = vec![SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80];
    })
    .await;
    assert_eq!((report.gcm, report.video.lost), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn doubled_packets_are_counted_once_and_as_twice() {
    let behaviour = Behaviour {
        double_every: Some(10),
        ..Behaviour::default()
    };
    let report = watch(behaviour, |_| ()).await;
    let expected = report.video.packets / 10;
    assert!(
        report.video.duplicates.abs_diff(expected) <= expected / 2,
        "{:?}",
        report.video
    );
    assert_eq!(report.video.lost, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_of_microphones_is_heard() {
    let server = serve(Behaviour::default()).await;
    let options = CrowdOptions {
        microphone: Some(Microphone::Speech),
        ..CrowdOptions::new(&server.url)
    };
    let mut crowd = Crowd::connect(options).await.unwrap();
    let report = crowd.report_window(WINDOW).await.unwrap();
    // 50 a second, as far as a busy machine lets.
    assert!(
        (50..=110).contains(&report.microphone_packets),
        "{}",
        report.microphone_packets
    );
    crowd.close().await;
    let heard = server.log.lock().microphone.clone();
    assert!(heard.len() as u64 >= report.microphone_packets);
    let samples = avatar_viewer::decode_opus(&heard).unwrap();
    let loudest = samples.iter().map(|sample| sample.unsigned_abs()).max();
    assert!(loudest > Some(3_000), "{loudest:?}");
}

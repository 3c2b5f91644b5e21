use std::sync::Arc;

use parking_lot::Mutex;
use proptest::prelude::*;

use super::*;
use crate::codec::AudioCodec;
use crate::media::audio::tests::{correlation, read_wav, sine};

const MS: Duration = Duration::from_millis(1);
const T0: f64 = 1_700_000_000_000.0;

/// 20 ms Opus packets as a browser makes them: 48 kHz clock, in-band FEC.
pub(crate) fn packets(samples: &[i16], rate: u32, dtx: bool) -> Vec<Vec<u8>> {
    let voip = opus::Application::Voip;
    let mut encoder = opus::Encoder::new(rate, opus::Channels::Mono, voip).unwrap();
    encoder.set_bitrate(opus::Bitrate::Bits(32_000)).unwrap();
    encoder.set_inband_fec(true).unwrap();
    encoder.set_packet_loss_perc(10).unwrap();
    encoder.set_dtx(dtx).unwrap();
    (samples.chunks_exact(rate as usize / 50))
        .map(|frame| encoder.encode_vec(frame, 1_276).unwrap())
        .collect()
}

fn packet(received: Instant, sequence: u16, timestamp: u32, payload: &[u8]) -> MicrophonePacket {
    MicrophonePacket {
        received,
        sequence,
        timestamp,
        payload: Bytes::copy_from_slice(payload),
    }
}

/// Half a second of silence, the recording, and a second of silence: and where the voice begins, in ms.
pub(crate) fn speech() -> (Vec<i16>, u32) {
    let (speech, rate) = read_wav("speech-16k.wav");
    assert_eq!(rate, 16_000);
    let onset = speech.iter().position(|s| s.unsigned_abs() > 800).unwrap();
    let mut samples = vec![0; 8_000];
    samples.extend(speech);
    samples.extend([0; 16_000]);
    (samples, 500 + onset as u32 / 16)
}

/// A simulated network: each packet arrives when `arrival` says (ms after it was sent), or not at all.
/// Time runs a millisecond at a time, for 3 s after the last packet.
fn hear(
    config: &MicrophoneConfig,
    packets: &[Vec<u8>],
    arrival: impl Fn(usize) -> Option<u32>,
) -> (Vec<(u32, Event)>, MicrophoneStats) {
    let mut microphone = Microphone::new(PeerId::nil(), AudioCodec::Opus, config).unwrap();
    let start = Instant::now();
    let mut arrivals: Vec<(u32, usize)> = (0..packets.len())
        .filter_map(|n| arrival(n).map(|delay| (n as u32 * 20 + delay, n)))
        .collect();
    arrivals.sort();
    let mut arrivals = arrivals.into_iter().peekable();
    let (mut events, mut out) = (Vec::new(), Vec::new());
    for at in 0..packets.len() as u32 * 20 + 3_000 {
        let (now, wall_ms) = (start + at * MS, T0 + f64::from(at));
        while let Some((_, n)) = arrivals.next_if(|&(due, _)| due <= at) {
            let (sequence, timestamp) = (65_500 + n as u32, 4_294_900_000_u64 + n as u64 * 960);
            let packet = packet(now, sequence as u16, timestamp as u32, &packets[n]);
            microphone.on_packet(now, wall_ms, packet, &mut out);
        }
        if microphone.next_timeout().is_some_and(|due| due <= now) {
            microphone.on_timeout(now, &mut out);
            let next = microphone.next_timeout();
            assert!(microphone.is_over(now) || next.is_none_or(|due| due > now));
        }
        events.extend(out.drain(..).map(|event| (at, event)));
    }
    (events, microphone.stats())
}

fn pcm(speech: &Speech) -> Vec<f32> {
    (speech.data.as_chunks::<2>().0.iter())
        .map(|&s| f32::from(i16::from_le_bytes(s)) / 32_768.0)
        .collect()
}

fn utterances(events: &[(u32, Event)]) -> Vec<&Speech> {
    (events.iter())
        .filter_map(|(_, event)| match event {
            Event::Utterance(speech) => Some(speech),
            _ => None,
        })
        .collect()
}

fn chunks(events: &[(u32, Event)]) -> Vec<(u32, &Speech)> {
    (events.iter())
        .filter_map(|(at, event)| match event {
            Event::IncomingAudio(speech) => Some((*at, speech)),
            _ => None,
        })
        .collect()
}

#[test]
fn speech_over_a_bad_network_is_heard_from_its_first_syllable() {
    let (samples, onset_ms) = speech();
    // 0 to 40 ms of jitter, and one packet in 20 lost.
    let (events, stats) = hear(
        &MicrophoneConfig::default(),
        &packets(&samples, 16_000, false),
        |n| (n % 20 != 7).then_some((n as u32 * 7_919) % 41),
    );
    assert!(stats.lost > 10 && stats.late == 0, "{stats:?}");
    let original: Vec<f32> = samples.iter().map(|&s| f32::from(s) / 32_768.0).collect();

    let utterances = utterances(&events);
    let first_ms = utterances[0].timestamp_ms - T0;
    let onset_ms = f64::from(onset_ms);
    assert!(
        (onset_ms - 500.0..=onset_ms + 20.0).contains(&first_ms),
        "{first_ms} {onset_ms}"
    );
    for utterance in &utterances {
        let heard = pcm(utterance);
        // The timestamp says where in the original it is, give or take the jitter.
        let at = ((utterance.timestamp_ms - T0 - 100.0).max(0.0) * 16.0) as usize;
        let (best, _) = correlation(&heard, &original[at..], 3_200);
        assert!(best > 0.85, "{best}");
    }
    let said: f32 = original.iter().map(|s| s * s).sum();
    let heard: f32 = utterances.iter().flat_map(|u| pcm(u)).map(|s| s * s).sum();
    assert!(heard > 0.9 * said, "{heard} of {said}");

    let chunks = chunks(&events);
    assert!(chunks.iter().all(|(_, chunk)| chunk.data.len() == 3_200));
    let end_ms = samples.len() as u32 / 16 - 1_000;
    let last_ms = chunks.last().unwrap().0;
    assert!(last_ms < end_ms + 1_500, "{last_ms} {end_ms}");
    let bytes: usize = utterances.iter().map(|u| u.data.len()).sum();
    assert!(
        chunks.len() * 3_200 >= bytes && chunks.len() * 3_200 < bytes + 3_200 * utterances.len()
    );
}

#[test]
fn a_browser_that_mutes_in_mid_word_ends_its_utterance() {
    let (samples, onset_ms) = speech();
    let packets = packets(&samples, 16_000, false);
    let last = onset_ms as usize / 20 + 50;
    let (events, _) = hear(&MicrophoneConfig::default(), &packets, |n| {
        (n <= last).then_some(0)
    });
    let sent_ms = last as u32 * 20;
    let spoken = utterances(&events);
    assert!(!spoken.is_empty());
    let end = spoken.last().unwrap();
    let end_ms = end.timestamp_ms - T0 + end.data.len() as f64 / 32.0;
    assert!(end_ms > f64::from(sent_ms), "{end_ms} {sent_ms}");
    let (last_ms, _) = events.last().unwrap();
    assert!(*last_ms < sent_ms + 1_500, "{last_ms} {sent_ms}");
}

#[test]
fn dtx_is_silence_and_not_loss() {
    let (samples, _) = speech();
    let packets = packets(&samples, 16_000, true);
    let sent: Vec<bool> = packets.iter().map(|packet| packet.len() > 2).collect();
    let dense: Vec<usize> = (0..packets.len()).filter(|&n| sent[n]).collect();
    assert!(dense.len() < packets.len());
    // Packets that are not sent do not take a sequence number.
    let mut microphone = Microphone::new(
        PeerId::nil(),
        AudioCodec::Opus,
        &MicrophoneConfig::default(),
    )
    .unwrap();
    let (start, mut out, mut events) = (Instant::now(), Vec::new(), Vec::new());
    for (sequence, &n) in dense.iter().enumerate() {
        let at = n as u32 * 20;
        while let Some(due) = microphone
            .next_timeout()
            .filter(|&due| due <= start + at * MS)
        {
            microphone.on_timeout(due, &mut out);
        }
        let (now, wall_ms) = (start + at * MS, T0 + f64::from(at));
        let timestamp = n as u32 * 960;
        let packet = packet(now, sequence as u16, timestamp, &packets[n]);
        microphone.on_packet(now, wall_ms, packet, &mut out);
        events.extend(out.drain(..).map(|event| (at, event)));
    }
    assert_eq!(microphone.stats().lost, 0);
    let original: Vec<f32> = samples.iter().map(|&s| f32::from(s) / 32_768.0).collect();
    assert!(!utterances(&events).is_empty());
    for utterance in utterances(&events) {
        let at = ((utterance.timestamp_ms - T0 - 50.0).max(0.0) * 16.0) as usize;
        let (best, _) = correlation(&pcm(utterance), &original[at..], 1_600);
        assert!(best > 0.8, "{best} at {}", utterance.timestamp_ms - T0);
    }
}

#[test]
fn noise_hum_and_silence_are_no_speech() {
    let mut seed = 1_u32;
    let mut noise = || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f64::from(seed >> 8) / f64::from(1 << 23) - 1.0
    };
    // White noise at -50 dBFS: uniform, so its peak is sqrt(3) times that.
    let white: Vec<i16> = (0..160_000)
        .map(|_| (noise() * 32_768.0 * 0.00316 * 1.732) as i16)
        .collect();
    for (name, samples) in [
        ("silence", vec![0; 160_000]),
        ("white noise", white),
        ("hum", sine(50.0, 0.02, 16_000, 160_000)),
        ("a beep", sine(1_000.0, 0.05, 16_000, 160_000)),
    ] {
        let (events, _) = hear(
            &MicrophoneConfig::default(),
            &packets(&samples, 16_000, false),
            |_| Some(0),
        );
        let open_ms = chunks(&events).len() * 100;
        assert!(open_ms <= 1_000, "{name}: open for {open_ms} ms of 10 s");
        assert!(name != "silence" || events.is_empty());
    }
}

#[test]
fn every_rate_and_channel_count_is_delivered_as_asked() {
    let (samples, _) = speech();
    let packets = packets(&samples, 16_000, false);
    for (sample_rate, channels) in [(8_000, 1), (44_100, 1), (48_000, 2), (22_050, 2)] {
        let config = MicrophoneConfig {
            sample_rate,
            channels,
            ..MicrophoneConfig::default()
        };
        let (events, _) = hear(&config, &packets, |_| Some(0));
        let bytes = (sample_rate / 10) as usize * usize::from(channels) * 2;
        let chunks = chunks(&events);
        assert!(chunks.len() > 20, "{sample_rate}");
        assert!(chunks.iter().all(|(_, chunk)| chunk.data.len() == bytes));
        assert!(!utterances(&events).is_empty());
    }
}

#[test]
fn without_gating_chunks_come_all_the_time() {
    let config = MicrophoneConfig {
        voice_gating: false,
        ..MicrophoneConfig::default()
    };
    let (events, _) = hear(&config, &packets(&[0; 32_000], 16_000, false), |_| Some(0));
    assert_eq!(chunks(&events).len(), 20);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn garbage_never_panics(
        garbage in proptest::collection::vec(
            (any::<u16>(), any::<u32>(), proptest::collection::vec(any::<u8>(), 0..300), 0_u32..500),
            1..60,
        ),
        sample_rate in 8_000_u32..=48_000, channels in 1_u16..=2, voice_gating: bool,
    ) {
        let config = MicrophoneConfig { sample_rate, channels, voice_gating, ..MicrophoneConfig::default() };
        let mut microphone = Microphone::new(PeerId::nil(), AudioCodec::Opus, &config).unwrap();
        let (mut now, mut out) = (Instant::now(), Vec::new());
        for (n, (jump, timestamp, mut payload, wait)) in garbage.into_iter().enumerate() {
            now += wait * MS;
            if jump == 0 {
                payload.resize(65_000, 7);
            }
            let sequence = if jump % 8 == 0 { jump } else { n as u16 };
            let packet = packet(now, sequence, timestamp, &payload);
            microphone.on_packet(now, T0, packet, &mut out);
            microphone.on_timeout(now, &mut out);
        }
        microphone.close(&mut out);
        prop_assert!(microphone.is_over(now) || microphone.next_timeout().is_none_or(|at| at > now));
    }
}

#[test]
fn the_thread_delivers_what_was_said_when_a_peer_leaves() {
    let (samples, onset_ms) = speech();
    let packets = packets(&samples, 16_000, false);
    let events = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&events);
    let worker = MicrophoneWorker::spawn().unwrap();
    let (handle, peer) = (worker.handle(), PeerId::from_u128(7));
    let sink = Arc::new(move |event| seen.lock().push((0, event)));
    let hearing = Hearing::new(&MicrophoneConfig::default(), sink);
    let spoken = onset_ms as usize / 20 + 50;
    let spurt = |n: usize, payload: &[u8]| Spurt {
        begins: n == 0,
        codec: AudioCodec::Opus,
        packets: vec![packet(Instant::now(), n as u16, n as u32 * 960, payload)],
    };
    for (n, packet) in packets.iter().take(spoken).enumerate() {
        handle.hear(peer, &hearing, spurt(n, packet));
    }
    handle.close(peer);
    let begun = Instant::now();
    while utterances(&events.lock()).is_empty() || hearing.usage().decoders > 0 {
        assert!(begun.elapsed() < Duration::from_secs(10));
        std::thread::park_timeout(MS);
    }
    assert_eq!(handle.dropped(), 0);
    assert_eq!(hearing.usage().packets, spoken as u64);
    drop(worker);
    handle.hear(peer, &hearing, spurt(0, &[]));
    assert_eq!((handle.dropped(), hearing.usage().dropped), (1, 1));
}

/// `cargo test --release -p avatar-core microphone -- --ignored --nocapture`
#[test]
#[ignore = "a measurement: prints what one packet costs"]
fn one_packet_is_cheap() {
    let (samples, _) = speech();
    let packets = packets(&samples, 16_000, false);
    let mut microphone = Microphone::new(
        PeerId::nil(),
        AudioCodec::Opus,
        &MicrophoneConfig::default(),
    )
    .unwrap();
    let (now, mut out, mut costs) = (Instant::now(), Vec::new(), Vec::new());
    for (n, packet) in packets.iter().enumerate() {
        let before = Instant::now();
        let at = now + n as u32 * 20 * MS;
        let packet = self::packet(at, n as u16, n as u32 * 960, packet);
        microphone.on_packet(at, T0, packet, &mut out);
        costs.push(before.elapsed());
    }
    costs.sort();
    println!(
        "a packet: median {:?}, 95 % {:?}",
        costs[costs.len() / 2],
        costs[costs.len() * 95 / 100]
    );
}

/// `cargo test -p avatar-core how_quiet -- --ignored --nocapture`
#[test]
#[ignore = "a measurement: prints how loud what the gate lets through is"]
fn how_quiet_speech_may_be() {
    let (samples, _) = speech();
    for fall_db in (0..=60).step_by(5) {
        let gain = 10_f64.powf(-f64::from(fall_db) / 20.0);
        let quiet: Vec<i16> = samples
            .iter()
            .map(|&s| (f64::from(s) * gain).round() as i16)
            .collect();
        let (events, _) = hear(
            &MicrophoneConfig::default(),
            &packets(&quiet, 16_000, false),
            |_| Some(0),
        );
        let heard: Vec<_> = utterances(&events)
            .iter()
            .map(|u| {
                let from = ((u.timestamp_ms - T0).max(0.0) * 16.0) as usize;
                let to = (from + u.data.len() / 2).min(quiet.len());
                let peak = quiet[from..to].chunks(320).map(level).min();
                (from / 16, (to - from) / 16, peak)
            })
            .collect();
        let loudest = quiet.chunks(320).map(level).min();
        println!(
            "{fall_db} dB less, loudest {loudest:?}: {heard:?} (start ms, length ms, loudest packet -dBov)"
        );
    }
}

/// What a browser writes into the extension (RFC 6464): the root mean square in -dBov.
pub(crate) fn level(samples: &[i16]) -> u8 {
    let squares: f64 = samples
        .iter()
        .map(|&s| (f64::from(s) / 32_768.0).powi(2))
        .sum();
    let level = -10.0 * (squares / samples.len() as f64).log10();
    level.round().clamp(0.0, 127.0) as u8
}

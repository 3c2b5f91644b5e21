use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;
use crate::codec::AudioCodec;
use crate::config::MediaConfig;
use crate::error::DropReason;
use crate::media::audio::tests::{correlation, read_wav, residual_db, sine, to_bytes};
use crate::media::{AudioChunk, PushOutcome, SampleFormat};
use crate::media_pool::MediaPool;
use crate::wall_clock::unix_ms;

mod compressed;

const MS: Duration = Duration::from_millis(1);
const TICK: Duration = Duration::from_millis(20);
/// What was pushed so long ago waits for nothing more.
const WAITED: Duration = Duration::from_millis(40);

fn chunk(data: &[u8], sample_rate: u32, channels: u32) -> AudioChunk<'_> {
    AudioChunk {
        data,
        sample_rate,
        channels,
        timestamp_ms: 0.0,
        format: SampleFormat::Pcm,
    }
}

fn queue() -> PlayoutQueue {
    PlayoutQueue::new(Duration::from_secs(120))
}

/// Pulls a tick every 20 ms from `now` until nothing is left; mono, of one rate, which it gives too.
fn play(queue: &mut PlayoutQueue, mut now: Instant) -> (Vec<f32>, u32) {
    let (mut all, mut tick, mut rate) = (Vec::new(), Vec::new(), 0);
    while let Some(pulled) = queue.pull(now, &mut tick) {
        assert_eq!(tick.len(), pulled.rate as usize / 50);
        assert!(rate == 0 || rate == pulled.rate);
        rate = pulled.rate;
        all.extend_from_slice(&tick);
        now += TICK;
    }
    (all, rate)
}

/// A pipeline that somebody listens to, what it gives out, and the pool that it plays on.
fn pipeline_for(codecs: &[AudioCodec]) -> (AudioPipeline, Receiver<EncodedAudio>, MediaPool) {
    let (packets_to, packets) = channel();
    let output = Box::new(move |audio| {
        let _ = packets_to.send(audio);
    });
    let pool = MediaPool::new(1).unwrap();
    let config = MediaConfig::default();
    let pipeline = AudioPipeline::spawn(
        &pool.handle(),
        &config,
        Arc::default(),
        output,
        Box::new(|_| ()),
    )
    .unwrap();
    pipeline.set_heard(codecs);
    (pipeline, packets, pool)
}

fn push_irregularly(queue: &mut PlayoutQueue, samples: &[i16], rate: u32, now: Instant) {
    let (mut rest, mut size) = (samples, 7);
    while !rest.is_empty() {
        let (piece, later) = rest.split_at(size.min(rest.len()));
        let outcome = queue.push(&chunk(&to_bytes(piece), rate, 1), None, now);
        assert_eq!(outcome, PushOutcome::Queued);
        (rest, size) = (later, size * 31 % 2_003 + 1);
    }
}

#[test]
fn a_sine_in_irregular_chunks_is_played_without_a_spur() {
    for (rate, played_at) in [
        (8_000, 16_000),
        (11_025, 16_000),
        (16_000, 16_000),
        (22_050, 24_000),
        (24_000, 24_000),
        (44_100, 48_000),
        (48_000, 48_000),
        (96_000, 48_000),
    ] {
        let (mut queue, now) = (queue(), Instant::now());
        push_irregularly(
            &mut queue,
            &sine(1_000.0, 0.8, rate, rate as usize),
            rate,
            now,
        );
        let (played, at) = play(&mut queue, now);
        assert_eq!((at, played.len()), (played_at, played_at as usize));
        let fade = at as usize / 100;
        let whole = &played[fade..played.len() - fade];
        let residual = residual_db(whole, 1_000.0, f64::from(at));
        assert!(residual < -60.0, "{rate} Hz: {residual} dB");
    }
}

#[test]
fn speech_survives_the_queue_and_opus() {
    let (speech, rate) = read_wav("speech-24k.wav");
    let (mut queue, now) = (queue(), Instant::now());
    push_irregularly(&mut queue, &speech, rate, now);
    let (played, rate) = play(&mut queue, now);
    let mut encoder = OpusEncoder::new().unwrap();
    let mut decoder = opus::Decoder::new(24_000, opus::Channels::Mono).unwrap();
    let mut decoded = Vec::new();
    for tick in played.chunks(rate as usize / 50) {
        let packet = encoder.encode(tick, rate, 1).unwrap();
        let mut pcm = [0.0; 480];
        assert_eq!(decoder.decode_float(&packet, &mut pcm, false).unwrap(), 480);
        decoded.extend_from_slice(&pcm);
    }
    let original: Vec<f32> = speech.iter().map(|&s| f32::from(s) / 32_768.0).collect();
    let (best, delay) = correlation(&original, &decoded, 480);
    assert!(best > 0.9, "{best} at {delay}");
}

#[test]
fn a_whole_utterance_starts_at_the_next_tick_and_its_end_is_padded() {
    let (mut queue, now) = (queue(), Instant::now());
    let data = to_bytes(&vec![10_000; 24_000 * 3 + 240]);
    queue.push(&chunk(&data, 24_000, 1), None, now);
    assert_eq!(queue.queued(), Duration::from_millis(3_010));
    let mut tick = Vec::new();
    let first = queue.pull(now, &mut tick).unwrap();
    assert!(first.spurt_start && first.channels == 1);
    let (rest, rate) = play(&mut queue, now + TICK);
    assert_eq!((rest.len(), rate), (150 * 480, 24_000));
    assert!(rest[rest.len() - 240..].iter().all(|&s| s == 0.0));
    assert_eq!(queue.queued(), Duration::ZERO);
}

#[test]
fn sound_begins_when_it_is_due_and_pauses_as_long_as_it_is_to() {
    let (mut queue, now) = (queue(), Instant::now());
    let data = to_bytes(&[9_000; 320]);
    let begins = |media_ms, after: Duration| Some(Begins { media_ms, after });
    let push = |queue: &mut PlayoutQueue, begins| {
        let pushed = queue.push(&chunk(&data, 16_000, 1), begins, now);
        assert_eq!(pushed, PushOutcome::Queued);
    };
    push(&mut queue, begins(5_000.0, 100 * MS));
    push(&mut queue, None);
    push(&mut queue, begins(5_100.0, 60 * MS));
    let mut tick = Vec::new();
    let mut played = Vec::new();
    for n in 0..20 {
        let pulled = queue.pull(now + n * TICK, &mut tick);
        let begun = queue.take_begun_ms();
        assert_eq!(begun.is_some(), pulled.is_some_and(|tick| tick.spurt_start));
        if pulled.is_some() {
            played.push((n, begun));
        }
    }
    let begins = [(5, Some(5_000.0)), (6, None), (10, Some(5_100.0))];
    assert_eq!(played, begins);
}

#[test]
fn a_short_sound_waits_40_ms_for_more() {
    let (mut queue, now) = (queue(), Instant::now());
    let mut tick = Vec::new();
    queue.push(&chunk(&to_bytes(&[9_000; 160]), 16_000, 1), None, now);
    assert_eq!(queue.pull(now + 39 * MS, &mut tick), None);
    assert!(queue.pull(now + 40 * MS, &mut tick).unwrap().spurt_start);
    assert!(tick[80] > 0.2 && tick[160] == 0.0);
    assert_eq!(queue.pull(now + 60 * MS, &mut tick), None);
}

proptest! {
    #[test]
    fn a_real_time_source_with_timer_jitter_plays_without_a_gap(
        jitter in proptest::collection::vec(0_u32..15, 100), phase in 0_u32..20,
        rate in prop_oneof![Just(16_000_u32), Just(24_000), Just(44_100), Just(48_000)],
    ) {
        let (mut queue, start) = (queue(), Instant::now());
        let data = to_bytes(&vec![8_000; rate as usize / 50]);
        let (mut tick, mut pushed, mut ticks) = (Vec::new(), 0_usize, 0_u32);
        for at in 0..=1_980 {
            let now = start + at * MS;
            while pushed < 100 && pushed as u32 * 20 + jitter[pushed] <= at {
                queue.push(&chunk(&data, rate, 1), None, now);
                pushed += 1;
            }
            if at % 20 == phase {
                let pulled = queue.pull(now, &mut tick);
                prop_assert!(pulled.is_some() || ticks == 0, "gap at {} ms", at);
                if let Some(pulled) = pulled {
                    prop_assert_eq!(pulled.spurt_start, ticks == 0);
                    ticks += 1;
                }
            }
        }
        prop_assert!(ticks > 90);
    }
}

#[test]
fn a_source_that_runs_dry_never_clicks_and_goes_on_in_order() {
    let (mut queue, start) = (queue(), Instant::now());
    let samples = sine(200.0, 0.9, 48_000, 48_000);
    let (mut played, mut tick, mut rest) = (Vec::new(), Vec::new(), samples.as_slice());
    for n in 0..200 {
        let now = start + n * TICK;
        if n % 7 < 4 {
            let (piece, later) = rest.split_at(rest.len().min(1_111));
            if !piece.is_empty() {
                queue.push(&chunk(&to_bytes(piece), 48_000, 1), None, now);
            }
            rest = later;
        }
        if queue.pull(now, &mut tick).is_none() {
            tick.resize(TICK_FRAMES, 0.0);
        }
        played.extend_from_slice(&tick);
    }
    // The sine itself moves 0.024 a sample; a cut in it would move up to 0.9.
    let steepest = played
        .windows(2)
        .fold(0.0_f32, |m, w| m.max((w[1] - w[0]).abs()));
    assert!(steepest < 0.03, "{steepest}");
    let loud = |s: &f32| s.abs() > 0.001;
    let heard = played.iter().filter(|s| loud(s)).count();
    assert!(heard > 46_000, "{heard}");
}

#[test]
fn formats_may_follow_each_other() {
    let (mut queue, now) = (queue(), Instant::now());
    queue.push(&chunk(&to_bytes(&[5_000; 1_600]), 16_000, 1), None, now);
    queue.push(
        &chunk(&to_bytes(&[-5_000; 2 * 4_410]), 44_100, 2),
        None,
        now,
    );
    queue.push(&chunk(&to_bytes(&[5_000; 4_800]), 48_000, 1), None, now);
    assert_eq!(queue.queued(), Duration::from_millis(300));
    let (mut tick, mut signs, mut channels) = (Vec::new(), Vec::new(), Vec::new());
    for n in 0..15 {
        channels.push(queue.pull(now + n * TICK, &mut tick).unwrap().channels);
        signs.push(tick[tick.len() / 2] > 0.0);
    }
    assert_eq!(queue.pull(now, &mut tick), None);
    assert_eq!(signs[..5], [true; 5]);
    assert_eq!(signs[5..10], [false; 5]);
    assert_eq!(signs[10..], [true; 5]);
    assert_eq!(channels[..4], [1; 4]);
    assert_eq!(channels[5..10], [2; 5]);
    assert_eq!(channels[11..], [1; 4]);
}

/// Plays everything, and decodes what comes at 48 kHz.
fn hear(queue: &mut PlayoutQueue, mut now: Instant) -> Vec<f32> {
    let mut encoder = OpusEncoder::new().unwrap();
    let mut decoder = opus::Decoder::new(48_000, opus::Channels::Mono).unwrap();
    let (mut heard, mut tick) = (Vec::new(), Vec::new());
    while let Some(pulled) = queue.pull(now, &mut tick) {
        let packet = encoder.encode(&tick, pulled.rate, pulled.channels).unwrap();
        let mut pcm = [0.0; TICK_FRAMES];
        decoder.decode_float(&packet, &mut pcm, false).unwrap();
        heard.extend_from_slice(&pcm);
        now += TICK;
    }
    heard
}

#[test]
fn another_sample_rate_in_mid_word_is_heard_as_neither_a_click_nor_a_gap() {
    let (hz, now) = (300.0, Instant::now());
    let mut queue = queue();
    let mut begun = 0.0;
    for rate in [16_000, 8_000, 24_000, 22_050, 44_100, 16_000] {
        // As whole a number of periods as of ticks: the tone goes on where it was.
        let seconds = 0.41;
        let samples: Vec<i16> = (0..(seconds * f64::from(rate)) as usize)
            .map(|n| {
                let time = begun + n as f64 / f64::from(rate);
                (16_000.0 * (std::f64::consts::TAU * hz * time).sin()) as i16
            })
            .collect();
        begun += samples.len() as f64 / f64::from(rate);
        push_irregularly(&mut queue, &samples, rate, now);
    }
    let heard = hear(&mut queue, now);
    // Without the ends, which are faded, and cut by the codec's delay.
    let steady = &heard[1_920..heard.len() - 3_840];
    let level =
        |piece: &[f32]| (piece.iter().map(|s| s * s).sum::<f32>() / piece.len() as f32).sqrt();
    // 6.7 ms: two periods.
    let levels: Vec<f32> = steady.chunks_exact(320).map(level).collect();
    let usual = level(steady);
    for (n, level) in levels.iter().enumerate() {
        let at = 40.0 + n as f32 * 320.0 / 48.0;
        let level = level / usual;
        assert!((0.9..1.1).contains(&level), "{level} at {at} ms");
    }
    let steepest = steady
        .windows(2)
        .map(|w| (w[1] - w[0]).abs())
        .fold(0.0, f32::max);
    let tone = usual * std::f32::consts::SQRT_2 * std::f32::consts::TAU * hz as f32 / 48_000.0;
    assert!(steepest < 2.0 * tone, "{steepest} of {tone}");
}

#[test]
fn packets_have_a_redundant_copy_while_a_listener_loses_some() {
    let (speech, rate) = read_wav("speech-24k.wav");
    let (mut queue, now) = (queue(), Instant::now());
    queue.push(&chunk(&to_bytes(&speech), rate, 1), None, now);
    let (played, rate) = play(&mut queue, now);
    let mut encoder = OpusEncoder::new().unwrap();
    let mut copies = |redundant| {
        encoder.set_redundant(redundant).unwrap();
        let packets = (played.chunks(rate as usize / 50)).map(|tick| encoder.encode(tick, rate, 1));
        packets
            .filter(|packet| has_lbrr(packet.as_ref().unwrap()))
            .count()
    };
    assert_eq!(copies(false), 0);
    let with = copies(true);
    assert!(with > 200, "{with}");
    // One that was begun may still come.
    assert!(copies(false) <= 1);
}

#[test]
fn a_report_of_loss_is_answered_with_redundant_copies() {
    let (speech, rate) = read_wav("speech-24k.wav");
    let data = to_bytes(&speech[..rate as usize]);
    for (share, expected) in [(0.0, false), (0.004, false), (0.05, true)] {
        let (pipeline, packets, _pool) = pipeline_for(&[AudioCodec::Opus]);
        pipeline.report_loss(share, Instant::now());
        pipeline.push(chunk(&data, rate, 1));
        let patience = Duration::from_secs(10);
        let copies = (0..40)
            .filter(|_| has_lbrr(&packets.recv_timeout(patience).unwrap().data))
            .count();
        assert_eq!(copies > 10, expected, "{copies} at {share}");
    }
}

/// Whether a mono packet of one SILK or hybrid frame holds a copy of the frame before: the flag behind the one of voice
/// activity, which are the first two symbols, each of even odds (RFC 6716, 4.2.3).
fn has_lbrr(packet: &[u8]) -> bool {
    let is_silk = packet[0] >> 3 < 16;
    is_silk && packet.len() > 2 && packet[1] & 0x40 != 0
}

#[test]
fn a_full_queue_refuses_and_drains() {
    let mut queue = PlayoutQueue::new(Duration::from_millis(100));
    let (now, data) = (Instant::now(), to_bytes(&[0; 2 * 960]));
    for n in 0..5 {
        assert_eq!(
            queue.push(&chunk(&data, 48_000, 2), None, now),
            PushOutcome::Queued,
            "{n}"
        );
    }
    let full = PushOutcome::Dropped(DropReason::QueueFull);
    assert_eq!(queue.push(&chunk(&data, 48_000, 2), None, now), full);
    queue.pull(now + WAITED, &mut Vec::new());
    assert_eq!(
        queue.push(&chunk(&data, 48_000, 2), None, now),
        PushOutcome::Queued
    );
}

#[test]
fn an_interruption_fades_out_and_what_is_pushed_next_begins_clean() {
    let (mut queue, mut now) = (queue(), Instant::now());
    let mut tick = Vec::new();
    let nothing = Interrupted::default();
    assert_eq!(queue.interrupt(), nothing);
    let old = to_bytes(&sine(200.0, 0.9, 48_000, 48_000));
    queue.push(&chunk(&old, 48_000, 1), None, now);
    for _ in 0..10 {
        assert!(queue.pull(now, &mut tick).is_some());
        now += TICK;
    }
    let cut = queue.interrupt();
    assert_eq!((cut.played, cut.tail), (10 * TICK, TICK));
    assert_eq!(cut.played + cut.discarded, Duration::from_secs(1));
    let new = to_bytes(&vec![9_000; 4_800]);
    queue.push(&chunk(&new, 48_000, 1), None, now - WAITED);
    let mut heard = tick.clone();
    assert!(!queue.pull(now, &mut tick).unwrap().spurt_start);
    assert!(tick[240..].iter().all(|sample| *sample == 0.0));
    heard.extend_from_slice(&tick);
    assert!(queue.pull(now + TICK, &mut tick).unwrap().spurt_start);
    heard.extend_from_slice(&tick);
    let steepest = (heard.windows(2)).fold(0.0_f32, |m, w| m.max((w[1] - w[0]).abs()));
    assert!(steepest < 0.03, "{steepest}");
    assert_eq!(queue.queued(), Duration::from_millis(80));

    // What was said before is not said any more.
    while queue.pull(now, &mut tick).is_some() {}
    assert_eq!(queue.interrupt(), nothing);

    // What has not begun is dropped without a sound.
    let mut queue = self::queue();
    queue.push(&chunk(&old, 48_000, 1), None, now);
    let discarded = Duration::from_secs(1);
    assert_eq!(
        queue.interrupt(),
        Interrupted {
            discarded,
            ..nothing
        }
    );
    assert_eq!(queue.pull(now + TICK, &mut tick), None);
}

#[test]
fn the_marker_is_on_the_first_packet_and_silence_sends_ever_fewer() {
    let mut player = Player::new().unwrap();
    let voice: Vec<f32> = (sine(300.0, 0.5, 48_000, 960).iter())
        .map(|&s| f32::from(s) / 32_768.0)
        .collect();
    let sound = |spurt_start| {
        let pulled = Pulled {
            rate: 48_000,
            channels: 1,
            spurt_start,
        };
        Some((pulled, voice.as_slice()))
    };
    for n in 0..10 {
        let packet = player.play(sound(n == 0), n * 960, true).unwrap().unwrap();
        assert_eq!((packet.spurt_start, packet.position), (n == 0, n * 960));
    }
    let silent: Vec<bool> = (10..1_310)
        .map(|n| player.play(None, n * 960, true).unwrap().is_some())
        .collect();
    let sent = |ticks: std::ops::Range<usize>| silent[ticks].iter().filter(|&&sent| sent).count();
    assert!((12..=13).contains(&sent(50..300)), "in 5 s of conversation");
    assert!((2..=3).contains(&sent(780..1_300)), "in 10 s of rest");
    let gap = silent.split(|&sent| sent).map(<[bool]>::len).max();
    assert!(gap < Some(250), "{gap:?} ticks without a packet");
    assert!(
        player
            .play(sound(true), 0, true)
            .unwrap()
            .unwrap()
            .spurt_start
    );
}

#[test]
fn packets_stop_only_after_one_that_says_so() {
    let mut player = Player::new().unwrap();
    let voice = vec![0.1; TICK_FRAMES];
    let pulled = Pulled {
        rate: 48_000,
        channels: 1,
        spurt_start: false,
    };
    let packets: Vec<_> = (0..60)
        .filter_map(|n| {
            let sound = (n < 10).then_some((pulled, voice.as_slice()));
            player.play(sound, n * 960, true).unwrap()
        })
        .collect();
    for pair in packets.windows(2) {
        if pair[1].position - pair[0].position > 960 {
            assert!(pair[0].data.len() <= 2, "a gap after {:?}", pair[0]);
        }
    }
}

#[test]
fn nothing_is_encoded_while_nobody_listens() {
    let mut player = Player::new().unwrap();
    let samples = vec![0.1; 2 * TICK_FRAMES];
    let pulled = Pulled {
        rate: 48_000,
        channels: 2,
        spurt_start: false,
    };
    let sound = Some((pulled, samples.as_slice()));
    assert_eq!(player.play(sound, 0, false).unwrap(), None);
    assert!(player.play(sound, 960, true).unwrap().unwrap().spurt_start);
    assert!(
        !player
            .play(sound, 1_920, true)
            .unwrap()
            .unwrap()
            .spurt_start
    );
}

#[test]
fn the_pipeline_plays_at_real_time_and_stops_at_once() {
    let (pipeline, packets, _pool) = pipeline_for(&[AudioCodec::Opus]);
    let (speech, rate) = read_wav("speech-24k.wav");
    let data = to_bytes(&speech[..rate as usize / 2]);
    let stamped_ms = (unix_ms() / 5.0).floor() * 5.0;
    let stamped = AudioChunk {
        timestamp_ms: stamped_ms,
        ..chunk(&data, rate, 1)
    };
    assert_eq!(pipeline.push(stamped), PushOutcome::Queued);
    assert_eq!(
        pipeline.push(chunk(&data, 0, 1)),
        PushOutcome::Dropped(DropReason::BadSampleRate(0))
    );
    assert!(pipeline.queued() > Duration::from_millis(400));
    let begun = Instant::now();
    while !pipeline.queued().is_zero() {
        assert!(begun.elapsed() < Duration::from_secs(10));
        std::thread::yield_now();
        std::thread::park_timeout(MS);
    }
    assert!(begun.elapsed() > Duration::from_millis(400));
    let stats = pipeline.stats();
    assert_eq!(
        (stats.chunks, stats.dropped_chunks, stats.spurts),
        (1, 1, 1)
    );
    let stopping = Instant::now();
    drop(pipeline);
    assert!(stopping.elapsed() < Duration::from_millis(500));
    let packets: Vec<EncodedAudio> = packets.iter().collect();
    assert!(packets.len() > 20);
    assert!(packets.iter().all(|packet| packet.position % 120 == 0));
    assert!((packets.windows(2)).all(|pair| pair[1].position >= pair[0].end()));
    let begins = packets.iter().find(|packet| packet.spurt_start).unwrap();
    assert_eq!(
        begins.position,
        (stamped_ms * 48.0) as u64,
        "when it was stamped"
    );
}

/// `cargo test --release -p avatar-core playout -- --ignored --nocapture`
#[test]
#[ignore = "a measurement: prints what one tick costs"]
fn one_tick_is_cheap() {
    let (speech, rate) = read_wav("speech-24k.wav");
    let (mut queue, mut now) = (queue(), Instant::now());
    let pushed = Instant::now();
    queue.push(&chunk(&to_bytes(&speech), rate, 1), None, now);
    println!("push {:?}", pushed.elapsed());
    let mut encoder = OpusEncoder::new().unwrap();
    let (mut tick, mut pulls, mut encodes) = (Vec::new(), Vec::new(), Vec::new());
    loop {
        let before = Instant::now();
        let Some(pulled) = queue.pull(now, &mut tick) else {
            break;
        };
        pulls.push(before.elapsed());
        let before = Instant::now();
        encoder.encode(&tick, pulled.rate, pulled.channels).unwrap();
        encodes.push(before.elapsed());
        now += TICK;
    }
    for (name, costs) in [("pull and resample", &mut pulls), ("encode", &mut encodes)] {
        costs.sort();
        let (median, most) = (costs[costs.len() / 2], costs[costs.len() * 95 / 100]);
        println!("{name} a tick: median {median:?}, 95 % {most:?}");
    }
}

//! Opus packets, which are passed on, and MP3, which is decoded.

use super::*;
use crate::media::g711::Law;
use crate::media::mp3::Framer;
use crate::media::mp3::tests::{FILES, sweep};

fn opus_chunk(data: &[u8]) -> AudioChunk<'_> {
    AudioChunk {
        format: SampleFormat::Opus,
        // What is declared does not count.
        ..chunk(data, 0, 9)
    }
}

fn mp3_chunk(data: &[u8]) -> AudioChunk<'_> {
    AudioChunk {
        format: SampleFormat::Mp3,
        ..chunk(data, 0, 9)
    }
}

/// A packet of one CELT frame of `frames` samples at 48 kHz, told from others by `number`; nobody decodes it.
fn packet(frames: usize, number: u8) -> Vec<u8> {
    let size = [120, 240, 480, 960].iter().position(|f| *f == frames);
    vec![(28 + size.unwrap() as u8) << 3, number, 1, 2, 3]
}

/// Speech of 16 kHz as packets of 20 ms.
fn speech_packets(seconds: usize) -> (Vec<Vec<u8>>, Vec<f32>) {
    let (speech, rate) = read_wav("speech-16k.wav");
    let samples: Vec<f32> = (speech[..seconds * rate as usize].iter())
        .map(|&s| f32::from(s) / 32_768.0)
        .collect();
    let mut encoder = OpusEncoder::new().unwrap();
    let packets = samples.chunks_exact(320);
    let packets = packets.map(|tick| encoder.encode(tick, rate, 1).unwrap().to_vec());
    (packets.collect(), samples)
}

#[test]
fn packets_come_out_as_they_went_in_one_behind_the_other() {
    let lengths = [960, 120, 120, 480, 240, 960, 960, 480, 480, 240, 480];
    let (mut queue, now) = (queue(), Instant::now());
    for (number, frames) in lengths.into_iter().enumerate() {
        let pushed = queue.push(
            &opus_chunk(&packet(frames, number as u8)),
            None,
            now - WAITED,
        );
        assert_eq!(pushed, PushOutcome::Queued);
    }
    let total: usize = lengths.iter().sum();
    assert_eq!(queue.queued().as_micros(), total as u128 * 1_000 / 48);
    let (mut passed, mut at, mut ticks) = (Vec::new(), 0, 0);
    while let Some(spurt_start) = queue.pass(now, &mut passed) {
        assert_eq!(spurt_start, ticks == 0);
        for packet in &passed {
            let number = packet.data[1] as usize;
            assert_eq!(packet.frames, lengths[number]);
            assert_eq!(lengths[..number].iter().sum::<usize>(), at);
            assert_eq!(ticks * TICK_FRAMES + packet.at, at);
            assert!(packet.at < TICK_FRAMES);
            at += packet.frames;
        }
        assert_eq!(queue.pull(now, &mut Vec::new()), None);
        ticks += 1;
    }
    assert_eq!((at, ticks), (total, total.div_ceil(TICK_FRAMES)));
    assert_eq!(queue.queued(), Duration::ZERO);
}

#[test]
fn a_packet_that_outlasts_the_tick_is_waited_for() {
    let (mut queue, now) = (queue(), Instant::now());
    // 60 ms of SILK, twice.
    for number in [1, 2] {
        queue.push(&opus_chunk(&[3 << 3, number, 0]), None, now - WAITED);
    }
    let mut passed = Vec::new();
    let counts: Vec<usize> = (0..6)
        .map(|_| {
            queue.pass(now, &mut passed).unwrap();
            passed.len()
        })
        .collect();
    assert_eq!(counts, [1, 0, 0, 1, 0, 0]);
    assert_eq!(queue.pass(now, &mut passed), None);
}

#[test]
fn packets_and_samples_are_played_in_turn() {
    let (mut queue, now) = (queue(), Instant::now());
    let samples = to_bytes(&[9_000; 1_600]);
    queue.push(&chunk(&samples, 16_000, 1), None, now - WAITED);
    for number in 0..5 {
        queue.push(&opus_chunk(&packet(960, number)), None, now - WAITED);
    }
    queue.push(&chunk(&samples, 16_000, 1), None, now - WAITED);
    assert_eq!(queue.queued(), Duration::from_millis(300));
    let (mut passed, mut tick, mut order) = (Vec::new(), Vec::new(), String::new());
    for _ in 0..15 {
        order.push(match queue.pass(now, &mut passed) {
            Some(_) => 'o',
            None => match queue.pull(now, &mut tick) {
                Some(_) => 'p',
                None => '-',
            },
        });
    }
    assert_eq!(order, "pppppooooopppppp"[..15]);
    assert_eq!(queue.queued(), Duration::ZERO);
}

#[test]
fn an_interruption_ends_packets_with_the_one_that_plays() {
    let (mut queue, now) = (queue(), Instant::now());
    for number in 0..50 {
        queue.push(&opus_chunk(&packet(960, number)), None, now);
    }
    let mut passed = Vec::new();
    for _ in 0..3 {
        queue.pass(now, &mut passed).unwrap();
    }
    let cut = queue.interrupt();
    assert_eq!((cut.played, cut.discarded), (3 * TICK, 47 * TICK));
    assert_eq!(queue.pass(now, &mut passed), None);
    assert_eq!(queue.pull(now, &mut Vec::new()), None);
}

#[test]
fn an_interrupted_packet_is_played_to_its_end_before_anything_else() {
    let (mut queue, now) = (queue(), Instant::now());
    // 60 ms of SILK.
    queue.push(&opus_chunk(&[3 << 3, 1, 0]), None, now - WAITED);
    queue.push(&opus_chunk(&packet(960, 2)), None, now - WAITED);
    let (mut passed, mut tick) = (Vec::new(), Vec::new());
    queue.pass(now, &mut passed).unwrap();
    let cut = queue.interrupt();
    assert_eq!((cut.discarded, cut.tail), (TICK, Duration::ZERO));
    queue.push(
        &chunk(&to_bytes(&[9_000; 1_600]), 16_000, 1),
        None,
        now - WAITED,
    );
    for _ in 0..2 {
        assert_eq!(queue.pass(now, &mut passed), Some(false));
        assert!(passed.is_empty());
    }
    assert_eq!(queue.pass(now, &mut passed), None);
    assert!(queue.pull(now, &mut tick).unwrap().spurt_start);
}

#[test]
fn a_full_queue_refuses_packets_and_mp3_as_a_whole() {
    let mut queue = PlayoutQueue::new(Duration::from_millis(50));
    let now = Instant::now();
    let full = PushOutcome::Dropped(DropReason::QueueFull);
    for expected in [PushOutcome::Queued, PushOutcome::Queued, full.clone()] {
        assert_eq!(
            queue.push(&opus_chunk(&packet(960, 0)), None, now),
            expected
        );
    }
    let (frames, _) = Framer::default().split(FILES[0].0).unwrap();
    assert_eq!(queue.push(&mp3_chunk(&frames), None, now), full);
    assert_eq!(queue.queued(), Duration::from_millis(40));
}

#[test]
fn mp3_is_played_as_what_it_was_made_from() {
    for (file, layout) in FILES {
        let (frames, _) = Framer::default().split(file).unwrap();
        let (mut queue, now) = (queue(), Instant::now());
        assert_eq!(
            queue.push(&mp3_chunk(&frames), None, now),
            PushOutcome::Queued
        );
        let length = queue.queued().as_secs_f64();
        assert!((3.0..3.2).contains(&length), "{layout:?}: {length}");
        let (mut tick, mut left, mut rate) = (Vec::new(), Vec::new(), 0);
        while let Some(pulled) = queue.pull(now, &mut tick) {
            rate = pulled.rate;
            left.extend(tick.iter().step_by(pulled.channels).copied());
        }
        assert_eq!(
            left.len(),
            (length * 50.0).ceil() as usize * rate as usize / 50
        );
        for from in [0.3, 1.5, 2.6] {
            let begun = (from * f64::from(rate)) as usize;
            let second = rate as usize;
            let expected = sweep(rate, from, second / 5);
            let (best, delay) = correlation(&expected, &left[begun..], second / 8);
            assert!(best > 0.95, "{layout:?} {from}: {best} at {delay}");
        }
    }
}

/// What a pipeline gives out for `codecs` while `chunks` are played.
fn give_out(codecs: &[AudioCodec], chunks: &[AudioChunk<'_>]) -> Vec<EncodedAudio> {
    let (pipeline, packets, _pool) = pipeline_for(codecs);
    for chunk in chunks {
        assert_eq!(pipeline.push(*chunk), PushOutcome::Queued);
    }
    let begun = Instant::now();
    while !pipeline.queued().is_zero() {
        assert!(begun.elapsed() < Duration::from_secs(20));
        std::thread::park_timeout(MS);
    }
    // What was taken from the queue last may still be on its way.
    drop(pipeline);
    packets.iter().collect()
}

#[test]
fn who_has_opus_gets_the_packets_and_who_has_not_hears_them() {
    let (packets, speech) = speech_packets(2);
    let chunks: Vec<AudioChunk<'_>> = packets.iter().map(|packet| opus_chunk(packet)).collect();
    let both = [AudioCodec::Opus, AudioCodec::Pcmu];
    let given = give_out(&both, &chunks);
    let of = |codec| given.iter().filter(move |audio| audio.codec == codec);
    let mut passed = of(AudioCodec::Opus).skip_while(|audio| audio.data != packets[0]);
    for (number, packet) in packets.iter().enumerate() {
        let audio = passed.next().unwrap();
        assert_eq!(audio.data, *packet, "{number}");
        assert_eq!(audio.spurt_start, number == 0);
    }
    let codes = of(AudioCodec::Pcmu).flat_map(|audio| audio.data.iter());
    let heard: Vec<f32> = codes
        .map(|code| f32::from(Law::Mu.decode(*code)) / 32_768.0)
        .collect();
    let original: Vec<f32> = speech.iter().step_by(2).copied().collect();
    let piece = &original[4_000..12_000];
    let (best, delay) = correlation(piece, &heard[4_000..], 2_000);
    assert!(best > 0.8, "{best} at {delay}");
}

#[test]
fn what_follows_packets_is_encoded_as_after_a_pause() {
    let (packets, _) = speech_packets(1);
    let samples = to_bytes(&sine(440.0, 0.5, 24_000, 12_000));
    let mut chunks: Vec<AudioChunk<'_>> = packets.iter().map(|packet| opus_chunk(packet)).collect();
    chunks.push(chunk(&samples, 24_000, 1));
    let given = give_out(&[AudioCodec::Opus], &chunks);
    let behind = given.iter().position(|audio| audio.data == packets[49]);
    let first = &given[behind.unwrap() + 1];
    assert!(first.spurt_start);
    assert_eq!(first.position, given[behind.unwrap()].position + 960);
    let mut decoder = opus::Decoder::new(48_000, opus::Channels::Mono).unwrap();
    let mut heard = Vec::new();
    for audio in &given {
        let mut pcm = [0.0; TICK_FRAMES];
        decoder.decode_float(&audio.data, &mut pcm, false).unwrap();
        heard.extend_from_slice(&pcm);
    }
    let tone = &heard[(behind.unwrap() + 4) * TICK_FRAMES..][..15 * TICK_FRAMES];
    let residual = residual_db(tone, 440.0, 48_000.0);
    assert!(residual < -15.0, "{residual}");
}

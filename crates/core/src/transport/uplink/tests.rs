//! From sealed packets to what is heard, in simulated time.

use std::time::Duration;

use rtc_srtp::context::Context;
use rtc_srtp::protection_profile::ProtectionProfile;

use super::*;
use crate::codec::AudioCodec;
use crate::config::MicrophoneConfig;
use crate::event::{Event, PeerId, Speech};
use crate::microphone::tests::{level, packets, speech};
use crate::microphone::{Microphone, MicrophoneWorker, Wanted};
use crate::transport::opener::tests::{keys, pair};

const PAYLOAD_TYPE: u8 = 111;
const LEVEL: u8 = 3;
const MS: Duration = Duration::from_millis(1);
const T0: f64 = 1_700_000_000_000.0;
const EVERYTHING: Wanted = Wanted {
    chunks: true,
    utterances: true,
    speech: true,
};
const NOTHING: Wanted = Wanted {
    chunks: false,
    utterances: false,
    speech: false,
};

/// A browser, the network thread's part of its microphone, and the decoder's thread.
struct Line {
    browser: Context,
    opener: Opener,
    uplink: Uplink,
    hearing: Arc<Hearing>,
    start: Instant,
    /// Packets of 20 ms so far.
    sent: u64,
    first_index: u64,
    microphone: Option<Microphone>,
    begun: usize,
    decoded: usize,
    events: Vec<Event>,
}

impl Line {
    fn new(profile: ProtectionProfile, extension: Option<u8>) -> Self {
        let (_, opener) = pair(profile);
        let provider = rtc_crypto::default_provider().unwrap();
        let hearing = Hearing::new(&MicrophoneConfig::default(), Arc::new(|_: Event| ()));
        let track = MicrophoneTrack {
            codec: AudioCodec::Opus,
            payload_type: PAYLOAD_TYPE,
            level_extension: extension,
        };
        Self {
            browser: keys(profile).opening_context(provider.crypto()).unwrap(),
            opener,
            uplink: Uplink::new(Some(track), Arc::clone(&hearing)),
            hearing,
            start: Instant::now(),
            sent: 0,
            first_index: 65_000,
            microphone: None,
            begun: 0,
            decoded: 0,
            events: Vec::new(),
        }
    }

    fn with_levels() -> Self {
        Self::new(ProtectionProfile::AeadAes128Gcm, Some(LEVEL))
    }

    fn now(&self) -> Instant {
        self.start + 20 * MS * self.sent as u32
    }

    /// The next packet as it is on the wire.
    fn sealed(&mut self, level: u8, payload: &[u8]) -> Vec<u8> {
        let index = self.first_index + self.sent;
        let packet = rtp(index as u16, (self.sent * 960) as u32, level, payload);
        self.browser.encrypt_rtp(&packet).unwrap().to_vec()
    }

    /// Sends a packet and hears what comes of it.
    fn send(&mut self, level: u8, payload: &[u8]) -> Spurt {
        let packet = self.sealed(level, payload);
        let spurt = self.receive(&packet);
        self.sent += 1;
        self.hear(spurt.clone());
        spurt
    }

    fn receive(&mut self, packet: &[u8]) -> Spurt {
        let mut out = Spurt::default();
        let now = self.now();
        self.uplink.receive(now, packet, &mut self.opener, &mut out);
        out
    }

    /// What the decoder's thread does.
    fn hear(&mut self, spurt: Spurt) {
        let (now, start) = (self.now(), self.start);
        let wall_ms = |at: Instant| T0 + (at - start).as_secs_f64() * 1_000.0;
        if let Some(microphone) = &mut self.microphone {
            if microphone.next_timeout().is_some_and(|at| at <= now) {
                microphone.on_timeout(now, &mut self.events);
            }
            if microphone.is_over(now) {
                self.microphone = None;
            }
        }
        if spurt.begins {
            self.begun += 1;
            if let Some(mut old) = self.microphone.take() {
                old.close(&mut self.events);
            }
        }
        if spurt.packets.is_empty() {
            return;
        }
        self.decoded += spurt.packets.len();
        let microphone = self.microphone.get_or_insert_with(|| {
            Microphone::new(
                PeerId::nil(),
                AudioCodec::Opus,
                &MicrophoneConfig::default(),
            )
            .unwrap()
        });
        for packet in spurt.packets {
            let at = packet.received;
            microphone.on_packet(at, wall_ms(at), packet, &mut self.events);
        }
    }

    fn say(&mut self, samples: &[i16], payloads: &[Vec<u8>]) {
        for (frame, payload) in samples.chunks_exact(320).zip(payloads) {
            self.send(level(frame), payload);
        }
    }

    fn utterances(&self) -> Vec<&Speech> {
        let utterances = self.events.iter().filter_map(|event| match event {
            Event::Utterance(speech) => Some(speech),
            _ => None,
        });
        utterances.collect()
    }
}

/// Header, extension word, and one word of extension.
const HEADER: usize = 20;

fn rtp(sequence: u16, timestamp: u32, level: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x90, PAYLOAD_TYPE];
    packet.extend(sequence.to_be_bytes());
    packet.extend(timestamp.to_be_bytes());
    packet.extend([0, 0, 0, 9, 0xbe, 0xde, 0, 1]);
    packet.extend([LEVEL << 4, 0x80 | level, 0, 0]);
    packet.extend(payload);
    packet
}

fn pcm(speech: &Speech) -> Vec<f64> {
    let pairs = speech.data.as_chunks::<2>().0.iter();
    pairs.map(|&s| f64::from(i16::from_le_bytes(s))).collect()
}

/// Three seconds of silence, a recording, three seconds of silence, and the recording again.
fn conversation() -> Vec<i16> {
    let (speech, _) = speech();
    [
        vec![0; 48_000],
        speech.clone(),
        vec![0; 48_000],
        speech,
        vec![0; 48_000],
    ]
    .concat()
}

#[test]
fn speech_told_by_its_level_is_heard_as_if_all_was_decoded() {
    let samples = conversation();
    let payloads = packets(&samples, 16_000, false);
    for profile in [
        ProtectionProfile::AeadAes128Gcm,
        ProtectionProfile::Aes128CmHmacSha1_80,
    ] {
        let mut all = Line::new(profile, None);
        let mut told = Line::new(profile, Some(LEVEL));
        all.say(&samples, &payloads);
        told.say(&samples, &payloads);
        assert_eq!((all.begun, told.begun), (1, 2), "decoders begun anew");
        assert_eq!(all.decoded, payloads.len());
        assert!(told.decoded < all.decoded - 300, "{} decoded", told.decoded);

        let (all, told) = (all.utterances(), told.utterances());
        assert_eq!(all.len(), told.len());
        assert!(all.len() >= 2);
        for (all, told) in all.iter().zip(&told) {
            let apart = told.timestamp_ms - all.timestamp_ms;
            // The detector's frames of 16 ms may lie otherwise.
            assert!(apart.abs() <= 32.0, "begins {apart} ms apart");
            let skew = (apart * 16.0).round() as i64;
            let (all, told) = (pcm(all), pcm(told));
            let length = all.len().abs_diff(told.len());
            assert!(length <= 64 * 16, "{length} samples more or less");
            let (mut signal, mut error) = (0.0, 0.0);
            for (at, sample) in told.iter().enumerate() {
                let there = usize::try_from(at as i64 + skew).ok();
                if let Some(original) = there.and_then(|at| all.get(at)) {
                    signal += original * original;
                    error += (original - sample) * (original - sample);
                }
            }
            let ratio_db = 10.0 * (signal / error.max(1.0)).log10();
            assert!(ratio_db > 25.0, "{ratio_db:.1} dB");
        }
    }
}

#[test]
fn a_silent_microphone_reaches_no_decoder_and_holds_little() {
    let mut line = Line::with_levels();
    let payloads = packets(&[0; 160_000], 16_000, false);
    for payload in payloads.iter().cycle().take(2_000) {
        assert_eq!(line.send(127, payload), Spurt::default());
    }
    let held = line.uplink.pre_roll.heap_bytes();
    assert!((1..=4_096).contains(&held), "{held} bytes");
    line.hearing.set_wanted(NOTHING);
    for payload in payloads.iter().take(100) {
        assert_eq!(line.send(127, payload), Spurt::default());
    }
    assert_eq!(line.uplink.pre_roll.heap_bytes(), 0);
}

#[test]
fn among_five_hundred_open_microphones_the_one_that_speaks_is_decoded() {
    let worker = MicrophoneWorker::spawn().unwrap();
    let handle = worker.handle();
    let hearing = Hearing::new(&MicrophoneConfig::default(), Arc::new(|_: Event| ()));
    let mut lines: Vec<Line> = (0..500).map(|_| Line::with_levels()).collect();
    let mut bursts = 0;
    for _ in 0..100 {
        for (n, line) in lines.iter_mut().enumerate() {
            let level = if n == 123 { 30 } else { 90 };
            let packet = line.sealed(level, &[n as u8; 40]);
            let spurt = line.receive(&packet);
            line.sent += 1;
            if !spurt.packets.is_empty() {
                assert_eq!(n, 123);
                bursts += 1;
                handle.hear(PeerId::from_u128(n as u128), &hearing, spurt);
            }
        }
    }
    assert_eq!(bursts, 100);
    let begun = Instant::now();
    while hearing.usage().packets < 100 {
        assert!(begun.elapsed() < Duration::from_secs(10));
        std::thread::park_timeout(MS);
    }
    assert!(hearing.usage().decoders <= 1);
    let held: usize = lines
        .iter()
        .map(|line| line.uplink.pre_roll.heap_bytes())
        .sum();
    assert!(held < 500 * 4_096, "{held} bytes");
}

#[test]
fn nothing_is_heard_of_who_speaks_while_nobody_listens() {
    let mut line = Line::with_levels();
    line.hearing.set_wanted(NOTHING);
    let (samples, _) = speech();
    let payloads = packets(&samples, 16_000, false);
    line.say(&samples, &payloads);
    assert_eq!(line.decoded, 0);
    // Somebody begins to listen in mid-speech, stops, and begins again.
    for (round, from) in [(1, 100), (2, 220)] {
        line.hearing.set_wanted(EVERYTHING);
        for payload in &payloads[from..from + 100] {
            line.send(30, payload);
        }
        assert_eq!((line.begun, line.decoded), (round, round * 100));
        line.hearing.set_wanted(NOTHING);
        for payload in &payloads[..20] {
            line.send(30, payload);
        }
        assert_eq!(line.decoded, round * 100);
    }
    assert!(!line.events.is_empty());
}

#[test]
fn speech_is_heard_after_silence_over_roll_overs_that_nobody_listened_to() {
    let mut line = Line::with_levels();
    line.hearing.set_wanted(NOTHING);
    for _ in 0..140_000 {
        line.send(127, b"silence");
    }
    line.hearing.set_wanted(EVERYTHING);
    let (samples, _) = speech();
    line.say(&samples, &packets(&samples, 16_000, false));
    assert!(line.decoded > 400, "{}", line.decoded);
}

#[test]
fn forged_packets_open_no_microphone_and_push_nothing_out_of_its_pre_roll() {
    let mut line = Line::with_levels();
    for n in 0..20_u8 {
        line.send(100, &[n; 30]);
        for forged in 0..50_u16 {
            // Of any number, loud and quiet, and too short for a tag.
            for level in [0, 100] {
                let packet = rtp(forged.wrapping_mul(7_919), 0, level, &[1; 60]);
                assert_eq!(line.receive(&packet), Spurt::default());
                assert_eq!(line.receive(&packet[..24]), Spurt::default());
            }
            let mut changed = line.sealed(100, &[n; 30]);
            changed[HEADER - 3] = 0x80; // the level
            assert_eq!(line.receive(&changed), Spurt::default());
        }
    }
    let spurt = line.send(20, b"loud");
    assert!(spurt.begins);
    assert_eq!(spurt.packets.len(), 21);
    for (n, packet) in spurt.packets[..20].iter().enumerate() {
        assert_eq!(packet.payload, vec![n as u8; 30]);
    }
    // In mid-speech they do not prolong it either.
    for _ in 0..200 {
        line.send(100, b"quiet");
        let forged = rtp(1, 0, 0, &[1; 60]);
        assert_eq!(line.receive(&forged), Spurt::default());
    }
    assert_eq!(line.send(100, b"quiet"), Spurt::default());
}

#[test]
fn repeated_packets_count_once() {
    let mut line = Line::with_levels();
    let packet = line.sealed(20, b"loud");
    assert_eq!(line.receive(&packet).packets.len(), 1);
    assert_eq!(line.receive(&packet), Spurt::default());
}

#[test]
fn a_microphone_that_was_not_agreed_on_is_not_looked_at() {
    let mut line = Line::with_levels();
    let packet = line.sealed(20, b"loud");
    line.uplink.set_track(None);
    assert_eq!(line.receive(&packet), Spurt::default());
    line.uplink.set_track(Some(MicrophoneTrack {
        codec: AudioCodec::Opus,
        payload_type: 96,
        level_extension: None,
    }));
    assert_eq!(line.receive(&packet), Spurt::default());
}

/// Resident memory of this process.
fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4_096
}

/// `cargo test --release -p avatar-core --lib microphone_costs -- --ignored --nocapture`
#[test]
#[ignore = "a measurement: prints as JSON what a packet and a microphone cost"]
fn microphone_costs() {
    const PACKETS: usize = 100_000;
    let (samples, onset_ms) = speech();
    let spoken = packets(&samples, 16_000, false);
    let quiet = packets(&[0; 16_000], 16_000, false);
    // A quiet room rather than digital silence: as long as Chromium's packets are there.
    let quiet = [quiet[10].clone(), vec![9; 40]].concat();
    let each_ns = |line: &mut Line, wanted, level, payload: &[u8]| {
        line.hearing.set_wanted(wanted);
        let packets: Vec<Vec<u8>> = (0..PACKETS)
            .map(|_| {
                let packet = line.sealed(level, payload);
                line.sent += 1;
                packet
            })
            .collect();
        line.sent -= PACKETS as u64;
        let mut time = Duration::ZERO;
        for packet in &packets {
            let now = line.now();
            let mut out = Spurt::default();
            let before = Instant::now();
            line.uplink.receive(now, packet, &mut line.opener, &mut out);
            time += before.elapsed();
            line.sent += 1;
        }
        time.as_nanos() as f64 / PACKETS as f64
    };
    let mut line = Line::with_levels();
    let unsubscribed = each_ns(&mut line, NOTHING, 30, &spoken[100]);
    let silent = each_ns(&mut line, EVERYTHING, 90, &quiet);
    let heap = line.uplink.pre_roll.heap_bytes();
    let forwarded = each_ns(&mut line, EVERYTHING, 30, &spoken[100]);

    // As it was before: webrtc-rs opens each packet.
    let provider = rtc_crypto::default_provider().unwrap();
    let profile = ProtectionProfile::AeadAes128Gcm;
    let mut context = keys(profile).opening_context(provider.crypto()).unwrap();
    let mut line = Line::with_levels();
    let packets: Vec<Vec<u8>> = (0..PACKETS)
        .map(|_| {
            let packet = line.sealed(90, &quiet);
            line.sent += 1;
            packet
        })
        .collect();
    let before = Instant::now();
    for packet in &packets {
        let plain = context.decrypt_rtp(packet).unwrap().freeze();
        std::hint::black_box(Bytes::copy_from_slice(&plain[HEADER..]));
    }
    let webrtc_rs = before.elapsed().as_nanos() as f64 / PACKETS as f64;

    const MICROPHONES: usize = 200;
    let resident = resident_bytes();
    let mut decode = Duration::ZERO;
    let (start, mut out) = (Instant::now(), Vec::new());
    let from = onset_ms as usize / 20;
    let speaking: Vec<Microphone> = (0..MICROPHONES)
        .map(|_| {
            let config = MicrophoneConfig::default();
            let mut microphone = Microphone::new(PeerId::nil(), AudioCodec::Opus, &config).unwrap();
            for n in 0..50_u16 {
                let received = start + 20 * MS * u32::from(n);
                let packet = MicrophonePacket {
                    received,
                    sequence: n,
                    timestamp: u32::from(n) * 960,
                    payload: Bytes::copy_from_slice(&spoken[from + usize::from(n)]),
                };
                let before = Instant::now();
                microphone.on_packet(received, T0, packet, &mut out);
                decode += before.elapsed();
            }
            out.clear();
            microphone
        })
        .collect();
    let active = (resident_bytes() - resident) / MICROPHONES;
    drop(speaking);
    println!(
        "{{\"ns\": {{\"clock\": {:.0}, \"unsubscribed\": {unsubscribed:.0}, \"silent\": {silent:.0}, \
         \"forwarded\": {forwarded:.0}, \"decoded\": {:.0}, \"webrtc_rs_opens\": {webrtc_rs:.0}}}, \
         \"bytes\": {{\"idle_unsubscribed\": {}, \"idle_subscribed\": {}, \"keys\": {}, \"active\": {active}}}}}",
        clock_ns(),
        decode.as_nanos() as f64 / (MICROPHONES * 50) as f64,
        size_of::<Uplink>(),
        size_of::<Uplink>() + heap,
        size_of::<super::super::opener::GcmOpener>(),
    );
}

/// What looking at the clock twice adds to each figure.
fn clock_ns() -> f64 {
    let start = Instant::now();
    for _ in 0..100_000 {
        std::hint::black_box(Instant::now().elapsed());
    }
    start.elapsed().as_nanos() as f64 / 100_000.0
}

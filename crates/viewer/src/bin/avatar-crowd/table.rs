//! A report for people.

use avatar_viewer::crowd::{CrowdReport, StepMs};

pub(crate) fn print(report: &CrowdReport) {
    let CrowdReport {
        viewers,
        connected,
        with_picture,
        gcm,
        inspected,
        ..
    } = report;
    let megabits = report.bytes as f64 * 8e-6 / report.seconds;
    println!(
        "viewers       {viewers}, connected {connected}, with picture {with_picture}, GCM {gcm}, inspected {inspected}"
    );
    println!(
        "fps           min {:.2}, p50 {:.2}; frames {}, frozen {}, incomplete {}, keyframes {}",
        report.fps.min,
        report.fps.p50,
        report.frames,
        report.frozen_frames,
        report.incomplete_frames,
        report
            .keyframes
            .map_or("unknown".to_owned(), |count| count.to_string()),
    );
    let (video, audio) = (&report.video, &report.audio);
    println!(
        "video         {} packets, lost {}, recovered {}, twice {}",
        video.packets, video.lost, video.recovered, video.duplicates
    );
    println!(
        "audio         {} packets, lost {}, twice {}",
        audio.packets, audio.lost, audio.duplicates
    );
    println!(
        "loss          {:.4} %, dropped at our sockets {}, on purpose {}; {megabits:.1} Mb/s",
        100.0 * report.loss,
        report.socket_drops,
        report.dropped_on_purpose
    );
    let interval = &report.interval_ms;
    println!(
        "interval      p50 {}, p99 {}, max {}",
        ms(interval.p50),
        ms(interval.p99),
        ms(interval.max)
    );
    let latency = &report.latency_ms;
    println!(
        "latency       p50 {}, p95 {}, p99 {}, max {}",
        ms(latency.p50),
        ms(latency.p95),
        ms(latency.p99),
        ms(latency.max)
    );
    let spread = &report.spread_ms;
    println!(
        "spread        p50 {}, p95 {}, p99 {}",
        ms(spread.p50),
        ms(spread.p95),
        ms(spread.p99)
    );
    let connect = &report.connect;
    for (name, step) in [
        ("WebSocket", &connect.websocket_ms),
        ("answer", &connect.answer_ms),
        ("ICE", &connect.ice_ms),
        ("DTLS", &connect.dtls_ms),
        ("first packet", &connect.first_packet_ms),
        ("first frame", &connect.first_frame_ms),
    ] {
        let StepMs { p50, p95, max } = *step;
        println!(
            "{name:<13} p50 {}, p95 {}, max {}",
            ms(p50),
            ms(p95),
            ms(max)
        );
    }
    println!(
        "feedback      NACK {}, PLI {}; opened {}, not authentic {}, unsent {}",
        report.nacks, report.plis, report.decrypted, report.auth_failures, report.unsent
    );
    if report.microphone_packets > 0 {
        println!("microphones   {} packets", report.microphone_packets);
    }
    let flood = &report.flood;
    if flood.sent > 0 {
        println!(
            "flood         {} sent; its own: {:.2} fps, lost {}, twice {}",
            flood.sent, flood.fps, flood.video.lost, flood.video.duplicates
        );
    }
    let decode = &report.decode;
    if decode.viewers > 0 {
        println!(
            "decoded       {} viewers, {} pictures, broken {}, skipped {}",
            decode.viewers, decode.pictures, decode.broken, decode.skipped
        );
    }
    println!(
        "own CPU       {:.2} s in {:.1} s",
        report.cpu_seconds, report.seconds
    );
    for failure in &report.failures {
        println!("failed        {failure}");
    }
}

fn ms(value: Option<f64>) -> String {
    value.map_or("-".to_owned(), |value| format!("{value:.1} ms"))
}

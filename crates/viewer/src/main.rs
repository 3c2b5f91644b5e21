//! `avatar-viewer`: many viewers at once, and what they saw.

#![forbid(unsafe_code)]

use std::process::ExitCode;
use std::time::Duration;

use avatar_viewer::{Report, Viewer, ViewerOptions};
use lexopt::prelude::*;
use serde::Serialize;

const USAGE: &str = "\
usage: avatar-viewer --url ws://HOST:PORT [options]
  --count N        viewers (1)
  --seconds S      how long to watch after the last one connected (10)
  --stagger-ms MS  between one viewer's start and the next (5)
  --threads N      threads to run them on (1)
  --drop SHARE     RTP packets to lose on purpose, 0 to 1 (0)
  --no-nack        do not ask for lost packets
  --json           print JSON, each viewer included";

struct Arguments {
    options: ViewerOptions,
    count: usize,
    watch: Duration,
    stagger: Duration,
    threads: usize,
    json: bool,
}

/// All viewers together.
#[derive(Serialize)]
struct Summary {
    viewers: usize,
    connected: usize,
    with_picture: usize,
    gcm: usize,
    fps_min: f64,
    fps_p50: f64,
    frames: u64,
    incomplete_frames: u64,
    keyframes: u64,
    longest_interval_ms: f32,
    video_packets: u64,
    video_lost: u64,
    audio_packets: u64,
    audio_lost: u64,
    nacks: u64,
    plis: u64,
    socket_drops: u64,
    megabits_per_second: f64,
    first_frame_p50_ms: f64,
    first_frame_p95_ms: f64,
    first_frame_max_ms: f64,
    seconds: f64,
    cpu_seconds: f64,
    failures: Vec<String>,
    reports: Vec<Report>,
}

fn main() -> ExitCode {
    let arguments = match parse() {
        Ok(Some(arguments)) => arguments,
        Ok(None) => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("{error}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(arguments.threads)
        .enable_all()
        .build();
    let summary = match runtime {
        Ok(runtime) => runtime.block_on(watch(&arguments)),
        Err(error) => {
            eprintln!("cannot start threads: {error}");
            return ExitCode::FAILURE;
        }
    };
    if arguments.json {
        match serde_json::to_string(&summary) {
            Ok(json) => println!("{json}"),
            Err(error) => eprintln!("cannot print JSON: {error}"),
        }
    } else {
        print(&summary);
    }
    if summary.with_picture == summary.viewers {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn parse() -> Result<Option<Arguments>, lexopt::Error> {
    let mut arguments = Arguments {
        options: ViewerOptions::new(""),
        count: 1,
        watch: Duration::from_secs(10),
        stagger: Duration::from_millis(5),
        threads: 1,
        json: false,
    };
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("url") => arguments.options.url = parser.value()?.string()?,
            Long("count") => arguments.count = parser.value()?.parse()?,
            Long("seconds") => {
                arguments.watch = parser.value()?.parse_with(|text| {
                    Duration::try_from_secs_f64(text.parse().unwrap_or(f64::NAN))
                })?;
            }
            Long("stagger-ms") => {
                arguments.stagger = Duration::from_millis(parser.value()?.parse()?);
            }
            Long("threads") => arguments.threads = parser.value()?.parse::<usize>()?.max(1),
            Long("drop") => arguments.options.drop_incoming = Some(parser.value()?.parse()?),
            Long("no-nack") => arguments.options.send_nack = false,
            Long("json") => arguments.json = true,
            Long("help") | Short('h') => return Ok(None),
            _ => return Err(argument.unexpected()),
        }
    }
    if arguments.options.url.is_empty() {
        return Err("--url is missing".into());
    }
    Ok(Some(arguments))
}

async fn watch(arguments: &Arguments) -> Summary {
    let mut connecting = Vec::new();
    for index in 0..arguments.count {
        let mut options = arguments.options.clone();
        options.seed = index as u64;
        connecting.push(tokio::spawn(Viewer::connect(options)));
        tokio::time::sleep(arguments.stagger).await;
    }
    let mut viewers = Vec::new();
    let mut failures = Vec::new();
    for task in connecting {
        match task.await {
            Ok(Ok(viewer)) => viewers.push(viewer),
            Ok(Err(error)) => failures.push(error.to_string()),
            Err(error) => failures.push(error.to_string()),
        }
    }
    // Rates are taken over one window in which all are there.
    let before: Vec<Report> = viewers.iter().map(Viewer::report).collect();
    let (start, cpu) = (std::time::Instant::now(), cpu_seconds());
    tokio::time::sleep(arguments.watch).await;
    let after: Vec<Report> = viewers.iter().map(Viewer::report).collect();
    let seconds = start.elapsed().as_secs_f64();
    let cpu = cpu_seconds() - cpu;
    let mut reports = Vec::new();
    for (viewer, mut report) in viewers.into_iter().zip(after) {
        report.socket_drops = viewer.finish().await.socket_drops;
        reports.push(report);
    }
    summarise(arguments.count, &before, reports, seconds, cpu, failures)
}

fn summarise(
    viewers: usize,
    before: &[Report],
    reports: Vec<Report>,
    seconds: f64,
    cpu_seconds: f64,
    failures: Vec<String>,
) -> Summary {
    let sum = |of: fn(&Report) -> u64| reports.iter().map(of).sum::<u64>();
    let during = |of: fn(&Report) -> u64| sum(of) - before.iter().map(of).sum::<u64>();
    let fps = sorted(
        before
            .iter()
            .zip(&reports)
            .map(|(before, after)| (after.video.frames - before.video.frames) as f64 / seconds),
    );
    let first = sorted(
        reports
            .iter()
            .filter_map(|report| report.times.first_frame_ms),
    );
    let intervals = reports.iter().flat_map(|report| &report.video.intervals_ms);
    Summary {
        viewers,
        connected: reports.len(),
        with_picture: first.len(),
        gcm: reports
            .iter()
            .filter_map(|report| report.srtp_profile.as_deref())
            .filter(|profile| profile.ends_with("GCM"))
            .count(),
        fps_min: quantile(&fps, 0.0),
        fps_p50: quantile(&fps, 0.5),
        frames: sum(|report| report.video.frames),
        incomplete_frames: sum(|report| report.video.incomplete_frames),
        keyframes: sum(|report| report.video.keyframes),
        longest_interval_ms: intervals.copied().fold(0.0, f32::max),
        video_packets: sum(|report| report.video.sequence.received),
        video_lost: sum(|report| report.video.sequence.lost),
        audio_packets: sum(|report| report.audio.sequence.received),
        audio_lost: sum(|report| report.audio.sequence.lost),
        nacks: sum(|report| report.feedback.nacks),
        plis: sum(|report| report.feedback.plis),
        socket_drops: sum(|report| report.socket_drops),
        megabits_per_second: during(|report| report.video.bytes + report.audio.bytes) as f64 * 8e-6
            / seconds,
        first_frame_p50_ms: quantile(&first, 0.5),
        first_frame_p95_ms: quantile(&first, 0.95),
        first_frame_max_ms: quantile(&first, 1.0),
        seconds,
        cpu_seconds,
        failures,
        reports,
    }
}

fn print(summary: &Summary) {
    let Summary {
        viewers,
        connected,
        with_picture,
        gcm,
        ..
    } = summary;
    println!(
        "viewers       {viewers}, connected {connected}, with picture {with_picture}, GCM {gcm}"
    );
    println!(
        "fps           min {:.1}, p50 {:.1}; longest interval {:.0} ms",
        summary.fps_min, summary.fps_p50, summary.longest_interval_ms
    );
    println!(
        "frames        {}, keyframes {}, incomplete {}",
        summary.frames, summary.keyframes, summary.incomplete_frames
    );
    println!(
        "packets       video {} (lost {}), audio {} (lost {}), {:.1} Mb/s",
        summary.video_packets,
        summary.video_lost,
        summary.audio_packets,
        summary.audio_lost,
        summary.megabits_per_second
    );
    println!(
        "feedback      NACK {}, PLI {}; dropped at our sockets {}",
        summary.nacks, summary.plis, summary.socket_drops
    );
    println!(
        "first frame   p50 {:.0} ms, p95 {:.0} ms, max {:.0} ms",
        summary.first_frame_p50_ms, summary.first_frame_p95_ms, summary.first_frame_max_ms
    );
    println!(
        "own CPU       {:.2} s in {:.1} s",
        summary.cpu_seconds, summary.seconds
    );
    for failure in &summary.failures {
        println!("failed        {failure}");
    }
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

/// The nearest value; 0 of none.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let index = (sorted.len().saturating_sub(1) as f64 * share).round();
    sorted.get(index as usize).copied().unwrap_or(0.0)
}

/// User and system time of this process: `utime` and `stime` of proc(5), in ticks of 10 ms
/// (`USER_HZ` is 100 on every Linux that we build for).
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The second field is the name in brackets and may hold spaces: count from behind it.
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let ticks: u64 = fields
        .split_ascii_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|ticks| ticks.parse::<u64>().ok())
        .sum();
    ticks as f64 / 100.0
}

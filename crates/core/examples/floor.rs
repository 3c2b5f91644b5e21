//! The floor of a fan-out: only header, AES-128-GCM seal (ring) and one GSO send a frame, to loopback sockets
//! that another process drains. No ICE, no RTCP, no history, no queue: no server of this kind costs less here.
//! Prints JSON.
//!
//! `cargo run --release -p avatar-core --example floor -- VIEWERS SECONDS PACKETS_A_FRAME PACKET_BYTES OPUS_BYTES`

#![allow(
    clippy::unwrap_used,
    reason = "a measurement that cannot run has nothing to say"
)]

use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::net::{SocketAddr, UdpSocket};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};
use quinn_udp::{Transmit, UdpSocketState};
use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

const HEADER: usize = 12;
const FPS: u32 = 30;
const OPUS_PER_SECOND: u32 = 50;
/// As large as the engine's own.
const SOCKET_BUFFER: usize = 8 << 20;

struct Viewer {
    address: SocketAddr,
    key: LessSafeKey,
    sequence: u64,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [drain, viewers] = &arguments[..]
        && drain == "drain"
    {
        return drain_sockets(viewers.parse().unwrap());
    }
    let numbers: Vec<usize> = arguments.iter().map(|text| text.parse().unwrap()).collect();
    let [viewers, seconds, packets, packet_bytes, opus_bytes] = numbers[..] else {
        panic!("five numbers are wanted");
    };
    let mut drain = Command::new(std::env::current_exe().unwrap())
        .args(["drain", &viewers.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(drain.stdout.take().unwrap()).lines();
    let mut viewers: Vec<Viewer> = lines
        .take(viewers)
        .map(|line| Viewer {
            address: SocketAddr::from(([127, 0, 0, 1], line.unwrap().parse().unwrap())),
            key: LessSafeKey::new(
                UnboundKey::new(&AES_128_GCM, &rand::random::<[u8; 16]>()).unwrap(),
            ),
            sequence: 0,
        })
        .collect();

    let socket = socket2::Socket::from(UdpSocket::bind("127.0.0.1:0").unwrap());
    socket.set_send_buffer_size(SOCKET_BUFFER).unwrap();
    let socket = UdpSocket::from(socket);
    let state = UdpSocketState::new((&socket).into()).unwrap();
    let duration = Duration::from_secs(seconds as u64);
    let frame = vec![7; packets * packet_bytes];
    let opus = vec![7; opus_bytes];
    let mut scratch = Vec::new();
    let (mut frames, mut chunks) = (0, 0);
    let mut refused = 0u64;
    let (start, cpu) = (Instant::now(), cpu_seconds());
    loop {
        let due_frame = Duration::from_secs(1) * frames / FPS;
        let due_chunk = Duration::from_secs(1) * chunks / OPUS_PER_SECOND;
        let due = due_frame.min(due_chunk);
        if due >= duration {
            break;
        }
        sleep((start + due).saturating_duration_since(Instant::now()));
        let (data, size) = if due_frame <= due_chunk {
            frames += 1;
            (&frame, packet_bytes)
        } else {
            chunks += 1;
            (&opus, opus_bytes)
        };
        for viewer in &mut viewers {
            scratch.clear();
            for payload in data.chunks(size) {
                seal(viewer, payload, &mut scratch);
            }
            let segment = HEADER + size + AES_128_GCM.tag_len();
            let transmit = Transmit {
                destination: viewer.address,
                ecn: None,
                contents: &scratch,
                segment_size: (scratch.len() > segment).then_some(segment),
                src_ip: None,
            };
            refused += u64::from(state.try_send((&socket).into(), &transmit).is_err());
        }
    }
    let (seconds, cpu) = (start.elapsed().as_secs_f64(), cpu_seconds() - cpu);
    drop(drain.stdin.take());
    drain.wait().unwrap();
    println!(
        "{{\"viewers\":{},\"seconds\":{seconds:.3},\"cpuSeconds\":{cpu:.3},\"fps\":{:.2},\"refused\":{refused}}}",
        viewers.len(),
        f64::from(frames) / seconds,
    );
}

fn seal(viewer: &mut Viewer, payload: &[u8], scratch: &mut Vec<u8>) {
    let start = scratch.len();
    viewer.sequence += 1;
    let mut header = [0x80; HEADER];
    header[4..].copy_from_slice(&viewer.sequence.to_be_bytes());
    scratch.extend_from_slice(&header);
    scratch.extend_from_slice(payload);
    let nonce = Nonce::assume_unique_for_key(header);
    let tag = viewer
        .key
        .seal_in_place_separate_tag(nonce, Aad::from(header), &mut scratch[start + HEADER..])
        .unwrap();
    scratch.extend_from_slice(tag.as_ref());
}

/// Reads and forgets what comes to so many sockets, until standard input ends.
fn drain_sockets(count: usize) {
    let mut poll = Poll::new().unwrap();
    let mut sockets = Vec::new();
    for token in 0..count {
        let mut socket = mio::net::UdpSocket::bind(([127, 0, 0, 1], 0).into()).unwrap();
        println!("{}", socket.local_addr().unwrap().port());
        poll.registry()
            .register(&mut socket, Token(token), Interest::READABLE)
            .unwrap();
        sockets.push(socket);
    }
    std::thread::spawn(|| {
        let _ = std::io::stdin().read(&mut [0]);
        std::process::exit(0);
    });
    let mut events = Events::with_capacity(1_024);
    let mut buffer = [0; 2_048];
    loop {
        poll.poll(&mut events, None).unwrap();
        for event in &events {
            loop {
                match sockets[event.token().0].recv(&mut buffer) {
                    Ok(_) => {}
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => panic!("{error}"),
                }
            }
        }
    }
}

/// Time that the main thread, the only one, was on a CPU: the first field of schedstat, in ns.
fn cpu_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/self/schedstat").unwrap();
    let nanoseconds: f64 = text
        .split_ascii_whitespace()
        .next()
        .unwrap()
        .parse()
        .unwrap();
    nanoseconds / 1e9
}

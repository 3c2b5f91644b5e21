//! The floor of a fan-out: only header, AES-128-GCM seal (ring) and one GSO send a frame, to loopback sockets
//! that another process drains as the load generator does (one socket a viewer, mio, `recvmmsg` and UDP GRO by
//! quinn-udp, the same batches and pauses), since loopback charges the receiver's wake-ups to the sender. No ICE, no RTCP, no history, no queue: no server of this kind costs less here. Prints JSON.
//!
//! `cargo run --release -p avatar-core --example floor -- VIEWERS SECONDS PACKETS_A_FRAME PACKET_BYTES OPUS_BYTES`
//!
//! `PACKETS_A_FRAME` may be a fraction: frames then differ by one packet, so that the mean is met. Bytes are
//! those of RTP payloads.

#![allow(
    clippy::unwrap_used,
    reason = "a measurement that cannot run has nothing to say"
)]

use std::io::{BufRead, BufReader, IoSliceMut, Read, Write};
use std::net::{SocketAddr, UdpSocket};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token, Waker};
use quinn_udp::{RecvMeta, Transmit, UdpSocketState};
use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

const HEADER: usize = 12;
const FPS: u32 = 30;
const OPUS_PER_SECOND: u32 = 50;
/// As large as the engine's own.
const SOCKET_BUFFER: usize = 8 << 20;
/// Room for what GRO puts together.
const RECEIVE_BUFFER: usize = 65_536;
/// Messages a read, as in `crates/viewer/src/crowd/socket.rs`.
const BATCH: usize = 4;
/// Between two looks at the sockets, as in `crates/viewer/src/crowd/options.rs`.
const PAUSE: Duration = Duration::from_millis(1);

struct Viewer {
    address: SocketAddr,
    key: LessSafeKey,
    sequence: u64,
}

/// What is sent to everybody.
struct Shape {
    duration: Duration,
    packets_a_frame: f64,
    packet_bytes: usize,
    opus_bytes: usize,
}

/// What the sending thread did.
struct Sent {
    seconds: f64,
    cpu_seconds: f64,
    frames: u32,
    packets: u64,
    refused: u64,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match &arguments[..] {
        [drain, viewers] if drain == "drain" => drain_sockets(viewers.parse().unwrap()),
        [viewers, seconds, packets_a_frame, packet_bytes, opus_bytes] => measure(
            viewers,
            &Shape {
                duration: Duration::from_secs(seconds.parse().unwrap()),
                packets_a_frame: packets_a_frame.parse().unwrap(),
                packet_bytes: packet_bytes.parse().unwrap(),
                opus_bytes: opus_bytes.parse().unwrap(),
            },
        ),
        _ => panic!("five numbers are wanted"),
    }
}

fn measure(count: &str, shape: &Shape) {
    let mut drain = Command::new(std::env::current_exe().unwrap())
        .args(["drain", count])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(drain.stdout.take().unwrap()).lines();
    let mut viewers: Vec<Viewer> = (&mut lines)
        .take(count.parse().unwrap())
        .map(|port| Viewer::new(port.unwrap().parse().unwrap()))
        .collect();
    let sent = send(&mut viewers, shape);
    drop(drain.stdin.take());
    let drained = lines.next().unwrap().unwrap();
    drain.wait().unwrap();
    println!(
        "{{\"viewers\":{},\"seconds\":{:.3},\"cpuSeconds\":{:.4},\"fps\":{:.2},\"packets\":{},\"refused\":{},\"drain\":{drained}}}",
        viewers.len(),
        sent.seconds,
        sent.cpu_seconds,
        f64::from(sent.frames) / sent.seconds,
        sent.packets,
        sent.refused,
    );
}

/// Sends frames and sound at their pace until the time is over.
fn send(viewers: &mut [Viewer], shape: &Shape) -> Sent {
    let socket = socket2::Socket::from(UdpSocket::bind("127.0.0.1:0").unwrap());
    socket.set_send_buffer_size(SOCKET_BUFFER).unwrap();
    let socket = UdpSocket::from(socket);
    let state = UdpSocketState::new((&socket).into()).unwrap();
    let most = shape.packets_a_frame.ceil() as usize;
    let frame = vec![7; most * shape.packet_bytes];
    let opus = vec![7; shape.opus_bytes];
    let mut scratch = Vec::new();
    let (mut frames, mut chunks) = (0, 0);
    let mut carry = 0.0;
    let (mut packets, mut refused) = (0, 0);
    let (start, cpu) = (Instant::now(), cpu_seconds("/proc/thread-self/schedstat"));
    loop {
        let due_frame = Duration::from_secs(1) * frames / FPS;
        let due_chunk = Duration::from_secs(1) * chunks / OPUS_PER_SECOND;
        let due = due_frame.min(due_chunk);
        if due >= shape.duration {
            break;
        }
        sleep((start + due).saturating_duration_since(Instant::now()));
        let (data, size) = if due_frame <= due_chunk {
            frames += 1;
            carry += shape.packets_a_frame;
            let now = (carry as usize).clamp(1, most);
            carry -= now as f64;
            (&frame[..now * shape.packet_bytes], shape.packet_bytes)
        } else {
            chunks += 1;
            (&opus[..], shape.opus_bytes)
        };
        for viewer in &mut *viewers {
            scratch.clear();
            for payload in data.chunks(size) {
                viewer.seal(payload, &mut scratch);
                packets += 1;
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
    Sent {
        seconds: start.elapsed().as_secs_f64(),
        cpu_seconds: cpu_seconds("/proc/thread-self/schedstat") - cpu,
        frames,
        packets,
        refused,
    }
}

impl Viewer {
    fn new(port: u16) -> Self {
        let key = UnboundKey::new(&AES_128_GCM, &rand::random::<[u8; 16]>()).unwrap();
        Self {
            address: SocketAddr::from(([127, 0, 0, 1], port)),
            key: LessSafeKey::new(key),
            sequence: 0,
        }
    }

    /// Appends one packet: header, sealed payload, tag.
    fn seal(&mut self, payload: &[u8], scratch: &mut Vec<u8>) {
        let start = scratch.len();
        self.sequence += 1;
        let mut header = [0x80; HEADER];
        header[4..].copy_from_slice(&self.sequence.to_be_bytes());
        scratch.extend_from_slice(&header);
        scratch.extend_from_slice(payload);
        let nonce = Nonce::assume_unique_for_key(header);
        let tag = self
            .key
            .seal_in_place_separate_tag(nonce, Aad::from(header), &mut scratch[start + HEADER..])
            .unwrap();
        scratch.extend_from_slice(tag.as_ref());
    }
}

/// Reads and counts what comes to so many sockets, until standard input ends; then prints the counts.
fn drain_sockets(count: usize) {
    let mut poll = Poll::new().unwrap();
    let mut sockets = Vec::new();
    for token in 0..count {
        let mut socket = mio::net::UdpSocket::bind(([127, 0, 0, 1], 0).into()).unwrap();
        let state = UdpSocketState::new((&socket).into()).unwrap();
        println!("{}", socket.local_addr().unwrap().port());
        poll.registry()
            .register(&mut socket, Token(token), Interest::READABLE)
            .unwrap();
        sockets.push((socket, state));
    }
    // Closing it would take its event back: it lives as long as the poll.
    let waker = Arc::new(Waker::new(poll.registry(), Token(count)).unwrap());
    let end = Arc::clone(&waker);
    std::thread::spawn(move || {
        let _ = std::io::stdin().read(&mut [0]);
        end.wake().unwrap();
    });
    let mut events = Events::with_capacity(1_024);
    let mut buffers = vec![vec![0; RECEIVE_BUFFER]; BATCH];
    let mut packets = 0;
    loop {
        poll.poll(&mut events, None).unwrap();
        for event in &events {
            let Some((socket, state)) = sockets.get(event.token().0) else {
                let cpu = cpu_seconds("/proc/self/schedstat");
                println!("{{\"packets\":{packets},\"cpuSeconds\":{cpu:.4}}}");
                std::io::stdout().flush().unwrap();
                return;
            };
            packets += drain(socket, state, &mut buffers);
        }
        sleep(PAUSE);
    }
}

/// Empties one socket; returns how many packets there were.
fn drain(socket: &mio::net::UdpSocket, state: &UdpSocketState, buffers: &mut [Vec<u8>]) -> usize {
    let mut packets = 0;
    let mut metas = [RecvMeta::default(); BATCH];
    let mut slices: Vec<IoSliceMut<'_>> = buffers
        .iter_mut()
        .map(|buffer| IoSliceMut::new(buffer))
        .collect();
    // Epoll tells of each arrival (its edge): a read that was not full need not be repeated.
    while let Ok(count) = socket.try_io(|| state.recv(socket.into(), &mut slices, &mut metas)) {
        packets += metas[..count]
            .iter()
            .map(|meta| meta.len.div_ceil(meta.stride.max(1)))
            .sum::<usize>();
        if count < BATCH {
            break;
        }
    }
    packets
}

/// How long a thread was on a CPU: the first field of schedstat, in ns.
fn cpu_seconds(schedstat: &str) -> f64 {
    let text = std::fs::read_to_string(schedstat).unwrap();
    let nanoseconds: f64 = text
        .split_ascii_whitespace()
        .next()
        .unwrap()
        .parse()
        .unwrap();
    nanoseconds / 1e9
}

//! UDP sockets, one a viewer: batches in (`recvmmsg`, UDP GRO through quinn-udp), single datagrams out.

use std::collections::HashSet;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use mio::net::UdpSocket;
use quinn_udp::{RecvMeta, UdpSocketState};

/// Messages a read. One holds all packets of a frame that was sent as one (GSO), so that few wait together.
const BATCH: usize = 4;

/// A message that GRO has put together.
const RECEIVE_BUFFER: usize = 65_536;

/// One viewer's socket.
pub(super) struct Socket {
    pub(super) io: UdpSocket,
    state: UdpSocketState,
}

impl Socket {
    pub(super) fn new(socket: std::net::UdpSocket) -> io::Result<Self> {
        let state = UdpSocketState::new((&socket).into())?;
        Ok(Self {
            io: UdpSocket::from_std(socket),
            state,
        })
    }

    /// False if the datagram was not taken.
    pub(super) fn send(&self, to: SocketAddr, datagram: &[u8]) -> bool {
        self.io.send_to(datagram, to).is_ok()
    }
}

/// Room for one read, used for every socket in turn.
pub(super) struct Buffers(Vec<Vec<u8>>);

/// One message: datagrams of `stride` bytes from one sender.
pub(super) struct Received<'a> {
    pub(super) from: SocketAddr,
    pub(super) data: &'a mut [u8],
    pub(super) stride: usize,
    /// When the kernel put it into the socket, by the Unix clock.
    pub(super) arrival: Duration,
}

impl Buffers {
    pub(super) fn new() -> Self {
        Self(vec![vec![0; RECEIVE_BUFFER]; BATCH])
    }

    /// Reads once; whether more may wait. Epoll tells of each arrival (its edge), so that a read that was not
    /// full need not be repeated.
    pub(super) fn receive(&mut self, socket: &Socket, mut take: impl FnMut(Received<'_>)) -> bool {
        let mut metas = [RecvMeta::default(); BATCH];
        let mut slices = self.0.iter_mut();
        let mut slices: [IoSliceMut<'_>; BATCH] = std::array::from_fn(|_| {
            IoSliceMut::new(slices.next().map(Vec::as_mut_slice).unwrap_or_default())
        });
        let read = socket.io.try_io(|| {
            socket
                .state
                .recv((&socket.io).into(), &mut slices, &mut metas)
        });
        let Ok(count) = read else {
            // Nothing there, or the answer to a datagram that found no listener: the next read goes on.
            return read.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused);
        };
        for (meta, buffer) in metas.iter().zip(&mut self.0).take(count) {
            take(Received {
                from: meta.addr,
                data: buffer.get_mut(..meta.len).unwrap_or_default(),
                stride: meta.stride,
                arrival: meta.timestamp.unwrap_or_else(unix_time),
            });
        }
        count == BATCH
    }
}

/// Now, by the Unix clock.
pub(super) fn unix_time() -> Duration {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
}

/// What the kernel dropped so far at full sockets of these ports: the last column of `/proc/net/udp` (proc(5)).
pub(super) fn drops(ports: &HashSet<u16>) -> u64 {
    ["/proc/self/net/udp", "/proc/self/net/udp6"]
        .into_iter()
        .filter_map(|path| std::fs::read_to_string(path).ok())
        .map(|table| {
            table
                .lines()
                .filter_map(|line| drops_of(line, ports))
                .sum::<u64>()
        })
        .sum()
}

fn drops_of(line: &str, ports: &HashSet<u16>) -> Option<u64> {
    let mut columns = line.split_ascii_whitespace();
    let (_, port) = columns.nth(1)?.rsplit_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    ports
        .contains(&port)
        .then(|| columns.next_back()?.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_drops_of_our_ports_are_read() {
        let line = "  12: 0100007F:1F90 00000000:0000 07 00000000:00000000 00:00000000 00000000  0 0 99 2 0000000000000000 7";
        assert_eq!(drops_of(line, &HashSet::from([8080])), Some(7));
        assert_eq!(drops_of(line, &HashSet::from([8081])), None);
    }

    #[test]
    fn a_read_gives_every_datagram_and_the_time_of_its_arrival() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        let to = socket.local_addr().unwrap();
        let socket = Socket::new(socket).unwrap();
        let sender = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        // The kernel begins to stamp arrivals a moment after the first socket of the machine asks for it; until then it
        // gives the time of the read.
        let begun = std::time::Instant::now();
        loop {
            let before = unix_time();
            for number in 0..10u8 {
                sender.send_to(&[number; 3], to).unwrap();
            }
            let after = unix_time();
            std::thread::sleep(std::time::Duration::from_millis(1));
            let mut buffers = Buffers::new();
            let (mut numbers, mut stamped) = (Vec::new(), true);
            while buffers.receive(&socket, |received| {
                assert!(received.arrival >= before);
                stamped &= received.arrival <= after;
                let datagrams = received.data.chunks(received.stride);
                numbers.extend(datagrams.map(|datagram| datagram[0]));
            }) {}
            assert_eq!(numbers, (0..10).collect::<Vec<u8>>());
            if stamped {
                return;
            }
            assert!(begun.elapsed().as_secs() < 10, "arrivals are never stamped");
        }
    }
}

//! The UDP sockets behind one port: batches in, segmented sends out, with the kernel's help where it offers
//! any (quinn-udp: `recvmmsg` and GRO, UDP GSO; plain calls elsewhere).

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket as StdUdpSocket};

use mio::net::UdpSocket;
use mio::{Interest, Registry, Token};
use quinn_udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSocketState};
use socket2::{Domain, Protocol, Socket, Type};

/// Kernel buffers: a 100-packet keyframe to some hundred viewers at once, and their feedback.
const SOCKET_BUFFER: usize = 8 << 20;

/// Room for one received datagram, or several that GRO has put together.
const RECEIVE_BUFFER: usize = 65_536;

/// Attempts to find a port that is free for IPv4 and IPv6 alike.
const PORT_ATTEMPTS: usize = 16;

/// One bound socket.
struct Bound {
    socket: UdpSocket,
    state: UdpSocketState,
    address: SocketAddr,
}

/// All sockets of one shard; they share a port.
pub(super) struct Sockets {
    bound: Vec<Bound>,
    buffers: Vec<Vec<u8>>,
}

impl Sockets {
    /// Binds `port` (0: any) on each of `ips`, or on every address of the machine.
    pub(super) fn bind(ips: &[IpAddr], port: u16) -> io::Result<Self> {
        let wildcard = [
            IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        ];
        let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for _ in 0..PORT_ATTEMPTS {
            let attempt = if ips.is_empty() {
                bind_all(&wildcard, port, true)
            } else {
                bind_all(ips, port, false)
            };
            match attempt {
                Ok(bound) => {
                    let buffers = vec![vec![0; RECEIVE_BUFFER]; BATCH_SIZE];
                    return Ok(Self { bound, buffers });
                }
                // Another socket had the port that the first one was given: draw again.
                Err(error) if port == 0 && error.kind() == io::ErrorKind::AddrInUse => last = error,
                Err(error) => return Err(error),
            }
        }
        Err(last)
    }

    pub(super) fn register(&mut self, registry: &Registry) -> io::Result<()> {
        for (position, bound) in self.bound.iter_mut().enumerate() {
            registry.register(&mut bound.socket, Token(position), Interest::READABLE)?;
        }
        Ok(())
    }

    pub(super) fn port(&self) -> u16 {
        self.bound.first().map_or(0, |bound| bound.address.port())
    }

    /// The families that are bound: whether IPv4, whether IPv6.
    pub(super) fn families(&self) -> (bool, bool) {
        let v4 = self.bound.iter().any(|bound| bound.address.is_ipv4());
        (v4, self.bound.iter().any(|bound| bound.address.is_ipv6()))
    }

    /// Receives one batch from the socket at `position`; `take` gets our address, the sender's and each
    /// datagram. False once nothing waits any more.
    pub(super) fn receive(
        &mut self,
        position: usize,
        mut take: impl FnMut(SocketAddr, SocketAddr, &[u8]),
    ) -> bool {
        let Some(bound) = self.bound.get(position) else {
            return false;
        };
        let mut slices: Vec<IoSliceMut<'_>> = self
            .buffers
            .iter_mut()
            .map(|buffer| IoSliceMut::new(buffer))
            .collect();
        let mut metas = [RecvMeta::default(); BATCH_SIZE];
        // The error is taken through mio, which then knows whether to report the socket again.
        let received = bound.socket.try_io(|| {
            bound
                .state
                .recv((&bound.socket).into(), &mut slices, &mut metas)
        });
        let Ok(count) = received else { return false };
        drop(slices);
        for (meta, buffer) in metas.iter().zip(&self.buffers).take(count) {
            let local = SocketAddr::new(
                meta.dst_ip.unwrap_or(bound.address.ip()),
                bound.address.port(),
            );
            let data = buffer.get(..meta.len).unwrap_or_default();
            for datagram in data.chunks(meta.stride.max(1)) {
                take(local, meta.addr, datagram);
            }
        }
        true
    }

    pub(super) fn len(&self) -> usize {
        self.bound.len()
    }

    /// Sends `contents` as datagrams of `segment` bytes (the last one may be shorter) from `local` to `remote`.
    pub(super) fn send(
        &self,
        local: SocketAddr,
        remote: SocketAddr,
        contents: &[u8],
        segment: usize,
    ) -> io::Result<()> {
        let bound = self.for_address(local, remote)?;
        let transmit = |contents: &[u8], segment_size: Option<usize>| {
            let source = (!local.ip().is_unspecified() && bound.address.ip().is_unspecified())
                .then(|| local.ip());
            let transmit = Transmit {
                destination: remote,
                ecn: None,
                contents,
                segment_size,
                src_ip: source,
            };
            bound.state.try_send((&bound.socket).into(), &transmit)
        };
        // Linux takes 64 segments and 64 KiB; where there is no GSO, quinn-udp says 1.
        let most = bound
            .state
            .max_gso_segments()
            .min(65_000 / segment.max(1))
            .max(1);
        for batch in contents.chunks(most * segment.max(1)) {
            transmit(batch, (batch.len() > segment).then_some(segment))?;
        }
        Ok(())
    }

    fn for_address(&self, local: SocketAddr, remote: SocketAddr) -> io::Result<&Bound> {
        let family = |bound: &&Bound| bound.address.is_ipv4() == remote.is_ipv4();
        self.bound
            .iter()
            .find(|bound| bound.address == local)
            .or_else(|| {
                self.bound
                    .iter()
                    .find(|bound| family(bound) && bound.address.ip().is_unspecified())
            })
            .or_else(|| self.bound.iter().find(family))
            .ok_or_else(|| io::Error::from(io::ErrorKind::AddrNotAvailable))
    }
}

/// Binds every address to one port. With `any_family` a family that the machine lacks is left out.
fn bind_all(ips: &[IpAddr], mut port: u16, any_family: bool) -> io::Result<Vec<Bound>> {
    let mut all: Vec<Bound> = Vec::with_capacity(ips.len());
    for ip in ips {
        match bind_one(SocketAddr::new(*ip, port)) {
            Ok(bound) => {
                port = bound.address.port();
                all.push(bound);
            }
            Err(error)
                if any_family && ip.is_ipv6() && error.kind() != io::ErrorKind::AddrInUse =>
            {
                tracing::debug!(%error, "no IPv6");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(all)
}

fn bind_one(address: SocketAddr) -> io::Result<Bound> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::DGRAM,
        Some(Protocol::UDP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    // The kernel may grant less; that costs packets only in bursts, which are counted.
    let _ = socket.set_recv_buffer_size(SOCKET_BUFFER);
    let _ = socket.set_send_buffer_size(SOCKET_BUFFER);
    socket.bind(&address.into())?;
    let socket = StdUdpSocket::from(socket);
    let address = socket.local_addr()?;
    let state = UdpSocketState::new((&socket).into())?;
    Ok(Bound {
        socket: UdpSocket::from_std(socket),
        state,
        address,
    })
}

//! The UDP sockets behind one port: batches in, segmented sends out, with the kernel's help where it offers
//! any (quinn-udp: `recvmmsg` and GRO, UDP GSO; plain calls elsewhere).
//!
//! Several shards share a port. On Linux each has a socket of its own and the kernel deals the datagrams out by
//! address (`SO_REUSEPORT`); elsewhere all send through one socket, and the first shard receives for all.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket as StdUdpSocket};

use mio::net::UdpSocket;
use mio::{Interest, Registry, Token};
use quinn_udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSocketState};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

/// Kernel buffers: a 100-packet keyframe to some hundred viewers at once, and their feedback.
const SOCKET_BUFFER: usize = 8 << 20;

/// Room for one received datagram, or several that GRO has put together.
const RECEIVE_BUFFER: usize = 65_536;

/// Attempts to find a port that is free for IPv4 and IPv6 alike.
const PORT_ATTEMPTS: usize = 16;

/// One bound socket.
struct Bound {
    socket: UdpSocket,
    /// For segmented sends, and for what comes in.
    state: UdpSocketState,
    /// For single datagrams, which also go to addresses that nobody proved: at the first one that the kernel calls
    /// invalid quinn-udp gives up segmentation, for ever and for all.
    single: UdpSocketState,
    address: SocketAddr,
}

/// All sockets of one shard; they share a port.
pub(super) struct Sockets {
    bound: Vec<Bound>,
    /// Whether another shard receives what comes to them.
    send_only: bool,
}

/// What one look at a socket brought; reused from look to look.
pub(super) struct Batch {
    buffers: Vec<Vec<u8>>,
    metas: [RecvMeta; BATCH_SIZE],
    count: usize,
    bound: SocketAddr,
}

impl Default for Batch {
    /// One without room, to stand in for one that is in use.
    fn default() -> Self {
        Self {
            buffers: Vec::new(),
            metas: [RecvMeta::default(); BATCH_SIZE],
            count: 0,
            bound: any_address(true),
        }
    }
}

impl Batch {
    pub(super) fn new() -> Self {
        Self {
            buffers: vec![vec![0; RECEIVE_BUFFER]; BATCH_SIZE],
            ..Self::default()
        }
    }

    /// Our address, the sender's, and each datagram.
    pub(super) fn datagrams(&self) -> impl Iterator<Item = (SocketAddr, SocketAddr, &[u8])> {
        let received = self.metas.iter().zip(&self.buffers).take(self.count);
        received.flat_map(|(meta, buffer)| {
            let ip = meta.dst_ip.unwrap_or(self.bound.ip());
            let local = SocketAddr::new(ip, self.bound.port());
            let data = buffer.get(..meta.len).unwrap_or_default();
            data.chunks(meta.stride.max(1))
                .map(move |datagram| (local, meta.addr, datagram))
        })
    }
}

impl Sockets {
    /// Binds `port` (0: any) on each of `ips`, or on every address of the machine, once for each of `shards`.
    pub(super) fn bind(ips: &[IpAddr], port: u16, shards: usize) -> io::Result<Vec<Self>> {
        let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for _ in 0..PORT_ATTEMPTS {
            match Self::bind_first(ips, port) {
                Ok(first) => return first.share(shards),
                // Another socket had the port that the first one was given: draw again.
                Err(error) if port == 0 && error.kind() == io::ErrorKind::AddrInUse => last = error,
                Err(error) => return Err(error),
            }
        }
        Err(last)
    }

    /// The first shard's sockets. They do not share the port yet, so that one which anybody has is an error.
    fn bind_first(ips: &[IpAddr], port: u16) -> io::Result<Self> {
        let wildcard = [any_address(true).ip(), any_address(false).ip()];
        let bound = if ips.is_empty() {
            bind_all(&wildcard, port, true)
        } else {
            bind_all(ips, port, false)
        }?;
        Ok(Self {
            bound,
            send_only: false,
        })
    }

    /// These sockets, and as many for each further shard.
    fn share(self, shards: usize) -> io::Result<Vec<Self>> {
        if shards > 1 && HAS_REUSEPORT {
            for bound in &self.bound {
                set_reuse_port(&SockRef::from(&bound.socket))?;
            }
        }
        let mut all = vec![self];
        while all.len() < shards
            && let Some(first) = all.first()
        {
            let copy = |bound: &Bound| match HAS_REUSEPORT {
                true => bind_one(bound.address, true),
                false => bound.another_handle(),
            };
            let bound = first.bound.iter().map(copy).collect::<io::Result<_>>()?;
            all.push(Self {
                bound,
                send_only: !HAS_REUSEPORT,
            });
        }
        Ok(all)
    }

    pub(super) fn register(&mut self, registry: &Registry) -> io::Result<()> {
        if self.send_only {
            return Ok(());
        }
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

    /// Receives one batch from the socket at `position`. False once nothing waits any more: a batch that is not full
    /// says so too, and what comes later is reported anew.
    pub(super) fn receive(&self, position: usize, batch: &mut Batch) -> bool {
        batch.count = 0;
        let Some(bound) = self.bound.get(position).filter(|_| !self.send_only) else {
            return false;
        };
        let mut buffers = batch.buffers.iter_mut();
        let mut slices: [IoSliceMut<'_>; BATCH_SIZE] =
            std::array::from_fn(|_| IoSliceMut::new(buffers.next().map_or(&mut [], Vec::as_mut)));
        // The error is taken through mio, which then knows whether to report the socket again.
        let received = bound.socket.try_io(|| {
            bound
                .state
                .recv((&bound.socket).into(), &mut slices, &mut batch.metas)
        });
        batch.bound = bound.address;
        batch.count = *received.as_ref().unwrap_or(&0);
        received.is_ok() && batch.count == BATCH_SIZE
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
            let state = match segment_size {
                Some(_) => &bound.state,
                None => &bound.single,
            };
            state.try_send((&bound.socket).into(), &transmit)
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

impl Bound {
    /// The same socket under another descriptor.
    fn another_handle(&self) -> io::Result<Self> {
        let socket = SockRef::from(&self.socket).try_clone()?;
        Self::new(socket.into())
    }

    fn new(socket: StdUdpSocket) -> io::Result<Self> {
        let address = socket.local_addr()?;
        let state = || UdpSocketState::new((&socket).into());
        Ok(Self {
            state: state()?,
            single: state()?,
            socket: UdpSocket::from_std(socket),
            address,
        })
    }
}

/// Whether the kernel deals out the datagrams of sockets that share a port. (BSD only lets them share it.)
const HAS_REUSEPORT: bool = cfg!(any(target_os = "linux", target_os = "android"));

#[cfg(unix)]
fn set_reuse_port(socket: &Socket) -> io::Result<()> {
    socket.set_reuse_port(true)
}

#[cfg(not(unix))]
fn set_reuse_port(_: &Socket) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// The kernel is to choose.
pub(super) fn any_address(v4: bool) -> SocketAddr {
    match v4 {
        true => (Ipv4Addr::UNSPECIFIED, 0).into(),
        false => (Ipv6Addr::UNSPECIFIED, 0).into(),
    }
}

/// Binds every address to one port. With `any_family` a family that the machine lacks is left out.
fn bind_all(ips: &[IpAddr], mut port: u16, any_family: bool) -> io::Result<Vec<Bound>> {
    let mut all: Vec<Bound> = Vec::with_capacity(ips.len());
    for ip in ips {
        match bind_one(SocketAddr::new(*ip, port), false) {
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

fn bind_one(address: SocketAddr, shares_port: bool) -> io::Result<Bound> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::DGRAM,
        Some(Protocol::UDP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    if shares_port {
        set_reuse_port(&socket)?;
    }
    socket.set_nonblocking(true)?;
    // The kernel may grant less; that costs packets only in bursts, which are counted.
    let _ = socket.set_recv_buffer_size(SOCKET_BUFFER);
    let _ = socket.set_send_buffer_size(SOCKET_BUFFER);
    socket.bind(&address.into())?;
    Bound::new(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    #[test]
    fn shards_share_a_port_that_nobody_else_gets() {
        let shards = Sockets::bind(&[LOOPBACK], 0, 3).unwrap();
        let port = shards[0].port();
        assert!(shards.len() == 3 && shards.iter().all(|sockets| sockets.port() == port));
        let error = Sockets::bind(&[LOOPBACK], port, 3).err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        drop(shards);
        Sockets::bind(&[LOOPBACK], port, 1).unwrap();
    }

    #[test]
    fn an_invalid_destination_takes_segmentation_from_nobody() {
        let sockets = Sockets::bind(&[LOOPBACK], 0, 1).unwrap().remove(0);
        let receiver = StdUdpSocket::bind((LOOPBACK, 0)).unwrap();
        let local = SocketAddr::new(LOOPBACK, sockets.port());
        let segments = || sockets.bound[0].state.max_gso_segments();
        let before = segments();
        let nowhere = SocketAddr::new(LOOPBACK, 0);
        assert!(sockets.send(local, nowhere, b"check", 5).is_err());
        assert_eq!(segments(), before);
        let there = receiver.local_addr().unwrap();
        sockets.send(local, there, b"onetwoxyz", 3).unwrap();
        let mut buffer = [0; 16];
        for expected in [b"one", b"two", b"xyz"] {
            assert_eq!(receiver.recv(&mut buffer).unwrap(), 3);
            assert_eq!(&buffer[..3], expected);
        }
    }

    #[test]
    fn what_comes_to_a_shared_port_comes_once() {
        let shards = Sockets::bind(&[LOOPBACK], 0, 4).unwrap();
        let senders: Vec<StdUdpSocket> = (0..64)
            .map(|_| StdUdpSocket::bind((LOOPBACK, 0)).unwrap())
            .collect();
        for (n, sender) in senders.iter().enumerate() {
            let to = (LOOPBACK, shards[0].port());
            assert_eq!(sender.send_to(&[n as u8], to).unwrap(), 1);
        }
        let (mut batch, mut came, mut receivers) = (Batch::new(), Vec::new(), 0);
        for sockets in &shards {
            let before = came.len();
            loop {
                let more = sockets.receive(0, &mut batch);
                for (local, remote, data) in batch.datagrams() {
                    assert_eq!(local, SocketAddr::new(LOOPBACK, shards[0].port()));
                    let sender = &senders[usize::from(data[0])];
                    assert_eq!(remote, sender.local_addr().unwrap());
                    came.push(data[0]);
                }
                if !more {
                    break;
                }
            }
            receivers += usize::from(came.len() > before);
        }
        came.sort_unstable();
        assert_eq!(came, (0..64).collect::<Vec<u8>>());
        assert!(receivers > 1 || !HAS_REUSEPORT);
    }
}

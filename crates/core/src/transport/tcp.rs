//! Media over TCP for networks that let no UDP through: passive ICE-TCP candidates (RFC 6544).
//!
//! Each connection is a small relay: what comes framed (RFC 4571) goes to the shards' own UDP port from a socket of
//! its own, and what comes back there is framed. So the shards know of nothing but datagrams, and who can use UDP pays nothing.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

use super::stun;
use crate::error::StartError;

/// Whoever connects says what for within this time.
const FIRST_FRAME: Duration = Duration::from_secs(10);
/// Browsers send a check every few seconds; consent lasts 30 s (RFC 7675).
const SILENCE: Duration = Duration::from_secs(30);
/// What may wait for a slow connection, in bytes: about a second. Then packets are lost, as on any full link.
const BACKLOG: usize = 128 << 10;
/// Of that, what the kernel takes before the network has it.
#[cfg(target_os = "linux")]
const NOT_SENT: u32 = 16 << 10;
/// A frame's length has two bytes.
const HEADER: usize = 2;
/// Longest frame: what a datagram of ours or of a browser holds.
const MAX_FRAME: usize = 1_500;
/// How long accepting rests when the process has no file descriptor left.
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// The listening sockets and their connections, until dropped.
#[derive(Debug)]
pub struct IceTcp {
    port: u16,
    stop: watch::Sender<bool>,
    /// Never written: closed once nobody listens any more.
    finished: watch::Receiver<()>,
}

impl IceTcp {
    /// Listens on `port` (0: any) of `ips`, or of every address, for at most so many connections, whose datagrams go to `media`.
    pub(super) fn bind(
        ips: &[IpAddr],
        port: u16,
        media: SocketAddr,
        most: usize,
        runtime: &Handle,
    ) -> Result<Self, StartError> {
        let failed = |source| StartError::Listen {
            what: "TCP port of media",
            address: port.to_string(),
            source,
        };
        let listeners = listen(ips, port).map_err(failed)?;
        let port = (listeners.first())
            .and_then(|listener| listener.local_addr().ok())
            .map_or(port, |address| address.port());
        let (stop, stopped) = watch::channel(false);
        let (running, finished) = watch::channel(());
        let running = Arc::new(running);
        let places = Arc::new(Semaphore::new(most));
        let _context = runtime.enter();
        for listener in listeners {
            let listener = TcpListener::from_std(listener).map_err(failed)?;
            let accepting = accept(listener, media, places.clone(), stopped.clone());
            let running = running.clone();
            runtime.spawn(async move {
                accepting.await;
                drop(running);
            });
        }
        Ok(Self {
            port,
            stop,
            finished,
        })
    }

    /// Ends every connection, and waits until the port is free.
    pub async fn stop(&self) {
        self.stop.send_replace(true);
        let mut finished = self.finished.clone();
        while finished.changed().await.is_ok() {}
    }

    /// The TCP port.
    pub fn port(&self) -> u16 {
        self.port
    }
}

fn listen(ips: &[IpAddr], port: u16) -> io::Result<Vec<std::net::TcpListener>> {
    let open = |address: SocketAddr| {
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    match ips {
        // A socket for IPv6 takes IPv4 too where the system says so, which is nearly everywhere.
        [] => open((Ipv6Addr::UNSPECIFIED, port).into())
            .or_else(|_| open((Ipv4Addr::UNSPECIFIED, port).into()))
            .map(|listener| vec![listener]),
        [first, rest @ ..] => {
            let first = open((*first, port).into())?;
            let port = first.local_addr()?.port();
            let rest = rest.iter().map(|ip| open((*ip, port).into()));
            std::iter::once(Ok(first)).chain(rest).collect()
        }
    }
}

async fn accept(
    listener: TcpListener,
    media: SocketAddr,
    places: Arc<Semaphore>,
    mut stopped: watch::Receiver<bool>,
) {
    loop {
        let accepted = tokio::select! {
            _ = stopped.wait_for(|stop| *stop) => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else {
            tokio::select! {
                _ = stopped.wait_for(|stop| *stop) => return,
                () = tokio::time::sleep(ACCEPT_REST) => continue,
            }
        };
        let Ok(place) = places.clone().try_acquire_owned() else {
            continue;
        };
        let mut stopped = stopped.clone();
        tokio::spawn(async move {
            tokio::select! {
                // Also when its handle is gone.
                _ = stopped.wait_for(|stop| *stop) => {}
                // However it ends: ICE finds out that the path is gone.
                _ = relay(stream, media) => {}
            }
            drop(place);
        });
    }
}

/// Passes datagrams both ways until either side ends.
async fn relay(stream: TcpStream, media: SocketAddr) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = socket2::SockRef::from(&stream);
    socket.set_send_buffer_size(BACKLOG)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_notsent_lowat(NOT_SENT)?;
    let (mut reader, writer) = stream.into_split();
    let mut frame = [0; MAX_FRAME];
    let first = timeout(FIRST_FRAME, read_frame(&mut reader, &mut frame)).await??;
    let data = frame.get(..first).unwrap_or_default();
    if !stun::Message::parse(data).is_some_and(|message| message.is_request()) {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let any: IpAddr = match (media.is_ipv4(), media.ip().is_loopback()) {
        (true, true) => Ipv4Addr::LOCALHOST.into(),
        (true, false) => Ipv4Addr::UNSPECIFIED.into(),
        (false, true) => Ipv6Addr::LOCALHOST.into(),
        (false, false) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let datagrams = UdpSocket::bind((any, 0)).await?;
    socket2::SockRef::from(&datagrams).set_recv_buffer_size(BACKLOG)?;
    datagrams.connect(media).await?;
    datagrams.send(data).await?;
    tokio::select! {
        ended = inwards(reader, &datagrams) => ended,
        ended = outwards(&datagrams, writer) => ended,
    }
}

async fn inwards(mut reader: OwnedReadHalf, datagrams: &UdpSocket) -> io::Result<()> {
    let mut frame = [0; MAX_FRAME];
    loop {
        let length = timeout(SILENCE, read_frame(&mut reader, &mut frame)).await??;
        // A port that does not listen at this moment is no reason to end.
        datagrams
            .send(frame.get(..length).unwrap_or_default())
            .await
            .ok();
    }
}

async fn outwards(datagrams: &UdpSocket, mut writer: OwnedWriteHalf) -> io::Result<()> {
    let mut frame = [0; HEADER + MAX_FRAME];
    loop {
        let Some((header, data)) = frame.split_first_chunk_mut::<HEADER>() else {
            return Ok(());
        };
        let Ok(length) = datagrams.recv(data).await else {
            continue;
        };
        *header = (length as u16).to_be_bytes();
        let framed = frame.get(..HEADER + length).unwrap_or_default();
        writer.write_all(framed).await?;
    }
}

/// Reads one frame into `frame`, and tells its length. One that does not fit ends the connection.
async fn read_frame(reader: &mut OwnedReadHalf, frame: &mut [u8]) -> io::Result<usize> {
    let length = usize::from(reader.read_u16().await?);
    let data = frame.get_mut(..length).ok_or(io::ErrorKind::InvalidData)?;
    reader.read_exact(data).await?;
    Ok(length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket as StdUdpSocket;

    const PATIENCE: Duration = Duration::from_secs(10);
    /// A STUN binding request without attributes.
    const CHECK: [u8; 20] = [
        0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12,
    ];

    struct Setting {
        media: UdpSocket,
        tcp: IceTcp,
    }

    fn setting(most: usize) -> Setting {
        let localhost = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let media = StdUdpSocket::bind((localhost, 0)).unwrap();
        media.set_nonblocking(true).unwrap();
        let address = media.local_addr().unwrap();
        let tcp = IceTcp::bind(&[localhost], 0, address, most, &Handle::current()).unwrap();
        Setting {
            media: UdpSocket::from_std(media).unwrap(),
            tcp,
        }
    }

    impl Setting {
        async fn client(&self) -> TcpStream {
            TcpStream::connect((Ipv4Addr::LOCALHOST, self.tcp.port()))
                .await
                .unwrap()
        }

        async fn received(&self) -> (Vec<u8>, SocketAddr) {
            let mut data = [0; 2_000];
            let (length, from) = timeout(PATIENCE, self.media.recv_from(&mut data))
                .await
                .unwrap()
                .unwrap();
            (data[..length].to_vec(), from)
        }
    }

    fn framed(data: &[u8]) -> Vec<u8> {
        [&(data.len() as u16).to_be_bytes(), data].concat()
    }

    async fn is_closed(client: &mut TcpStream) -> bool {
        matches!(
            timeout(PATIENCE, client.read(&mut [0; 9])).await,
            Ok(Ok(0) | Err(_))
        )
    }

    #[tokio::test]
    async fn frames_become_datagrams_and_datagrams_frames() {
        let setting = setting(9);
        let mut client = setting.client().await;
        // In pieces, and two at once: TCP has no borders.
        let stream = [framed(&CHECK), framed(b"second"), framed(b"")].concat();
        for piece in stream.chunks(9) {
            client.write_all(piece).await.unwrap();
            tokio::task::yield_now().await;
        }
        let (first, from) = setting.received().await;
        assert_eq!(first, CHECK);
        assert_eq!(setting.received().await, (b"second".to_vec(), from));
        assert_eq!(setting.received().await, (Vec::new(), from));
        for answer in [vec![7; 1_200], vec![8; 3]] {
            setting.media.send_to(&answer, from).await.unwrap();
            let mut data = vec![0; 2 + answer.len()];
            timeout(PATIENCE, client.read_exact(&mut data))
                .await
                .unwrap()
                .unwrap();
            assert_eq!(data, framed(&answer));
        }
        drop(setting);
        assert!(is_closed(&mut client).await, "it ends with the server");
    }

    #[tokio::test]
    async fn whoever_does_not_speak_stun_first_is_closed_and_nobody_hears_of_it() {
        let setting = setting(9);
        for first in [
            framed(b"GET / HTTP/1.1"),
            framed(&[0; 20]),
            vec![0xff; 70_000],
        ] {
            let mut client = setting.client().await;
            client.write_all(&first).await.ok();
            assert!(is_closed(&mut client).await);
        }
        let mut client = setting.client().await;
        client.write_all(&framed(&CHECK)).await.unwrap();
        assert_eq!(setting.received().await.0, CHECK);
    }

    #[tokio::test]
    async fn connections_are_bounded() {
        let setting = setting(1);
        let mut first = setting.client().await;
        first.write_all(&framed(&CHECK)).await.unwrap();
        setting.received().await;
        assert!(is_closed(&mut setting.client().await).await);
        drop(first);
        let until = tokio::time::Instant::now() + PATIENCE;
        loop {
            let mut next = setting.client().await;
            next.write_all(&framed(&CHECK)).await.ok();
            let mut data = [0; 99];
            let came = timeout(
                Duration::from_millis(100),
                setting.media.recv_from(&mut data),
            )
            .await;
            if came.is_ok() {
                return;
            }
            assert!(
                tokio::time::Instant::now() < until,
                "the place is not given back"
            );
        }
    }
}

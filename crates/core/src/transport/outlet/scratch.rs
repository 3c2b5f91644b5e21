//! Packets of one viewer on their way to the socket; reused from viewer to viewer.

use std::io;
use std::net::SocketAddr;
use std::ops::Range;

use super::header::Header;
use crate::transport::socket::Sockets;
use crate::transport::srtp::Sealer;

/// Where sealed packets go.
pub(crate) trait Wire {
    /// Sends `contents` as datagrams of `segment` bytes (the last one may be shorter) from `local` to `remote`.
    fn send(
        &self,
        local: SocketAddr,
        remote: SocketAddr,
        contents: &[u8],
        segment: usize,
    ) -> io::Result<()>;
}

impl Wire for Sockets {
    fn send(
        &self,
        local: SocketAddr,
        remote: SocketAddr,
        contents: &[u8],
        segment: usize,
    ) -> io::Result<()> {
        Self::send(self, local, remote, contents, segment)
    }
}

/// Sealed packets, one behind the other.
#[derive(Default)]
pub(crate) struct Scratch {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Scratch {
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    /// Bytes of all packets.
    pub(super) fn size(&self) -> usize {
        self.bytes.len()
    }

    /// Appends a packet and seals it. `index` is its 48-bit SRTP index.
    pub(super) fn push(
        &mut self,
        header: &Header,
        prefix: &[u8],
        payload: &[u8],
        index: u64,
        sealer: &mut Sealer,
    ) -> bool {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(header.as_bytes());
        let begin = self.bytes.len();
        self.bytes.extend_from_slice(prefix);
        self.bytes.extend_from_slice(payload);
        let sealed = sealer.seal_rtp(&mut self.bytes, start, begin, index);
        self.ends.push(self.bytes.len());
        sealed
    }

    /// Sends each run of packets with one call.
    pub(super) fn flush(
        &self,
        local: SocketAddr,
        remote: SocketAddr,
        wire: &impl Wire,
    ) -> io::Result<()> {
        let mut result = Ok(());
        for (run, segment) in runs(&self.ends) {
            let packets = self.bytes.get(run).unwrap_or_default();
            result = result.and(wire.send(local, remote, packets, segment));
        }
        result
    }
}

/// Cuts packets that end at `ends` into what one GSO send takes: packets of equal length, the last one as long
/// or shorter. Gives the bytes of each run, and the length of its packets.
fn runs(ends: &[usize]) -> impl Iterator<Item = (Range<usize>, usize)> {
    let mut start = 0;
    let mut rest = ends;
    std::iter::from_fn(move || {
        let (&first, mut after) = rest.split_first()?;
        let (begin, segment, mut end) = (start, first - start, first);
        while let Some((&next, following)) = after.split_first()
            && next - end <= segment
        {
            let is_last = next - end < segment;
            (end, after) = (next, following);
            if is_last {
                break;
            }
        }
        (start, rest) = (end, after);
        Some((begin..end, segment))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn packets_are_sent_in_runs_of_equal_ones_with_a_shorter_last() {
        let of = |ends: &[usize]| runs(ends).collect::<Vec<_>>();
        assert_eq!(of(&[]), []);
        assert_eq!(of(&[7]), [(0..7, 7)]);
        assert_eq!(of(&[10, 20, 25]), [(0..25, 10)]);
        assert_eq!(of(&[10, 15, 20]), [(0..15, 10), (15..20, 5)]);
        assert_eq!(of(&[5, 15, 25, 28]), [(0..5, 5), (5..28, 10)]);
    }

    proptest! {
        #[test]
        fn a_run_cut_by_its_segment_gives_the_packets_back(
            lengths in prop::collection::vec(1usize..5, 0..40),
        ) {
            let ends: Vec<usize> = lengths
                .iter()
                .scan(0, |end, length| { *end += length; Some(*end) })
                .collect();
            let mut cut = Vec::new();
            for (run, segment) in runs(&ends) {
                prop_assert_eq!(run.start, cut.last().copied().unwrap_or(0));
                cut.extend(run.clone().step_by(segment).skip(1).chain([run.end]));
            }
            prop_assert_eq!(cut, ends);
        }
    }
}

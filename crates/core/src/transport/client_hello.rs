//! Which SRTP profiles a DTLS client offers, read before the handshake begins.
//!
//! A ClientHello may come in several fragments (with post-quantum key shares it does), so they are put
//! together first (RFC 6347, 4.2.3).

const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const USE_SRTP: u16 = 14;
const RECORD_HEADER: usize = 13;
const HANDSHAKE_HEADER: usize = 12;

/// No browser's ClientHello comes near.
const MAX_LENGTH: usize = 16_384;

/// Fragments of a ClientHello, repetitions included; browsers need two or three.
const MAX_FRAGMENTS: usize = 64;

#[derive(Debug, Default)]
pub(super) struct ClientHelloReader {
    body: Vec<u8>,
    /// Ranges of `body` that were received.
    received: Vec<(usize, usize)>,
}

impl ClientHelloReader {
    /// Takes one datagram. Once the ClientHello is whole, the offered profiles (RFC 5764, 4.1.2); none if it
    /// has no `use_srtp`.
    pub(super) fn read(&mut self, datagram: &[u8]) -> Option<Vec<u16>> {
        let mut rest = datagram;
        while let Some((record, after)) = next_record(rest) {
            rest = after;
            if let Some(profiles) = self.read_record(record) {
                return Some(profiles);
            }
        }
        None
    }

    fn read_record(&mut self, record: &[u8]) -> Option<Vec<u16>> {
        if *record.first()? != CLIENT_HELLO {
            return None;
        }
        let length = u24(record.get(1..4)?)?;
        let offset = u24(record.get(6..9)?)?;
        let fragment_length = u24(record.get(9..12)?)?;
        let fragment = record.get(HANDSHAKE_HEADER..HANDSHAKE_HEADER + fragment_length)?;
        if length > MAX_LENGTH || offset + fragment_length > length {
            return None;
        }
        if self.received.len() >= MAX_FRAGMENTS {
            return None;
        }
        if self.body.len() != length {
            self.body = vec![0; length];
            self.received.clear();
        }
        self.body
            .get_mut(offset..offset + fragment_length)?
            .copy_from_slice(fragment);
        self.received.push((offset, offset + fragment_length));
        self.received.sort_unstable();
        let complete = self.received.iter().fold(
            0,
            |end, &(from, to)| if from <= end { end.max(to) } else { end },
        );
        (complete == length).then(|| offered_profiles(&self.body).unwrap_or_default())
    }
}

fn next_record(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = usize::from(u16::from_be_bytes([*data.get(11)?, *data.get(12)?]));
    let record = data.get(RECORD_HEADER..RECORD_HEADER + length)?;
    (data[0] == HANDSHAKE).then_some((record, &data[RECORD_HEADER + length..]))
}

fn offered_profiles(body: &[u8]) -> Option<Vec<u16>> {
    let rest = body.get(2 + 32..)?;
    let rest = skip_vector(rest, 1)?; // session id
    let rest = skip_vector(rest, 1)?; // cookie
    let rest = skip_vector(rest, 2)?; // cipher suites
    let rest = skip_vector(rest, 1)?; // compression methods
    let mut extensions = rest.get(2..)?;
    while extensions.len() >= 4 {
        let kind = u16::from_be_bytes([extensions[0], extensions[1]]);
        let length = usize::from(u16::from_be_bytes([extensions[2], extensions[3]]));
        let data = extensions.get(4..4 + length)?;
        if kind == USE_SRTP {
            let list_length = usize::from(u16::from_be_bytes([*data.first()?, *data.get(1)?]));
            let list = data.get(2..2 + list_length)?;
            return Some(
                list.chunks_exact(2)
                    .map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
                    .collect(),
            );
        }
        extensions = &extensions[4 + length..];
    }
    None
}

fn skip_vector(data: &[u8], length_bytes: usize) -> Option<&[u8]> {
    let length = data
        .get(..length_bytes)?
        .iter()
        .fold(0, |sum, &byte| sum << 8 | usize::from(byte));
    data.get(length_bytes + length..)
}

fn u24(bytes: &[u8]) -> Option<usize> {
    match bytes {
        [a, b, c] => Some(usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hello(profiles: &[u16]) -> Vec<u8> {
        let list: Vec<u8> = profiles
            .iter()
            .flat_map(|profile| profile.to_be_bytes())
            .collect();
        let mut use_srtp = (list.len() as u16).to_be_bytes().to_vec();
        use_srtp.extend(list);
        use_srtp.push(0);
        let mut extensions = vec![0, 23, 0, 0, 0, 14];
        extensions.extend((use_srtp.len() as u16).to_be_bytes());
        extensions.extend(use_srtp);
        let mut body = vec![0xfe, 0xfd];
        body.extend([9; 32]);
        body.extend([0, 0, 0, 2, 0xc0, 0x2b, 1, 0]);
        body.extend((extensions.len() as u16).to_be_bytes());
        body.extend(extensions);
        body
    }

    fn record(body: &[u8], from: usize, to: usize) -> Vec<u8> {
        let u24 = |n: usize| [(n >> 16) as u8, (n >> 8) as u8, n as u8];
        let mut record = vec![22, 0xfe, 0xff, 0, 0, 0, 0, 0, 0, 0, 0];
        record.extend(((HANDSHAKE_HEADER + to - from) as u16).to_be_bytes());
        record.push(1);
        record.extend(u24(body.len()));
        record.extend([0, 0]);
        record.extend(u24(from));
        record.extend(u24(to - from));
        record.extend(&body[from..to]);
        record
    }

    #[test]
    fn profiles_are_read_from_a_whole_client_hello() {
        let body = hello(&[1, 7, 8]);
        assert_eq!(
            ClientHelloReader::default().read(&record(&body, 0, body.len())),
            Some(vec![1, 7, 8])
        );
    }

    #[test]
    fn profiles_are_read_from_fragments_in_any_order() {
        let body = hello(&[7, 1]);
        let mut reader = ClientHelloReader::default();
        assert_eq!(reader.read(&record(&body, 30, body.len())), None);
        assert_eq!(reader.read(&record(&body, 10, 30)), None);
        assert_eq!(reader.read(&record(&body, 0, 12)), Some(vec![7, 1]));
    }

    #[test]
    fn fragments_without_end_are_not_kept() {
        let body = hello(&[1]);
        let mut reader = ClientHelloReader::default();
        for _ in 0..1_000 {
            assert_eq!(reader.read(&record(&body, 3, 4)), None);
        }
        assert_eq!(reader.received.len(), MAX_FRAGMENTS);
    }

    proptest! {
        #[test]
        fn damaged_hellos_never_panic(at in 0usize..90, byte: u8, cut in 0usize..90) {
            let body = hello(&[1, 7]);
            let mut datagram = record(&body, 0, body.len());
            let at = at % datagram.len();
            datagram[at] = byte;
            ClientHelloReader::default().read(&datagram);
            ClientHelloReader::default().read(&datagram[..cut % datagram.len()]);
        }

        #[test]
        fn random_datagrams_never_panic(data in prop::collection::vec(any::<u8>(), 0..200)) {
            ClientHelloReader::default().read(&data);
        }
    }
}

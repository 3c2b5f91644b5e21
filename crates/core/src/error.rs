//! What can fail, and how it is said: lower case, the thing first, then the remedy.

use std::fmt;

use crate::media::opus_packet;

/// A configuration value that cannot be used (`ERR_INVALID_ARG_VALUE` in JavaScript).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid value for `{option}`: expected {expected}, received {received}")]
pub struct ConfigError {
    /// The option's full name, such as `webrtc.signalingPort`.
    pub option: String,
    /// What the option accepts.
    pub expected: String,
    /// What it was given, as JSON.
    pub received: String,
}

/// Why a system could not start; nothing is left running.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// `start` was called while it runs.
    #[error("already started: call stop() before starting again")]
    AlreadyStarted,
    /// A socket could not be opened.
    #[error("cannot listen on {what} {address}: {source}")]
    Listen {
        /// `signalling port` or `UDP port`.
        what: &'static str,
        /// The address that was asked for.
        address: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A thread or the runtime could not be made.
    #[error("cannot start {what}: {source}")]
    Thread {
        /// What was to be started.
        what: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// No usable local address was found for media.
    #[error("no local address for media: set `webrtc.listenIps`")]
    NoAddress,
    /// Keys for DTLS could not be made.
    #[error("cannot make a DTLS certificate: {0}")]
    Certificate(String),
}

impl StartError {
    /// The code that Node users know: `EADDRINUSE`, `EACCES`, …
    pub fn code(&self) -> &'static str {
        use std::io::ErrorKind;
        match self {
            Self::AlreadyStarted => "ERR_ALREADY_STARTED",
            Self::Listen { source, .. } => match source.kind() {
                ErrorKind::AddrInUse => "EADDRINUSE",
                ErrorKind::PermissionDenied => "EACCES",
                ErrorKind::AddrNotAvailable => "EADDRNOTAVAIL",
                _ => "ERR_LISTEN",
            },
            Self::Thread { .. } => "ERR_THREAD",
            Self::NoAddress => "EADDRNOTAVAIL",
            Self::Certificate(_) => "ERR_CERTIFICATE",
        }
    }
}

/// Why a pushed frame or chunk was not sent. [`fmt::Display`] gives the sentence for people,
/// [`DropReason::code`] the word for programs.
#[derive(Debug, Clone, PartialEq)]
pub enum DropReason {
    /// The bridge is not started.
    NotStarted,
    /// The format is not one that this build handles.
    UnsupportedFormat(&'static str),
    /// The picture has no pixels or too many.
    BadDimensions {
        /// Declared (or, for JPEG and PNG, real) width in pixels.
        width: u32,
        /// Declared (or, for JPEG and PNG, real) height in pixels.
        height: u32,
    },
    /// Fewer bytes than the declared picture needs.
    ShortBuffer {
        /// Bytes needed.
        expected: usize,
        /// Bytes received.
        received: usize,
    },
    /// More bytes than the declared picture, whose format allows none, has.
    ExcessBytes {
        /// Bytes of the picture.
        expected: usize,
        /// Bytes received.
        received: usize,
    },
    /// The compressed picture or sound cannot be decoded.
    Undecodable(&'static str),
    /// `data` is not bytes.
    NotBytes,
    /// `timestamp` is not a number, or none that a `Date` can hold.
    BadTimestamp,
    /// No sample at all, or half a sample.
    BadLength(usize),
    /// A sample rate outside 8,000 to 192,000 Hz.
    BadSampleRate(u32),
    /// A channel count other than 1 or 2.
    BadChannels(u32),
    /// An Opus packet that no datagram holds.
    LongPacket(usize),
    /// The audio queue is full.
    QueueFull,
    /// A cue in a chunk, and none was queued, or it was cut off.
    NoSound,
}

impl DropReason {
    /// A stable word for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotStarted => "not-started",
            Self::UnsupportedFormat(_) => "unsupported-format",
            Self::BadDimensions { .. } => "bad-dimensions",
            Self::ShortBuffer { .. } => "short-buffer",
            Self::Undecodable(_) => "undecodable",
            Self::NotBytes => "not-bytes",
            Self::BadTimestamp => "bad-timestamp",
            Self::ExcessBytes { .. } | Self::BadLength(_) | Self::LongPacket(_) => "bad-length",
            Self::BadSampleRate(_) => "bad-sample-rate",
            Self::BadChannels(_) => "bad-channels",
            Self::QueueFull => "queue-full",
            Self::NoSound => "no-sound",
        }
    }
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotStarted => write!(f, "the bridge is not started: call start() first"),
            Self::UnsupportedFormat(format) => {
                write!(f, "format {format} is not supported by this build")
            }
            Self::BadDimensions { width, height } => {
                write!(
                    f,
                    "the picture is {width}x{height}: 1x1 to 4096x4096 is accepted"
                )
            }
            Self::ShortBuffer { expected, received } => {
                write!(
                    f,
                    "`data` has {received} bytes: the declared picture needs {expected}"
                )
            }
            Self::ExcessBytes { expected, received } => {
                write!(
                    f,
                    "`data` has {received} bytes: the declared picture is {expected}, rows without padding"
                )
            }
            Self::Undecodable(format) => write!(f, "`data` is not a readable {format}"),
            Self::NotBytes => write!(f, "`data` must be a Buffer or Uint8Array"),
            Self::BadTimestamp => write!(
                f,
                "`timestamp` must be a number of milliseconds that a Date can hold"
            ),
            Self::BadLength(length) => {
                write!(
                    f,
                    "`data` has {length} bytes: whole 16-bit samples of every channel are needed"
                )
            }
            Self::LongPacket(length) => {
                write!(
                    f,
                    "`data` has {length} bytes: an Opus packet of at most {} is accepted",
                    opus_packet::MAX_BYTES
                )
            }
            Self::BadSampleRate(rate) => {
                write!(f, "`sampleRate` is {rate}: 8000 to 192000 is accepted")
            }
            Self::BadChannels(channels) => {
                write!(f, "`channels` is {channels}: 1 and 2 are accepted")
            }
            Self::NoSound => write!(
                f,
                "there is no chunk that it could be in: push the sound first"
            ),
            Self::QueueFull => write!(f, "the audio queue is full: push no faster than it plays"),
        }
    }
}

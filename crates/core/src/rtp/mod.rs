//! Cutting encoded media into RTP packets once, and remembering them for NACK.

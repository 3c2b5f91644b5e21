//! The network: one shard, one UDP port, and each viewer's ICE, DTLS and SRTP.

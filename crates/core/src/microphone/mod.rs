//! From a browser's Opus packets to gated PCM.

//! A light native WebRTC viewer.

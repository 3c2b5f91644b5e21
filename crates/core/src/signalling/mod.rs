//! HTTP and WebSocket signalling on one TCP port.

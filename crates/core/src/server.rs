//! The server handle.

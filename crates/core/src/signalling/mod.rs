//! HTTP and WebSocket signalling on one TCP port.
//!
//! Three layers, each testable without the next: [`protocol`] is what the messages look like, [`session`] what
//! one client's message leads to (no socket, no clock), `seats` who is there and may come back, [`server`] the sockets and
//! their limits. Offers, answers
//! and candidates pass through as they were sent: what they mean is [`Delegate`]'s business.

mod client;
mod connection;
mod page;
pub mod protocol;
mod seats;
pub mod server;
pub mod session;
#[cfg(test)]
mod tests;

pub use protocol::{ClientMessage, ErrorCode, ProtocolError, ServerMessage};
pub use server::{ClientInfo, Delegate, SignallingConfig, SignallingServer};

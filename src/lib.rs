//! The napi binding: JavaScript's handles on the engine, and nothing else.
//!
//! **The invariant: the JavaScript thread never waits, and JavaScript's memory is read only inside the call
//! that passed it.** What may wait (`server`'s start and stop) runs on libuv's pool; what comes back
//! (`events`) waits in a bounded queue until JavaScript takes it.
//!
//! Structured values (options, SDP, commands) cross as JSON text: both sides already have a parser for it,
//! and the core's is the one place that knows what each option accepts.

mod events;
mod log;
mod server;
mod source;

use napi::bindgen_prelude::*;
use serde_json::Value;

/// An error whose `code` in JavaScript is ours rather than one of napi's.
type Failure = Error<&'static str>;

/// JSON text from JavaScript, which only passes on what `JSON.stringify` gave.
fn parse_json(text: &str) -> std::result::Result<Value, Failure> {
    serde_json::from_str(text)
        .map_err(|error| Failure::new("ERR_INVALID_ARG_VALUE", format!("not JSON: {error}")))
}

fn invalid_option(error: &avatar_core::error::ConfigError) -> Failure {
    Failure::new("ERR_INVALID_ARG_VALUE", error)
}

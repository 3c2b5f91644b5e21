//! Where the engine's log goes: standard error, if somebody asked for it.

use std::sync::Once;

use tracing_subscriber::EnvFilter;

/// Logs from now on: what `RUST_LOG` says, or else every step of the engine. The log belongs to the process.
pub(crate) fn enable() {
    static ENABLED: Once = Once::new();
    ENABLED.call_once(|| {
        let filter = EnvFilter::try_from_default_env()
            .unwrap_or_else(|_| EnvFilter::new("avatar_core=debug"));
        // Fails only where another subscriber is installed: then that one gets the log.
        let _ = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(std::io::stderr)
            .with_ansi(false)
            .try_init();
    });
}

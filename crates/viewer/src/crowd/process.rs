//! What the crowd needs of its process: descriptors, and the CPU time that it took.

use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::time::{ClockId, clock_gettime};

use super::CrowdError;

/// Descriptors besides those of viewers: threads, epoll, files, and whatever else the process has open.
const OTHER_DESCRIPTORS: u64 = 256;

/// User and system time of this process.
pub(super) fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(
        time.tv_sec.unsigned_abs(),
        time.tv_nsec.unsigned_abs() as u32,
    )
}

/// A WebSocket and a UDP socket a viewer.
pub(super) fn raise_descriptor_limit(viewers: usize) -> Result<(), CrowdError> {
    let needed = 2 * viewers as u64 + OTHER_DESCRIPTORS;
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    // No limit is no number.
    if current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    let raised = Rlimit {
        current: Some(needed),
        maximum: maximum.map(|maximum| maximum.max(needed)),
    };
    setrlimit(Resource::Nofile, raised).map_err(|_| CrowdError::Descriptors {
        needed,
        limit: maximum.unwrap_or(u64::MAX),
    })
}

//! What all systems of a process share: the tokio runtime of signalling, the threads that encode, and the
//! microphones' thread. Made with the first server that starts, ended with the last one that stops.

use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::{Builder, Handle, Runtime};

use crate::error::StartError;
use crate::media_pool::{MediaPool, PoolHandle};
use crate::microphone::{MicrophoneHandle, MicrophoneWorker};

/// Signalling is a few messages a viewer: one thread carries thousands.
const SIGNALLING_THREADS: usize = 1;

/// No task of ours blocks; this is never waited for in full.
const RUNTIME_STOP: Duration = Duration::from_secs(1);

static PROCESS: Mutex<Weak<Process>> = Mutex::new(Weak::new());

pub(crate) struct Process {
    /// Present until dropped.
    runtime: Option<Runtime>,
    handle: Handle,
    media: MediaPool,
    microphones: MicrophoneWorker,
}

impl Process {
    /// The running one, or a new one.
    pub(crate) fn get() -> Result<Arc<Self>, StartError> {
        let mut process = PROCESS.lock();
        if let Some(running) = process.upgrade() {
            return Ok(running);
        }
        let thread = |what| move |source| StartError::Thread { what, source };
        let runtime = Builder::new_multi_thread()
            .worker_threads(SIGNALLING_THREADS)
            .thread_name("avatar-signal")
            .enable_io()
            .enable_time()
            .build()
            .map_err(thread("the signalling runtime"))?;
        let media = MediaPool::for_this_machine().map_err(thread("the media threads"))?;
        let microphones = MicrophoneWorker::spawn().map_err(thread("the microphone thread"))?;
        let started = Arc::new(Self {
            handle: runtime.handle().clone(),
            runtime: Some(runtime),
            media,
            microphones,
        });
        *process = Arc::downgrade(&started);
        Ok(started)
    }

    pub(crate) fn runtime(&self) -> &Handle {
        &self.handle
    }

    pub(crate) fn media(&self) -> PoolHandle {
        self.media.handle()
    }

    pub(crate) fn microphones(&self) -> MicrophoneHandle {
        self.microphones.handle()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // tokio forbids waiting for its threads on a thread of tokio's.
            if Handle::try_current().is_ok() {
                runtime.shutdown_background();
            } else {
                runtime.shutdown_timeout(RUNTIME_STOP);
            }
        }
    }
}

//! What all systems of a process share: the tokio runtime of signalling, and the microphones' thread. Made
//! with the first server that starts, ended with the last one that stops.

use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::runtime::{Builder, Handle, Runtime};

use crate::error::StartError;
use crate::microphone::{MicrophoneHandle, MicrophoneWorker};

/// Signalling is a few messages a viewer: one thread carries thousands.
const SIGNALLING_THREADS: usize = 1;

static PROCESS: Mutex<Weak<Process>> = Mutex::new(Weak::new());

pub(crate) struct Process {
    runtime: Runtime,
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
        let microphones = MicrophoneWorker::spawn().map_err(thread("the microphone thread"))?;
        let started = Arc::new(Self {
            runtime,
            microphones,
        });
        *process = Arc::downgrade(&started);
        Ok(started)
    }

    pub(crate) fn runtime(&self) -> &Handle {
        self.runtime.handle()
    }

    pub(crate) fn microphones(&self) -> MicrophoneHandle {
        self.microphones.handle()
    }
}

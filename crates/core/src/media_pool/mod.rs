//! The threads that encode for every system of the process.
//!
//! ```text
//! wake ─┐                       ┌─► avatar-media ─► step of one task ─┐
//! timer ┴─► schedule: sound first, ├─► avatar-media                   ├─► due again, or asleep until woken
//!    ▲      then the longest due   └─► avatar-media                   │
//!    └────────────────────────────────────────────────────────────────┘
//! ```
//!
//! **A task never runs on two threads at once, a wake is never lost, and once its handle is dropped nothing
//! of it runs.** Sound goes before pictures, and one thread more than may encode pictures at once stays free
//! for it: a tick waits for no encoder. Within a class the task that is due longest goes first, so that a
//! source that floods gets one step in a round, as everybody else does.
//!
//! Nobody polls: of the threads that rest, one sleeps until the next task is due, the others until they are
//! needed. A thread is woken only when something is due that no running thread would get to in time.

mod schedule;
mod worker;

use std::fmt;
use std::io;
use std::num::NonZero;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use worker::Shared;

/// Most pictures that are encoded at once: far more than one queue and its lock are felt at, and a bound to
/// the memory that a machine of a hundred cores would spend on threads.
const MOST_ENCODERS: usize = 32;

/// What runs on the pool, a step at a time.
pub trait Task: Send + 'static {
    /// Does what is to be done at `now`, without blocking, and says when it wants to run again. It may be
    /// called earlier than that, and with nothing to do.
    fn run(&mut self, now: Instant) -> Next;

    /// A step has panicked; the task is dropped after this. The panic hook has reported it.
    fn on_panic(&mut self) {}
}

/// When a task wants to run again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Then, or when it is woken before; at once if that is past.
    At(Instant),
    /// When it is woken.
    Woken,
}

/// What a task makes: decides who goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Short steps with a deadline that can be heard. Goes before pictures that are due at the same time,
    /// and also before those that are due longer: sound is a small and bounded part of the work.
    Sound,
    /// Long steps.
    Pictures,
}

/// What the pool did so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PoolStats {
    /// Steps that tasks ran.
    pub steps: u64,
    /// Times that a thread was woken by another one.
    pub wakes: u64,
    /// Times that a thread went to sleep.
    pub sleeps: u64,
    /// Tasks that ended in a panic.
    pub panics: u64,
}

/// The threads `avatar-media`. Dropping it ends them after the steps that run; tasks that are left do not run
/// any more.
#[derive(Debug)]
pub struct MediaPool {
    handle: PoolHandle,
    threads: Vec<JoinHandle<()>>,
}

/// Where tasks are spawned, from any thread. It may outlive the pool: then nothing runs.
#[derive(Clone)]
pub struct PoolHandle {
    shared: Arc<Shared>,
}

/// A task on the pool. Dropping it takes the task out.
///
/// The drop waits for a step that is running, unless it happens on a thread of the pool itself (in the
/// task's own step, say), which must never wait for another: then the task ends with that step.
#[derive(Debug)]
pub struct TaskHandle {
    pool: PoolHandle,
    key: usize,
}

impl MediaPool {
    /// A pool for this machine: it encodes as many pictures at once as there are cores, at most 32.
    pub fn for_this_machine() -> io::Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        Self::new(cores.min(MOST_ENCODERS))
    }

    /// A pool that encodes `encoders` (at least 1) pictures at once, and has one thread more for sound.
    pub fn new(encoders: usize) -> io::Result<Self> {
        let encoders = encoders.max(1);
        let shared = Arc::new(Shared::new(encoders));
        let mut pool = Self {
            handle: PoolHandle { shared },
            threads: Vec::new(),
        };
        for worker in 0..=encoders {
            let shared = pool.handle.shared.clone();
            let thread = std::thread::Builder::new()
                .name("avatar-media".to_owned())
                .spawn(move || shared.work(worker))?;
            pool.threads.push(thread);
        }
        Ok(pool)
    }

    /// Where tasks are spawned.
    pub fn handle(&self) -> PoolHandle {
        self.handle.clone()
    }
}

impl Drop for MediaPool {
    fn drop(&mut self) {
        self.handle.shared.stop();
        let here = std::thread::current().id();
        for thread in self.threads.drain(..) {
            // The last owner of a pool may let go of it in a step.
            if thread.thread().id() != here {
                // Panics of tasks are caught: an `Err` would be a panic of the pool, which the hook reported.
                let _ = thread.join();
            }
        }
    }
}

impl PoolHandle {
    /// Adds a task, which runs when `first` says.
    pub fn spawn(&self, class: Class, first: Next, task: impl Task) -> TaskHandle {
        TaskHandle {
            key: self.shared.add(class, first, Box::new(task)),
            pool: self.clone(),
        }
    }

    /// What was done so far.
    pub fn stats(&self) -> PoolStats {
        self.shared.stats()
    }
}

impl fmt::Debug for PoolHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PoolHandle").field(&self.stats()).finish()
    }
}

impl TaskHandle {
    /// Makes the task run soon; again, if a step is running that may have missed what there is to do. From
    /// any thread; never waits for a step.
    pub fn wake(&self) {
        self.pool.shared.wake(self.key, Instant::now());
    }
}

impl Drop for TaskHandle {
    fn drop(&mut self) {
        self.pool.shared.remove(self.key);
    }
}

#[cfg(test)]
mod tests;

//! The threads: what they do between two steps, and who of them sleeps until when.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};

use super::schedule::{Removed, Schedule, Step};
use super::{Class, Next, PoolStats, Task};

/// A task that becomes due while a step runs, and no longer than this before that step is expected to end,
/// waits for it rather than costing a thread's waking (5 to 50 µs, and a cold cache). A tick of sound that is
/// so late is not noticed: receivers hold tens of ms.
const PATIENCE: Duration = Duration::from_millis(2);

/// What the pool's threads and its handles share.
pub(super) struct Shared {
    state: Mutex<State>,
    /// Rings for one thread each.
    bells: Box<[Condvar]>,
    /// Rings when a step has ended that somebody waits for.
    over: Condvar,
    steps: AtomicU64,
    wakes: AtomicU64,
    sleeps: AtomicU64,
    panics: AtomicU64,
}

/// Locked for a few hundred ns at a time, never while a step runs or a task is dropped.
struct State {
    schedule: Schedule,
    /// Threads that sleep until they are woken; the last one in is the first one out, its caches being warm.
    resting: Vec<usize>,
    /// The thread that sleeps until the earliest task is due, and until when.
    watch: Option<(usize, Instant)>,
    stopped: bool,
}

thread_local! {
    /// Whether this thread belongs to a pool.
    static IS_WORKER: Cell<bool> = const { Cell::new(false) };
}

impl Shared {
    pub(super) fn new(encoders: usize) -> Self {
        Self {
            state: Mutex::new(State {
                schedule: Schedule::new(encoders),
                resting: Vec::new(),
                watch: None,
                stopped: false,
            }),
            bells: (0..=encoders).map(|_| Condvar::new()).collect(),
            over: Condvar::new(),
            steps: AtomicU64::new(0),
            wakes: AtomicU64::new(0),
            sleeps: AtomicU64::new(0),
            panics: AtomicU64::new(0),
        }
    }

    pub(super) fn add(&self, class: Class, first: Next, task: Box<dyn Task>) -> usize {
        let mut state = self.state.lock();
        let key = state.schedule.add(class, first, task);
        // Also if that is ahead: all threads may rest with nothing to watch for.
        if let Next::At(due) = first {
            self.see_to_it(state, due);
        }
        key
    }

    pub(super) fn wake(&self, key: usize, now: Instant) {
        let mut state = self.state.lock();
        if state.schedule.wake(key, now) {
            self.see_to_it(state, now);
        }
    }

    /// Takes a task out; returns once nothing of it runs, on a thread of the pool at once.
    pub(super) fn remove(&self, key: usize) {
        let waits = !IS_WORKER.get();
        let mut state = self.state.lock();
        match state.schedule.remove(key, waits) {
            Removed::Out(task) => {
                drop(state);
                drop(task);
            }
            Removed::Running if waits => {
                while !state.schedule.is_over(key) {
                    self.over.wait(&mut state);
                }
            }
            Removed::Running | Removed::Gone => {}
        }
    }

    pub(super) fn stop(&self) {
        self.state.lock().stopped = true;
        for bell in &self.bells {
            bell.notify_all();
        }
    }

    pub(super) fn stats(&self) -> PoolStats {
        PoolStats {
            steps: self.steps.load(Relaxed),
            wakes: self.wakes.load(Relaxed),
            sleeps: self.sleeps.load(Relaxed),
            panics: self.panics.load(Relaxed),
        }
    }

    /// The thread number `me`, until the pool stops.
    pub(super) fn work(&self, me: usize) {
        IS_WORKER.set(true);
        let mut state = self.state.lock();
        while !state.stopped {
            let now = Instant::now();
            match state.schedule.take(now) {
                Some(step) => {
                    self.see_to_it(state, now + step.expected.saturating_sub(PATIENCE));
                    self.run(step, now);
                    state = self.state.lock();
                }
                None => self.sleep(me, &mut state),
            }
        }
    }

    /// Sees to it that what becomes due until `until` finds a thread: wakes one if it finds none that runs.
    fn see_to_it(&self, mut state: MutexGuard<'_, State>, until: Instant) {
        let Some(due) = state.schedule.earliest().filter(|due| *due <= until) else {
            return;
        };
        // Whoever sleeps until then comes by itself, if that is still ahead.
        if state.watch.is_some_and(|(_, at)| at <= due) {
            return;
        }
        let rested = state.resting.pop();
        let woken = rested.or_else(|| state.watch.take().map(|(worker, _)| worker));
        drop(state);
        if let Some(bell) = woken.and_then(|worker| self.bells.get(worker)) {
            self.wakes.fetch_add(1, Relaxed);
            bell.notify_one();
        }
    }

    /// Sleeps until something is due, or until woken. It may return for no reason.
    fn sleep(&self, me: usize, state: &mut MutexGuard<'_, State>) {
        let Some(bell) = self.bells.get(me) else {
            return;
        };
        self.sleeps.fetch_add(1, Relaxed);
        let earliest = state.schedule.earliest();
        match earliest.filter(|due| state.watch.is_none_or(|(_, at)| *due < at)) {
            Some(due) => {
                // A thread that watched until later may be used as any other that rests.
                if let Some((other, _)) = state.watch.replace((me, due)) {
                    state.resting.push(other);
                }
                bell.wait_until(state, due);
            }
            None => {
                state.resting.push(me);
                bell.wait(state);
            }
        }
        state.resting.retain(|worker| *worker != me);
        state.watch.take_if(|(worker, _)| *worker == me);
    }

    fn run(&self, step: Step, now: Instant) {
        let Step { key, mut task, .. } = step;
        self.steps.fetch_add(1, Relaxed);
        match catch(|| task.run(now)) {
            Ok(next) => {
                let end = Instant::now();
                let ended = {
                    let schedule = &mut self.state.lock().schedule;
                    schedule.put_back(key, task, next, end, end - now)
                };
                if let Some(task) = ended {
                    self.bury(key, task);
                }
            }
            Err(reason) => {
                self.panics.fetch_add(1, Relaxed);
                tracing::error!(reason, "a media task panicked and has ended");
                let _ = catch(|| task.on_panic());
                self.state.lock().schedule.lose(key);
                self.bury(key, task);
            }
        }
    }

    /// Drops a task, then tells whoever waits for that.
    fn bury(&self, key: usize, task: Box<dyn Task>) {
        let _ = catch(|| drop(task));
        let is_awaited = self.state.lock().schedule.end(key);
        if is_awaited {
            self.over.notify_all();
        }
    }
}

/// What `run` gives, or what it panicked with.
fn catch<T>(run: impl FnOnce() -> T) -> Result<T, String> {
    // What the closure leaves in disorder belongs to one task, of which nothing is used any more.
    catch_unwind(AssertUnwindSafe(run)).map_err(|panic| describe(&*panic))
}

fn describe(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("no reason given").to_owned()
}

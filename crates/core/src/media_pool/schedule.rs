//! Who runs next. Pure: time is an argument, and nothing here waits.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use slab::Slab;

use super::{Class, Next, Task};

/// What is expected of a task's first step: long enough for another thread to look after the rest.
const UNKNOWN: Duration = Duration::from_secs(1);
/// What a step leaves of the memory of longer ones: a keyframe is remembered for about as long as it takes
/// until the next could come, a first step for about a second.
const FORGETTING: f64 = 0.9;

/// The tasks and when they are due.
pub(super) struct Schedule {
    tasks: Slab<Entry>,
    /// Those that have a time to run at and do not run, by it.
    sound: BTreeSet<(Instant, usize)>,
    pictures: BTreeSet<(Instant, usize)>,
    /// Pictures that are encoded, and the most that may be at once.
    encoding: usize,
    encoders: usize,
}

struct Entry {
    class: Class,
    state: State,
    /// How long its longest step took, forgotten by and by.
    longest: Duration,
}

enum State {
    /// Waits for its time or to be woken.
    Waiting {
        task: Box<dyn Task>,
        due: Option<Instant>,
    },
    /// A thread has the task; it is due again at the end of the step if it was woken meanwhile: behind all who
    /// wait by then.
    Running { woken: bool },
    /// A thread has the task, which ends with this step; `awaited` by the one who ends it.
    Ending { awaited: bool },
    /// Nothing is left of the task but its handle.
    Ended,
}

/// A step that is to be run: the task comes back by [`Schedule::put_back`].
pub(super) struct Step {
    pub(super) key: usize,
    pub(super) task: Box<dyn Task>,
    /// How long it may take.
    pub(super) expected: Duration,
}

/// What is left to do for the one who removes a task.
pub(super) enum Removed {
    /// It is out, and to be dropped.
    Out(Box<dyn Task>),
    /// It is out.
    Gone,
    /// A step runs; [`Schedule::is_over`] tells when it has ended.
    Running,
}

impl Schedule {
    /// An empty one, of which at most `encoders` pictures run at once.
    pub(super) fn new(encoders: usize) -> Self {
        Self {
            tasks: Slab::new(),
            sound: BTreeSet::new(),
            pictures: BTreeSet::new(),
            encoding: 0,
            encoders,
        }
    }

    pub(super) fn add(&mut self, class: Class, first: Next, task: Box<dyn Task>) -> usize {
        let key = self.tasks.insert(Entry {
            class,
            state: State::Ended,
            longest: UNKNOWN,
        });
        self.sleep(key, task, first.at());
        key
    }

    /// Makes a task due at `now`; false if it already is, or runs (and then runs again).
    pub(super) fn wake(&mut self, key: usize, now: Instant) -> bool {
        let Some(entry) = self.tasks.get_mut(key) else {
            return false;
        };
        match &mut entry.state {
            State::Waiting { due, .. } if due.is_none_or(|at| at > now) => {
                let queue = match entry.class {
                    Class::Sound => &mut self.sound,
                    Class::Pictures => &mut self.pictures,
                };
                if let Some(at) = due.replace(now) {
                    queue.remove(&(at, key));
                }
                queue.insert((now, key))
            }
            State::Running { woken } => {
                *woken = true;
                false
            }
            State::Waiting { .. } | State::Ending { .. } | State::Ended => false,
        }
    }

    /// When something may be taken.
    pub(super) fn earliest(&self) -> Option<Instant> {
        let first = |queue: &BTreeSet<(Instant, usize)>| queue.first().map(|(at, _)| *at);
        let pictures = first(&self.pictures).filter(|_| self.encoding < self.encoders);
        first(&self.sound).into_iter().chain(pictures).min()
    }

    /// Takes what runs next, if anything is due at `now`.
    pub(super) fn take(&mut self, now: Instant) -> Option<Step> {
        let due = |queue: &BTreeSet<(Instant, usize)>| {
            queue.first().copied().filter(|(at, _)| *at <= now)
        };
        let (at, key) = match due(&self.sound) {
            Some(first) => first,
            None => due(&self.pictures).filter(|_| self.encoding < self.encoders)?,
        };
        let entry = self.tasks.get_mut(key)?;
        match entry.class {
            Class::Sound => self.sound.remove(&(at, key)),
            Class::Pictures => {
                self.encoding += 1;
                self.pictures.remove(&(at, key))
            }
        };
        match std::mem::replace(&mut entry.state, State::Running { woken: false }) {
            State::Waiting { task, .. } => Some(Step {
                key,
                task,
                expected: entry.longest,
            }),
            // Only those who wait are in a queue.
            other => {
                entry.state = other;
                None
            }
        }
    }

    /// Takes a task back at `now`, after a step of `length`; gives it out again if it has ended meanwhile, to
    /// be dropped before [`Schedule::end`] is told.
    pub(super) fn put_back(
        &mut self,
        key: usize,
        task: Box<dyn Task>,
        next: Next,
        now: Instant,
        length: Duration,
    ) -> Option<Box<dyn Task>> {
        self.count_out(key);
        let entry = self.tasks.get_mut(key)?;
        entry.longest = length.max(entry.longest.mul_f64(FORGETTING));
        let State::Running { woken } = entry.state else {
            return Some(task);
        };
        let due = woken.then_some(now).into_iter().chain(next.at()).min();
        self.sleep(key, task, due);
        None
    }

    /// A step panicked: the task does not come back, and is dropped before [`Schedule::end`] is told.
    pub(super) fn lose(&mut self, key: usize) {
        self.count_out(key);
    }

    /// Nothing is left of a task that ended; tells whether somebody waits for that.
    pub(super) fn end(&mut self, key: usize) -> bool {
        match self.tasks.get_mut(key).map(|entry| &mut entry.state) {
            Some(State::Ending { awaited: false }) => {
                self.tasks.remove(key);
                false
            }
            Some(state) => {
                *state = State::Ended;
                true
            }
            None => false,
        }
    }

    /// Takes a task out. If its step runs, `waits` says that the caller will ask [`Schedule::is_over`].
    pub(super) fn remove(&mut self, key: usize, waits: bool) -> Removed {
        let Some(entry) = self.tasks.get_mut(key) else {
            return Removed::Gone;
        };
        if let State::Running { .. } = entry.state {
            entry.state = State::Ending { awaited: waits };
            return Removed::Running;
        }
        let entry = self.tasks.remove(key);
        let State::Waiting { task, due } = entry.state else {
            return Removed::Gone;
        };
        if let Some(at) = due {
            match entry.class {
                Class::Sound => self.sound.remove(&(at, key)),
                Class::Pictures => self.pictures.remove(&(at, key)),
            };
        }
        Removed::Out(task)
    }

    /// Whether the step that a removal waits for has ended; if so, nothing is left.
    pub(super) fn is_over(&mut self, key: usize) -> bool {
        let over =
            matches!(self.tasks.get(key), Some(entry) if matches!(entry.state, State::Ended));
        if over {
            self.tasks.remove(key);
        }
        over
    }

    fn sleep(&mut self, key: usize, task: Box<dyn Task>, due: Option<Instant>) {
        let Some(entry) = self.tasks.get_mut(key) else {
            return;
        };
        entry.state = State::Waiting { task, due };
        if let Some(at) = due {
            match entry.class {
                Class::Sound => self.sound.insert((at, key)),
                Class::Pictures => self.pictures.insert((at, key)),
            };
        }
    }

    fn count_out(&mut self, key: usize) {
        if self
            .tasks
            .get(key)
            .is_some_and(|entry| entry.class == Class::Pictures)
        {
            self.encoding -= 1;
        }
    }
}

impl Next {
    fn at(self) -> Option<Instant> {
        match self {
            Self::At(at) => Some(at),
            Self::Woken => None,
        }
    }
}

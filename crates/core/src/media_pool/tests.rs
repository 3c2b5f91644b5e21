use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::schedule::{Removed, Schedule};
use super::*;

const MS: Duration = Duration::from_millis(1);
const PATIENCE: Duration = Duration::from_secs(10);

/// A task that is a closure.
struct Run<F>(F);

impl<F: FnMut(Instant) -> Next + Send + 'static> Task for Run<F> {
    fn run(&mut self, now: Instant) -> Next {
        (self.0)(now)
    }
}

fn idle() -> Box<dyn Task> {
    Box::new(Run(|_| Next::Woken))
}

fn pool(encoders: usize) -> (MediaPool, PoolHandle) {
    let pool = MediaPool::new(encoders).unwrap();
    let handle = pool.handle();
    (pool, handle)
}

fn until(condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "nothing happens");
        std::thread::park_timeout(MS);
    }
}

/// Takes everything that is due at `now`, in order, as if one thread ran it in no time.
fn run_all(schedule: &mut Schedule, now: Instant) -> Vec<usize> {
    let mut order = Vec::new();
    while let Some(step) = schedule.take(now) {
        order.push(step.key);
        schedule.put_back(step.key, step.task, Next::Woken, now, Duration::ZERO);
    }
    order
}

#[test]
fn sound_goes_first_then_who_is_due_longest() {
    let mut schedule = Schedule::new(2);
    let start = Instant::now();
    let mut add = |class, ms| schedule.add(class, Next::At(start + ms * MS), idle());
    let late_picture = add(Class::Pictures, 0);
    let picture = add(Class::Pictures, 7);
    let sound = add(Class::Sound, 9);
    let early_sound = add(Class::Sound, 8);
    let future = add(Class::Sound, 11);
    assert_eq!(
        run_all(&mut schedule, start + 10 * MS),
        [early_sound, sound, late_picture, picture]
    );
    assert_eq!(schedule.earliest(), Some(start + 11 * MS));
    assert_eq!(run_all(&mut schedule, start + 11 * MS), [future]);
    assert_eq!(schedule.earliest(), None);
}

#[test]
fn a_wake_makes_a_task_due_from_then_on_and_a_second_one_changes_nothing() {
    let mut schedule = Schedule::new(1);
    let start = Instant::now();
    let first = schedule.add(Class::Pictures, Next::At(start + 500 * MS), idle());
    let second = schedule.add(Class::Pictures, Next::Woken, idle());
    assert!(schedule.take(start).is_none());
    assert!(schedule.wake(second, start + MS));
    assert!(schedule.wake(first, start + 2 * MS));
    assert!(!schedule.wake(second, start + 3 * MS));
    assert_eq!(run_all(&mut schedule, start + 3 * MS), [second, first]);
}

#[test]
fn a_flooding_task_gets_one_step_in_a_round() {
    let mut schedule = Schedule::new(1);
    let start = Instant::now();
    let flood = schedule.add(Class::Pictures, Next::At(start), idle());
    let others = [1, 2].map(|_| schedule.add(Class::Pictures, Next::At(start), idle()));
    let mut order = Vec::new();
    for n in 0..9 {
        let now = start + n * MS;
        let step = schedule.take(now).unwrap();
        order.push(step.key);
        // Everybody has more to do; the flood has already had it during its own step.
        schedule.wake(flood, now);
        schedule.put_back(step.key, step.task, Next::At(now + MS), now + MS, MS);
    }
    for round in order.chunks(3) {
        assert!(round.contains(&flood) && others.iter().all(|key| round.contains(key)));
    }
}

#[test]
fn one_thread_is_kept_free_for_sound() {
    let mut schedule = Schedule::new(1);
    let now = Instant::now();
    schedule.add(Class::Pictures, Next::At(now), idle());
    schedule.add(Class::Pictures, Next::At(now), idle());
    let first = schedule.take(now).unwrap();
    assert!(schedule.take(now).is_none(), "one encoder, one picture");
    assert_eq!(schedule.earliest(), None, "nobody is to be woken for it");
    let sound = schedule.add(Class::Sound, Next::At(now), idle());
    assert_eq!(schedule.take(now).unwrap().key, sound);
    schedule.put_back(first.key, first.task, Next::Woken, now, MS);
    assert!(schedule.take(now).is_some());
}

#[test]
fn a_task_that_is_removed_while_it_runs_comes_back_to_be_dropped() {
    let mut schedule = Schedule::new(1);
    let now = Instant::now();
    let key = schedule.add(Class::Pictures, Next::At(now), idle());
    let step = schedule.take(now).unwrap();
    assert!(matches!(schedule.remove(key, true), Removed::Running));
    assert!(!schedule.is_over(key));
    schedule.wake(key, now);
    assert!(
        schedule
            .put_back(key, step.task, Next::At(now), now, MS)
            .is_some()
    );
    assert!(schedule.end(key), "somebody waits");
    assert!(schedule.is_over(key));
    assert!(schedule.take(now).is_none());
}

#[test]
fn a_wake_during_a_step_is_not_lost() {
    let (_pool, handle) = pool(1);
    let (started, starts) = channel();
    let (go, goes) = channel::<()>();
    let task = handle.spawn(
        Class::Pictures,
        Next::Woken,
        Run(move |_| {
            let _ = started.send(());
            let _ = goes.recv_timeout(PATIENCE);
            Next::Woken
        }),
    );
    task.wake();
    starts.recv_timeout(PATIENCE).unwrap();
    // It has looked at what there is to do; this comes after.
    task.wake();
    go.send(()).unwrap();
    starts.recv_timeout(PATIENCE).unwrap();
    go.send(()).unwrap();
    assert!(
        starts.recv_timeout(50 * MS).is_err(),
        "woken twice, run twice"
    );
}

#[test]
fn no_wake_is_lost_between_many_threads() {
    let (_pool, handle) = pool(2);
    let todo: Arc<Vec<AtomicUsize>> = Arc::new((0..20).map(|_| AtomicUsize::new(0)).collect());
    let busy: Arc<Vec<AtomicUsize>> = Arc::new((0..20).map(|_| AtomicUsize::new(0)).collect());
    let done = Arc::new(AtomicUsize::new(0));
    let tasks: Vec<_> = (0..20)
        .map(|n| {
            let (todo, busy, done) = (todo.clone(), busy.clone(), done.clone());
            let class = [Class::Sound, Class::Pictures][n % 2];
            handle.spawn(
                class,
                Next::Woken,
                Run(move |_| {
                    assert_eq!(busy[n].fetch_add(1, SeqCst), 0, "two threads in one task");
                    done.fetch_add(todo[n].swap(0, SeqCst), SeqCst);
                    busy[n].fetch_sub(1, SeqCst);
                    Next::Woken
                }),
            )
        })
        .collect();
    std::thread::scope(|scope| {
        for seed in 0..3 {
            let (tasks, todo) = (&tasks, &todo);
            scope.spawn(move || {
                for n in 0..2_000 {
                    let which = (n * 7 + seed * 3) % 20;
                    todo[which].fetch_add(1, SeqCst);
                    tasks[which].wake();
                }
            });
        }
    });
    until(|| done.load(SeqCst) == 6_000);
    assert_eq!(handle.stats().panics, 0);
}

#[test]
fn a_task_runs_at_the_time_that_it_names_and_not_before() {
    let (_pool, handle) = pool(1);
    let (ran, runs) = channel();
    // Both threads rest, and have nothing to watch for.
    until(|| handle.stats().sleeps >= 2);
    let start = Instant::now();
    let _task = handle.spawn(
        Class::Sound,
        Next::At(start + 20 * MS),
        Run(move |now| {
            let _ = ran.send(now);
            Next::At(now + 20 * MS)
        }),
    );
    let mut earliest = start;
    for _ in 0..5 {
        earliest += 20 * MS;
        let at = runs.recv_timeout(PATIENCE).unwrap();
        assert!(at >= earliest, "{:?} too early", earliest - at);
        earliest = at;
    }
}

/// Holds up every encoder of a pool; gives what lets them go.
fn occupy(handle: &PoolHandle, encoders: usize) -> (Vec<TaskHandle>, Sender<()>) {
    let (go, goes) = channel::<()>();
    let goes = Arc::new(Mutex::new(goes));
    let (started, starts) = channel();
    let tasks = (0..encoders)
        .map(|_| {
            let (goes, started) = (goes.clone(), started.clone());
            handle.spawn(
                Class::Pictures,
                Next::At(Instant::now()),
                Run(move |_| {
                    let _ = started.send(());
                    let _ = goes.lock().recv_timeout(PATIENCE);
                    Next::Woken
                }),
            )
        })
        .collect();
    for _ in 0..encoders {
        starts.recv_timeout(PATIENCE).unwrap();
    }
    (tasks, go)
}

#[test]
fn sound_plays_on_while_every_encoder_is_busy() {
    let (_pool, handle) = pool(2);
    let (busy, go) = occupy(&handle, 2);
    let (ticked, ticks) = channel();
    let _sound = handle.spawn(
        Class::Sound,
        Next::At(Instant::now()),
        Run(move |now| {
            let _ = ticked.send(());
            Next::At(now + MS)
        }),
    );
    for _ in 0..20 {
        ticks.recv_timeout(PATIENCE).unwrap();
    }
    drop(go);
    drop(busy);
}

/// Says so when it is dropped, and whether it runs then.
struct Witness {
    running: Arc<AtomicUsize>,
    dropped: Arc<AtomicUsize>,
}

impl Drop for Witness {
    fn drop(&mut self) {
        assert_eq!(self.running.load(SeqCst), 0);
        self.dropped.fetch_add(1, SeqCst);
    }
}

#[test]
fn dropping_a_handle_waits_for_the_step_and_for_the_task_to_be_dropped() {
    let (_pool, handle) = pool(1);
    let (running, dropped) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
    let witness = Witness {
        running: running.clone(),
        dropped: dropped.clone(),
    };
    let (started, starts) = channel();
    let task = handle.spawn(
        Class::Pictures,
        Next::At(Instant::now()),
        Run(move |now| {
            witness.running.store(1, SeqCst);
            let _ = started.send(());
            std::thread::park_timeout(30 * MS);
            witness.running.store(0, SeqCst);
            Next::At(now)
        }),
    );
    starts.recv_timeout(PATIENCE).unwrap();
    drop(task);
    assert_eq!((running.load(SeqCst), dropped.load(SeqCst)), (0, 1));
}

#[test]
fn a_task_may_drop_its_own_handle_and_those_of_others() {
    let (_pool, handle) = pool(2);
    let handles: Arc<Mutex<Vec<TaskHandle>>> = Arc::default();
    let (started, starts) = channel();
    let dropped = Arc::<AtomicUsize>::default();
    for _ in 0..2 {
        let (handles_of_all, started) = (handles.clone(), started.clone());
        let witness = Witness {
            running: Arc::default(),
            dropped: dropped.clone(),
        };
        let task = handle.spawn(
            Class::Pictures,
            Next::Woken,
            Run(move |_| {
                let _ = &witness;
                let _ = started.send(());
                // Both at once, each the other's and its own.
                let taken = std::mem::take(&mut *handles_of_all.lock());
                drop(taken);
                Next::Woken
            }),
        );
        handles.lock().push(task);
    }
    for task in &*handles.lock() {
        task.wake();
    }
    starts.recv_timeout(PATIENCE).unwrap();
    until(|| dropped.load(SeqCst) == 2);
}

#[test]
fn a_panic_costs_its_task_alone() {
    struct Fragile(Sender<&'static str>);
    impl Task for Fragile {
        fn run(&mut self, _now: Instant) -> Next {
            panic!("a panic that a test wants");
        }
        fn on_panic(&mut self) {
            let _ = self.0.send("reported");
            panic!("another panic that a test wants");
        }
    }
    impl Drop for Fragile {
        fn drop(&mut self) {
            let _ = self.0.send("dropped");
        }
    }
    let (_pool, handle) = pool(1);
    let (said, says) = channel();
    let broken = handle.spawn(Class::Pictures, Next::At(Instant::now()), Fragile(said));
    assert_eq!(says.recv_timeout(PATIENCE), Ok("reported"));
    assert_eq!(says.recv_timeout(PATIENCE), Ok("dropped"));
    broken.wake();
    let (ran, runs): (_, Receiver<()>) = channel();
    // The only encoder is free again.
    let healthy = handle.spawn(
        Class::Pictures,
        Next::At(Instant::now()),
        Run(move |_| {
            let _ = ran.send(());
            Next::Woken
        }),
    );
    runs.recv_timeout(PATIENCE).unwrap();
    drop((broken, healthy));
    assert_eq!(handle.stats().panics, 1);
}

#[test]
fn nothing_runs_after_the_pool_and_handles_may_outlive_it() {
    let (pool, handle) = pool(1);
    let steps = Arc::<AtomicUsize>::default();
    let counted = steps.clone();
    let task = handle.spawn(
        Class::Sound,
        Next::At(Instant::now()),
        Run(move |now| {
            counted.fetch_add(1, SeqCst);
            Next::At(now)
        }),
    );
    until(|| steps.load(SeqCst) > 0);
    drop(pool);
    let so_far = steps.load(SeqCst);
    task.wake();
    std::thread::park_timeout(20 * MS);
    assert_eq!(steps.load(SeqCst), so_far);
    drop(task);
    drop(handle.spawn(Class::Sound, Next::Woken, Run(|_| Next::Woken)));
}

#[test]
fn threads_that_have_nothing_to_do_sleep() {
    let (_pool, handle) = pool(2);
    let steps = Arc::<AtomicUsize>::default();
    let counted = steps.clone();
    let _task = handle.spawn(
        Class::Sound,
        Next::At(Instant::now()),
        Run(move |now| {
            counted.fetch_add(1, SeqCst);
            Next::At(now + 5 * MS)
        }),
    );
    until(|| steps.load(SeqCst) >= 20);
    let stats = handle.stats();
    // Each step costs one sleep; a few more belong to the beginning.
    assert!(stats.sleeps <= stats.steps + 12, "{stats:?}");
    assert!(stats.wakes <= 6, "{stats:?}");
}

/// `cargo test --release -p avatar-core media_pool -- --ignored --nocapture`
#[test]
#[ignore = "a measurement: prints what the pool adds to a step"]
fn cost_of_a_step() {
    let (_pool, handle) = pool(2);
    let steps = Arc::<AtomicUsize>::default();
    // Eighty tasks that are always due: what a step costs without sleeping.
    let tasks: Vec<_> = (0..80)
        .map(|n| {
            let steps = steps.clone();
            handle.spawn(
                [Class::Sound, Class::Pictures][n % 2],
                Next::At(Instant::now()),
                Run(move |now| {
                    steps.fetch_add(1, SeqCst);
                    Next::At(now)
                }),
            )
        })
        .collect();
    let (start, before) = (Instant::now(), steps.load(SeqCst));
    std::thread::sleep(Duration::from_secs(1));
    let count = steps.load(SeqCst) - before;
    println!(
        "busy: {:?} a step on three threads",
        start.elapsed() / count as u32
    );
    drop(tasks);
}

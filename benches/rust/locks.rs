//! The primitives beside parking_lot's, on the same work, measured in one run.
//!
//! parking_lot has no semaphore; what it is compared with is one made of its mutex and condition,
//! as everybody writes it. Rounds of both alternate, so that whatever else the machine does meets
//! both. Figures are medians over the rounds; the ratio is the median of each round's ratio, with
//! the middle half of them in brackets.
//!
//! Run with `cargo bench -p manyhands-sync --bench locks`. With `-- --quick` it only shows that it
//! works; any other word selects the rows whose name contains it.

use std::hint::black_box;
use std::sync::Barrier;
use std::thread;
use std::time::Instant;

use manyhands_sync::{Condvar, Mutex, Semaphore};

/// How much is measured.
struct Size {
    n_rounds: usize,
    /// Operations of all threads together.
    n_ops: u32,
}

const FULL: Size = Size { n_rounds: 41, n_ops: 400_000 };
const QUICK: Size = Size { n_rounds: 3, n_ops: 4_000 };

/// What is locked, ours or theirs.
trait Lock: Sync + Default {
    fn count(&self);
}

/// Permits, ours or theirs.
trait Permits: Sync {
    fn new(n: u32) -> Self;
    fn visit(&self);
}

/// Two threads that pass a turn to each other.
trait Turns: Sync + Default {
    fn pass(&self, mine: u32);
    fn notify(&self);
}

struct TheirSemaphore {
    permits: parking_lot::Mutex<u32>,
    more: parking_lot::Condvar,
}

fn main() {
    let size = if std::env::args().any(|arg| arg == "--quick") { QUICK } else { FULL };
    type TheirMutex = parking_lot::Mutex<u64>;
    for n_threads in [1, 2, 8] {
        let what = format!("Mutex: lock, count, unlock; {n_threads} thread(s)");
        row(&what, &size, &|| counts::<Mutex<u64>>(&size, n_threads), &|| {
            counts::<TheirMutex>(&size, n_threads)
        });
    }
    for (n_threads, n_permits) in [(1, 1), (2, 1), (8, 2)] {
        let what = format!("Semaphore({n_permits}): acquire, release; {n_threads} thread(s)");
        row(&what, &size, &|| visits::<Semaphore>(&size, n_threads, n_permits), &|| {
            visits::<TheirSemaphore>(&size, n_threads, n_permits)
        });
    }
    type TheirTurns = (parking_lot::Mutex<u32>, parking_lot::Condvar);
    type OurTurns = (Mutex<u32>, Condvar);
    row("Condvar: a turn passed between 2 threads", &size, &|| turns::<OurTurns>(&size), &|| {
        turns::<TheirTurns>(&size)
    });
    row("Condvar: notify when nobody waits", &size, &|| notifications::<OurTurns>(&size), &|| {
        notifications::<TheirTurns>(&size)
    });
}

/// Measures both, alternating, and prints a line.
fn row(what: &str, size: &Size, ours: &dyn Fn() -> f64, theirs: &dyn Fn() -> f64) {
    let words: Vec<String> =
        std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    if !words.is_empty() && !words.iter().any(|word| what.contains(word)) {
        return;
    }
    let (mut our_times, mut their_times, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    // The first round warms up.
    for round in 0..=size.n_rounds {
        // Who comes first changes, too.
        let (our_time, their_time) = if round % 2 == 0 {
            let our_time = ours();
            (our_time, theirs())
        } else {
            let their_time = theirs();
            (ours(), their_time)
        };
        if round > 0 {
            our_times.push(our_time);
            their_times.push(their_time);
            ratios.push(our_time / their_time);
        }
    }
    let [our_time, their_time] = [our_times, their_times].map(|times| quartiles(times)[1]);
    let [low, ratio, high] = quartiles(ratios);
    println!(
        "{what:<48} {our_time:>9.1} ns, parking_lot {their_time:>9.1} ns: {ratio:.2} times \
         [{low:.2} to {high:.2}] (target: at most 1.2)"
    );
}

fn quartiles(mut figures: Vec<f64>) -> [f64; 3] {
    figures.sort_by(f64::total_cmp);
    let last = figures.len() - 1;
    [last / 4, last / 2, last * 3 / 4].map(|at| figures[at])
}

/// Nanoseconds per operation, `n_ops` of them shared by the threads.
fn in_threads(size: &Size, n_threads: u32, op: impl Fn() + Sync) -> f64 {
    let n_each = size.n_ops / n_threads;
    let start = Barrier::new(n_threads as usize);
    let body = || {
        start.wait();
        let started = Instant::now();
        (0..n_each).for_each(|_| op());
        (started, Instant::now())
    };
    let times: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (1..n_threads).map(|_| scope.spawn(body)).collect();
        let mine = body();
        let others = threads.into_iter().map(|thread| thread.join().expect("it counts"));
        others.chain([mine]).collect()
    });
    let first = times.iter().map(|time| time.0).min().expect("a thread");
    let last = times.iter().map(|time| time.1).max().expect("a thread");
    (last - first).as_nanos() as f64 / f64::from(n_each * n_threads)
}

fn counts<L: Lock>(size: &Size, n_threads: u32) -> f64 {
    let lock = L::default();
    in_threads(size, n_threads, || lock.count())
}

fn visits<P: Permits>(size: &Size, n_threads: u32, n_permits: u32) -> f64 {
    let permits = P::new(n_permits);
    in_threads(size, n_threads, || permits.visit())
}

/// Nanoseconds per turn. A turn is two system calls at best, so there are fewer.
fn turns<T: Turns>(size: &Size) -> f64 {
    let (turns, n_turns) = (T::default(), size.n_ops / 40);
    let started = Instant::now();
    thread::scope(|scope| {
        scope.spawn(|| (0..n_turns).for_each(|_| turns.pass(1)));
        (0..n_turns).for_each(|_| turns.pass(0));
    });
    started.elapsed().as_nanos() as f64 / f64::from(2 * n_turns)
}

fn notifications<T: Turns>(size: &Size) -> f64 {
    let turns = T::default();
    in_threads(size, 1, || turns.notify())
}

impl Lock for Mutex<u64> {
    fn count(&self) {
        *black_box(self).lock() += 1;
    }
}

impl Lock for parking_lot::Mutex<u64> {
    fn count(&self) {
        *black_box(self).lock() += 1;
    }
}

impl Permits for Semaphore {
    fn new(n: u32) -> Self {
        Self::new(n)
    }

    fn visit(&self) {
        drop(black_box(self.acquire()));
    }
}

impl Permits for TheirSemaphore {
    fn new(n: u32) -> Self {
        Self { permits: parking_lot::Mutex::new(n), more: parking_lot::Condvar::new() }
    }

    fn visit(&self) {
        let mut permits = self.permits.lock();
        self.more.wait_while(&mut permits, |permits| *permits == 0);
        *permits -= 1;
        drop(permits);
        *self.permits.lock() += 1;
        self.more.notify_one();
    }
}

impl Turns for (Mutex<u32>, Condvar) {
    fn pass(&self, mine: u32) {
        let mut turn = self.0.lock();
        self.1.wait_while(&mut turn, |turn| *turn != mine);
        *turn = 1 - mine;
        self.1.notify_one();
    }

    fn notify(&self) {
        black_box(self).1.notify_one();
    }
}

impl Turns for (parking_lot::Mutex<u32>, parking_lot::Condvar) {
    fn pass(&self, mine: u32) {
        let mut turn = self.0.lock();
        self.1.wait_while(&mut turn, |turn| *turn != mine);
        *turn = 1 - mine;
        self.1.notify_one();
    }

    fn notify(&self) {
        black_box(self).1.notify_one();
    }
}

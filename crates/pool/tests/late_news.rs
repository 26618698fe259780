//! A worker may run its first task before its launcher has told the root who it is.

mod support;

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use manyhands_pool::error::TaskError;
use manyhands_process::{ChildId, Event, Events, Launcher, Program};
use support::{end_of, finish, guard, pool_of, program, submit};

#[test]
fn worker_entry() {
    support::serve_if_worker();
}

/// Starts workers, and keeps the news of the first one back until it is let go.
struct Slow {
    program: Program,
    first: Arc<Mutex<Held>>,
}

#[derive(Default)]
enum Held {
    #[default]
    Nothing,
    News(Arc<dyn Events>, Event),
    LetGo,
}

struct Holder {
    to: Arc<dyn Events>,
    first: Arc<Mutex<Held>>,
}

impl Events for Holder {
    fn notify(&self, event: Event) {
        let mut held = self.first.lock().unwrap();
        match *held {
            Held::Nothing if matches!(event, Event::Started { .. }) => {
                *held = Held::News(Arc::clone(&self.to), event);
            }
            _ => self.to.notify(event),
        }
    }
}

impl Launcher for Slow {
    fn launch(
        &self,
        id: ChildId,
        note: &[u8],
        fds: &[BorrowedFd<'_>],
        events: Arc<dyn Events>,
    ) -> io::Result<()> {
        let holder = Holder { to: events, first: Arc::clone(&self.first) };
        self.program.launch(id, note, fds, Arc::new(holder))
    }
}

fn let_go(first: &Mutex<Held>) {
    let held = std::mem::replace(&mut *first.lock().unwrap(), Held::LetGo);
    let Held::News(to, event) = held else { panic!("no worker was started") };
    to.notify(event);
}

#[test]
fn a_task_stopped_before_its_worker_is_known_is_stopped_all_the_same() {
    let _guard = guard(60);
    let first = Arc::default();
    let slow = Slow { program: program(), first: Arc::clone(&first) };
    let pool = pool_of(Arc::new(slow), 1, None);
    let an_hour = submit(&pool, "spin", &3_600_000_000u64.to_le_bytes());
    while !an_hour.runs_now() {
        std::thread::yield_now();
    }
    assert!(an_hour.cancel_even_running(Duration::ZERO));
    assert_eq!(end_of(&an_hour).unwrap_err(), TaskError::Cancelled);
    // The collector has had its turns, and could reach nobody.
    std::thread::sleep(Duration::from_millis(20));
    let_go(&first);
    assert_eq!(end_of(&submit(&pool, "echo", b"next")).unwrap().body.bytes(), b"next");
    finish(&pool);
    assert_eq!(pool.counts().workers_died, 1);
}

#[test]
fn a_worker_that_replies_before_it_is_known_is_named_by_its_process_id() {
    let _guard = guard(60);
    let first = Arc::default();
    let slow = Slow { program: program(), first: Arc::clone(&first) };
    let pool = pool_of(Arc::new(slow), 1, None);
    let task = submit(&pool, "echo", b"early");
    end_of(&task).unwrap();
    let early = task.times().worker_pid;
    let_go(&first);
    finish(&pool);
    assert_ne!(early, 0);
}

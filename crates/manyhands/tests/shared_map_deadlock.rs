//! An update keeps others out of a map as a mutex does: who would wait for ever is told.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use manyhands::sync::{DeadlockMode, set_deadlock_mode};
use manyhands::{Process, SharedBarrier, SharedMap, SharedMutex, TaskError};

manyhands::test_entry!();

type Map = SharedMap<u32, u32>;

fn map() -> Map {
    let map = Map::new().expect("a map");
    map.insert(&1, &1).expect("room");
    map
}

/// The report that `body` panics with.
fn report_of<T>(body: impl FnOnce() -> T) -> Option<String> {
    let panic = catch_unwind(AssertUnwindSafe(body)).err()?;
    Some(panic.downcast_ref::<String>().expect("a report").clone())
}

#[test]
fn an_update_that_uses_its_map_is_told_that_it_waits_for_itself() {
    type Use = fn(&Map);
    let uses: [(&str, Use); 8] = [
        ("get", |map| drop(map.get(&1))),
        ("insert", |map| drop(map.insert(&1, &2))),
        ("len", |map| _ = map.len()),
        ("contains", |map| drop(map.contains(&1))),
        ("remove", |map| drop(map.remove(&1))),
        ("clear", |map| drop(map.clear())),
        ("keys", |map| drop(map.keys())),
        ("update", |map| drop(map.update(&2, |_| 2))),
    ];
    for (name, use_it) in uses {
        let map = map();
        let same = map.clone();
        let report = report_of(|| map.update(&1, |_| [use_it(&same)].len() as u32));
        let report = report.unwrap_or_else(|| panic!("{name} in an update waits for nothing"));
        assert!(report.starts_with("deadlock: a thread waits for itself."), "{name}: {report}");
        assert!(report.contains("waits for SharedMap 0x") && report.contains("(its own)"));
        // Where it was closed, and where it is waited for.
        assert_eq!(report.matches("shared_map_deadlock.rs:").count(), 2, "{name}: {report}");
        assert_eq!(map.keys().expect("keys"), [1], "{name} has changed something");
        assert_eq!(map.update(&1, |n| n.unwrap_or(0) + 1).expect("it is open again"), 2);
    }
}

#[test]
fn a_map_can_be_shown_while_it_is_updated() {
    let map = map();
    let mut shown = String::new();
    map.update(&1, |_| {
        shown = format!("{map:?}");
        2
    })
    .expect("room");
    assert!(shown.starts_with("SharedMap { len: Some(1)"), "{shown}");
}

/// A value that looks at the map it goes into.
struct Nosy;

static LOOKED_AT: std::sync::OnceLock<SharedMap<u32, Nosy>> = std::sync::OnceLock::new();

impl serde::Serialize for Nosy {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        LOOKED_AT.get().map(SharedMap::len);
        ().serialize(serializer)
    }
}

impl<'de> serde::Deserialize<'de> for Nosy {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        LOOKED_AT.get().map(SharedMap::len);
        <()>::deserialize(deserializer).map(|()| Self)
    }
}

#[test]
fn a_codec_that_looks_at_the_map_is_told_in_an_update_and_welcome_elsewhere() {
    let map = LOOKED_AT.get_or_init(|| SharedMap::new().expect("a map"));
    let report = report_of(|| map.update(&1, |_| Nosy)).expect("it waits for itself");
    assert!(report.starts_with("deadlock: a thread waits for itself."), "{report}");
    map.insert(&1, &Nosy).expect("room");
    assert!(map.get(&1).expect("it can be read").is_some());
}

#[test]
fn of_two_threads_that_update_across_each_other_one_is_told_and_one_goes_on() {
    let (left, right, both) = (map(), map(), std::sync::Barrier::new(2));
    let cross = |mine: &Map, other: &Map| {
        let change = |_| {
            both.wait();
            other.len() as u32 + other.get(&1).expect("a number").unwrap_or(0)
        };
        report_of(|| mine.update(&1, change).expect("room"))
    };
    let reports = thread::scope(|scope| {
        let threads = [(&left, &right), (&right, &left)]
            .map(|(mine, other)| scope.spawn(move || cross(mine, other)));
        threads.map(|thread| thread.join().expect("it caught what there was"))
    });
    let told: Vec<_> = reports.iter().flatten().collect();
    assert_eq!(told.len(), 1, "{reports:?}");
    assert!(told[0].starts_with("deadlock: 2 threads wait for each other"), "{}", told[0]);
    for holds in ["holds SharedMap 0x", "waits for SharedMap 0x", "acquired at "] {
        assert_eq!(told[0].matches(holds).count(), 2, "{}", told[0]);
    }
    let mut after = [left, right].map(|map| map.get(&1).expect("a number").expect("it is there"));
    after.sort_unstable();
    assert_eq!(after, [1, 2], "one was updated, the other left as it was");
}

#[test]
fn a_map_and_a_mutex_may_be_two_parts_of_a_deadlock() {
    let (map, mutex) = (map(), SharedMutex::named("salt", 0_u32).expect("a mutex"));
    let both = std::sync::Barrier::new(2);
    let reports = thread::scope(|scope| {
        let updates = scope.spawn(|| {
            let change = |_| {
                both.wait();
                *mutex.lock().expect("nobody dies")
            };
            report_of(|| map.update(&1, change).expect("room"))
        });
        let locks = scope.spawn(|| {
            report_of(|| {
                let _salt = mutex.lock().expect("nobody dies");
                both.wait();
                map.get(&1).expect("a number")
            })
        });
        [updates, locks].map(|thread| thread.join().expect("it caught what there was"))
    });
    let told: Vec<_> = reports.iter().flatten().collect();
    assert_eq!(told.len(), 1, "{reports:?}");
    assert!(told[0].contains("holds SharedMap 0x") && told[0].contains("SharedMutex \"salt\""));
}

/// Updates `mine` by the other one, when the other process is in an update as well.
#[manyhands::task]
fn cross(mine: Map, other: Map, both: SharedBarrier) {
    set_deadlock_mode(DeadlockMode::Raise);
    let change = |_| {
        both.wait().expect("both come");
        other.get(&1).expect("a number").unwrap_or(0)
    };
    mine.update(&1, change).expect("room");
}

#[test]
fn of_two_processes_that_update_across_each_other_one_is_told() {
    let (left, right) = (map(), map());
    let both = SharedBarrier::new(2).expect("a barrier");
    let start = |mine: &Map, other: &Map| {
        Process::spawn(cross::task, (mine.clone(), other.clone(), both.clone())).expect("a process")
    };
    let ends = [start(&left, &right), start(&right, &left)].map(Process::join);
    let told: Vec<_> = ends.iter().filter_map(|end| end.as_ref().err()).collect();
    let [TaskError::Panicked { message, .. }] = told[..] else { panic!("{ends:?}") };
    assert!(message.starts_with("deadlock: 2 threads of 2 processes wait"), "{message}");
}

#[manyhands::task]
fn die_in_an_update(map: Map) {
    map.update(&1, |_| std::process::abort()).expect("it does not return");
}

#[test]
fn who_dies_in_an_update_has_changed_nothing_and_keeps_nobody_out() {
    let map = map();
    let process = Process::spawn(die_in_an_update::task, map.clone()).expect("a process");
    assert!(matches!(process.join(), Err(TaskError::Crashed(_))));
    assert_eq!(map.get(&1).expect("a number"), Some(1));
    assert_eq!(map.update(&1, |n| n.unwrap_or(0) + 1).expect("room"), 2);
}

#[test]
fn who_panics_in_an_update_has_changed_nothing_and_keeps_nobody_out() {
    let map = map();
    assert!(catch_unwind(AssertUnwindSafe(|| map.update(&1, |_| panic!("burnt")))).is_err());
    assert_eq!(map.get(&1).expect("a number"), Some(1));
    let other = map.clone();
    thread::spawn(move || other.update(&1, |_| 5).expect("room")).join().expect("it gets in");
    assert_eq!(map.get(&1).expect("a number"), Some(5));
}

#[test]
fn others_see_an_update_when_it_is_over() {
    let (map, begun) = (map(), std::sync::Barrier::new(2));
    let seen = thread::scope(|scope| {
        let looks = scope.spawn(|| {
            begun.wait();
            map.get(&1).expect("a number")
        });
        let change = |_| {
            begun.wait();
            // It looks now, and waits: whenever it comes, it is not before this has ended.
            thread::yield_now();
            assert!(!looks.is_finished());
            2
        };
        map.update(&1, change).expect("room");
        looks.join().expect("it ends")
    });
    assert_eq!(seen, Some(2));
}

//! Asking at a broker, and what comes of it.

use std::os::fd::AsFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use manyhands_sys::broker::{self, Broker, Question};
use manyhands_sys::clock::Deadline;
use manyhands_sys::event::poll;

/// A number that no other test has.
fn number(n: u64) -> u64 {
    u64::from(std::process::id()) << 8 | n
}

fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(30))
}

fn next_question(broker: &Broker) -> Question {
    poll(&[broker.as_fd()], Some(soon())).expect("to wait");
    broker.question().expect("to receive").expect("a question of this user")
}

#[test]
fn who_asks_gets_descriptors() {
    let broker = Broker::open(number(1)).unwrap();
    let [mine, theirs] = broker::stream_pair().unwrap();
    let given = std::thread::scope(|scope| {
        let asked = scope.spawn(|| Broker::ask(number(1), b"the pair?", soon()));
        let question = next_question(&broker);
        assert_eq!(question.bytes, b"the pair?");
        broker.answer(&question, &[theirs.as_fd()]).unwrap();
        asked.join().unwrap().unwrap().expect("in time")
    });
    broker::send_byte(&given[0], 7);
    assert_eq!(broker::peek(&mine), Some(7));
}

#[test]
fn an_answer_may_have_no_descriptors() {
    let broker = Broker::open(number(2)).unwrap();
    std::thread::scope(|scope| {
        let asked = scope.spawn(|| Broker::ask(number(2), b"?", soon()));
        broker.answer(&next_question(&broker), &[]).unwrap();
        assert!(asked.join().unwrap().unwrap().expect("in time").is_empty());
    });
}

#[test]
fn a_broker_that_is_not_there_is_told() {
    assert!(Broker::ask(number(3), b"?", soon()).is_err());
}

#[test]
fn a_broker_that_is_closed_while_somebody_waits_is_told() {
    let broker = Broker::open(number(4)).unwrap();
    std::thread::scope(|scope| {
        let asked = scope.spawn(|| Broker::ask(number(4), b"?", soon()));
        next_question(&broker);
        drop(broker);
        assert!(asked.join().unwrap().is_err());
    });
}

#[test]
fn who_gets_no_answer_goes_on_at_the_deadline() {
    let _broker = Broker::open(number(5)).unwrap();
    let until = Deadline::after(Duration::from_millis(1));
    assert!(matches!(Broker::ask(number(5), b"?", until), Ok(None)));
}

#[test]
fn a_broker_at_which_nobody_asked_has_no_question() {
    let broker = Broker::open(number(6)).unwrap();
    assert!(broker.question().unwrap().is_none());
}

/// Runs `act` in a thread with the rights of another user, which the kernel gives to threads one by
/// one. False: only root can.
fn as_another_user(act: impl FnOnce() + Send) -> bool {
    const NOBODY: libc::c_long = 65534;
    std::thread::scope(|scope| {
        let done = scope.spawn(|| {
            // SAFETY: a call with three numbers; it concerns this thread alone.
            let failed = unsafe { libc::syscall(libc::SYS_setresuid, NOBODY, NOBODY, NOBODY) };
            if failed == 0 {
                act();
            }
            failed == 0
        });
        done.join().unwrap()
    })
}

#[test]
fn another_user_is_not_listened_to() {
    let broker = Broker::open(number(7)).unwrap();
    let asked = as_another_user(|| {
        let briefly = Deadline::after(Duration::from_millis(1));
        assert!(Broker::ask(number(7), b"?", briefly).unwrap().is_none());
    });
    if asked {
        poll(&[broker.as_fd()], Some(soon())).expect("to wait");
    }
    assert!(broker.question().unwrap().is_none());
}

#[test]
fn a_broker_of_another_user_is_not_believed() {
    let is_open = std::sync::Barrier::new(2);
    std::thread::scope(|scope| {
        let asked = scope.spawn(|| {
            is_open.wait();
            Broker::ask(number(8), b"?", soon())
        });
        let is_another = as_another_user(|| {
            let name = format!("manyhands-{:016x}", number(8));
            let name = SocketAddr::from_abstract_name(name).unwrap();
            let broker = UnixDatagram::bind_addr(&name).unwrap();
            is_open.wait();
            // Which a broker of ours would not have listened to.
            let (_, asker) = broker.recv_from(&mut [0]).unwrap();
            broker.send_to_addr(&[1], &asker).unwrap();
            let refused = asked.join().unwrap().map(drop).unwrap_err();
            assert_eq!(refused.kind(), std::io::ErrorKind::PermissionDenied);
        });
        if !is_another {
            is_open.wait();
        }
    });
}

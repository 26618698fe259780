//! A forked process is a party of its own: it gives nothing back of its parent's, and holds the
//! objects that its parent held.
//!
//! Alone in its program: the family is a fact about the whole process, and a fork copies only the
//! thread that calls it.

use std::mem::ManuallyDrop;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use manyhands_shm::object::Shape;
use manyhands_shm::{Carried, Heap, Kind, Object, OpenError, OutOfMemory, family, object};
use manyhands_sys::atomic::AtomicU32 as SharedU32;
use manyhands_testing::fork::{ForkedParty, fork_party};

// SAFETY: the one kind of this number, whose end looks at nothing.
static KIND: Kind = unsafe { Kind::new(object::ids::TEST, "test object", |_, _| true, count_end) };

static N_ENDED: AtomicU32 = AtomicU32::new(0);

/// A new object of `len` zeros.
fn create(heap: &Arc<Heap>, len: u64) -> Result<Object, OutOfMemory> {
    // SAFETY: zeros are an object of this kind.
    unsafe { Object::create(heap, &KIND, Shape::NONE, len) }
}

unsafe fn count_end(_: &Arc<Heap>, _: NonNull<u8>, _: u64) {
    N_ENDED.fetch_add(1, Ordering::SeqCst);
}

fn n_ended() -> u32 {
    N_ENDED.load(Ordering::SeqCst)
}

fn word(object: &Object) -> &SharedU32 {
    // SAFETY: the payload is aligned, large enough, and zeros are a word.
    unsafe { object.payload().cast().as_ref() }
}

/// Forks as Python does; in the child runs `child` and ends with its answer as the exit code.
fn forked(child: impl FnOnce() -> bool) -> ForkedParty {
    // SAFETY: the only test of this program, and it starts no thread.
    unsafe { fork_party(child) }
}

#[test]
fn a_forked_process_is_a_party_with_references_of_its_own() {
    object::register(&[&KIND]);
    let heap = family::heap().expect("a heap");
    let me = heap.me();

    // Blocks stay the parent's, objects are both's.
    // The parent drops its copy of the closure below, and must keep the block.
    let block = ManuallyDrop::new(heap.alloc(100).expect("room"));
    let at = block.at();
    let shared = create(&heap, 8).expect("room");
    let copy = shared.clone();
    let child_heap = Arc::clone(&heap);
    let child = forked(move || {
        drop(ManuallyDrop::into_inner(block));
        word(&copy).fetch_add(41, Ordering::SeqCst);
        let own = create(&child_heap, 8).expect("room in the child");
        drop(own);
        drop(copy);
        child_heap.me() != me && n_ended() == 1
    });
    // Another party, which can use the heap.
    let dead = child.ends_well();
    let child = dead.party();
    assert!(!heap.is_alive(child));
    dead.bury(&heap);
    assert!(!heap.is_listed(child));
    // SAFETY: left there by its holder, and not in use.
    let taken = unsafe { heap.take_over(at, me) }.expect("room");
    assert!(taken.is_some(), "the child has given its parent's block back");
    assert_eq!(word(&shared).load(Ordering::SeqCst), 41);
    assert_eq!(n_ended(), 0, "the parent still has the object");

    // A killed child's references last until it is buried.
    let child = forked(|| {
        // SAFETY: takes no pointers.
        unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
        false
    });
    let (code, dead) = child.wait();
    assert_eq!(code, -libc::SIGKILL);
    let handle = shared.handle();
    drop(shared);
    assert_eq!(n_ended(), 0, "the dead child holds the object");
    dead.bury(&heap);
    assert_eq!(n_ended(), 1, "nobody holds the object");
    assert_eq!(Object::open(handle, &KIND), Err(OpenError::Gone { what: KIND.name() }));

    // A message keeps what it names.
    let named = create(&heap, 8).expect("room");
    let (handle, carried) = Carried::collect(|| named.travel());
    let handles = carried.handles().to_vec();
    assert_eq!(handles, [handle]);
    carried.leave_to_message();
    drop(named);
    assert_eq!(n_ended(), 1, "the message has it");
    let reader = handles.clone();
    let reading = Arc::clone(&heap);
    let child = forked(move || {
        // SAFETY: left to this message, which is read once.
        let carried = unsafe { Carried::from_message(&reading, &reader) };
        let opened = Object::open(reader[0], &KIND);
        drop(carried);
        let is_open = opened.is_ok();
        // As if killed.
        std::mem::forget(opened);
        is_open && n_ended() == 1
    });
    let dead = child.ends_well();
    assert_eq!(Object::open(handle, &KIND).err(), None, "the child is dead and not buried yet");
    dead.bury(&heap);
    assert_eq!(n_ended(), 2, "the child had the last reference");

    // What a message has while it is written or read is its process's: not a child's that was
    // forked in the middle of it.
    let named = create(&heap, 8).expect("room");
    let (handle, carried) = Carried::collect(|| named.travel());
    drop(named);
    let carried = ManuallyDrop::new(carried);
    let child = forked(move || {
        drop(ManuallyDrop::into_inner(carried));
        n_ended() == 2
    });
    let (code, dead) = child.wait();
    assert_eq!(code, 0, "the child has released its parent's reference");
    dead.bury(&heap);
    let opened = Object::open(handle, &KIND).expect("the parent's message has it");
    // SAFETY: left to this message, which nobody reads any more.
    unsafe { object::release_message(&heap, &[handle]) };
    drop(opened);
    assert_eq!(n_ended(), 3);

    // A child that goes on with such a message has references of its own for it.
    let named = create(&heap, 8).expect("room");
    let mut dead = None;
    let (handle, carried) = Carried::collect(|| {
        let handle = named.travel();
        let child = forked(|| {
            let again = Carried::collect(|| named.travel()).1;
            drop(again);
            true
        });
        dead = Some(child.ends_well());
        handle
    });
    dead.expect("it has ended").bury(&heap);
    let writing = ManuallyDrop::new(carried);
    let child = forked(move || {
        // Puts the message, which is then released unread.
        ManuallyDrop::into_inner(writing).leave_to_message();
        true
    });
    let dead = child.ends_well();
    dead.bury(&heap);
    // SAFETY: left to this message, which nobody reads any more.
    unsafe { object::release_message(&heap, &[handle]) };
    drop(named);
    assert_eq!(n_ended(), 3, "the parent's message has it");
    // SAFETY: left to this message, which nobody reads any more.
    unsafe { object::release_message(&heap, &[handle]) };
    assert_eq!(n_ended(), 4);

    // What travels outside of a message stays with this process.
    let pinned = create(&heap, 8).expect("room");
    let handle = pinned.travel();
    drop(pinned);
    assert!(Object::open(handle, &KIND).is_ok());
    assert!(Object::open(manyhands_shm::Handle { family: 1, ..handle }, &KIND).is_err());
    let bytes = handle.to_bytes();
    assert_eq!(manyhands_shm::Handle::from_bytes(&bytes), Ok(handle));
    assert_eq!(n_ended(), 4);
}

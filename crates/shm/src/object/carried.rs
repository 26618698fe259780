//! References that a message holds while it is on its way.
//!
//! While a message is being written or read, its references are written down as this process's, so
//! that they are released if it is killed. In between they are the message's: whoever keeps the
//! message lists the handles with it, and releases them if it is destroyed unread. A kill in the
//! few instructions between the two keeps the objects until the family ends.
//!
//! A child that is forked in between (by a signal handler, while its parent waits to send) has
//! copies of the parent's: dropping them does nothing, going on with them counts anew.

use std::cell::RefCell;
use std::sync::Arc;

use super::registry::Slot;
use super::{CHANGING, Handle, Object, living, reference, unreference};
use crate::heap::Heap;
use crate::out_of_memory::OutOfMemory;
use crate::party::Party;

/// References of a message that this process is writing or reading; released when dropped.
#[derive(Debug, Default)]
pub struct Carried {
    /// Whose references they are; `None`: nobody's, as there are none.
    holder: Option<(Arc<Heap>, Party)>,
    handles: Vec<Handle>,
    /// Where each is written down; `None`: no memory was left for it.
    slots: Vec<Option<Slot>>,
}

thread_local! {
    /// One for each `collect` that this thread is in.
    static COLLECTING: RefCell<Vec<Carried>> = const { RefCell::new(Vec::new()) };
}

impl Carried {
    /// Runs `f` and collects every object that [travels](Object::travel) in this thread meanwhile.
    pub fn collect<R>(f: impl FnOnce() -> R) -> (R, Self) {
        COLLECTING.with_borrow_mut(|stack| stack.push(Self::default()));
        let end = End;
        let result = f();
        std::mem::forget(end);
        (result, End::pop())
    }

    /// Takes over the references of a message. A handle of nothing that lives is passed over: the
    /// message has no reference to it.
    ///
    /// # Safety
    /// - Each of the handles stands for one reference that was [left](Self::leave_to_message) to
    ///   the message.
    /// - Nobody else can reach the message any more, so that nobody else takes them over.
    pub unsafe fn from_message(heap: &Arc<Heap>, handles: &[Handle]) -> Self {
        let mut taken = Self::default();
        for handle in handles.iter().filter(|handle| living(heap, **handle).is_some()) {
            let slot = heap.registry.free.take(heap).ok();
            if let Some(slot) = slot {
                slot.set(heap, handle.offset);
            }
            taken.push(heap, *handle, slot);
        }
        taken
    }

    /// Counts one more reference to each object that a message names. The message stays where it
    /// is, and keeps the objects alive meanwhile.
    ///
    /// # Errors
    /// [`OutOfMemory`] if this process may map no more: then nothing is counted.
    pub fn copied(heap: &Arc<Heap>, handles: &[Handle]) -> Result<Self, OutOfMemory> {
        super::reach_all(heap, handles)?;
        let mut copy = Self::default();
        for handle in handles {
            copy.count(heap, *handle);
        }
        Ok(copy)
    }

    /// One more reference to an object that somebody holds; false: it cannot be had.
    fn count(&mut self, heap: &Arc<Heap>, handle: Handle) -> bool {
        if !self.is_in(heap) {
            // A message goes to one family.
            return false;
        }
        self.make_own();
        let slot = heap.registry.free.take(heap).ok();
        if let Some(slot) = slot {
            slot.set(heap, handle.offset | CHANGING);
        }
        let is_counted = reference(heap, handle);
        match slot {
            Some(slot) if !is_counted => {
                slot.set(heap, 0);
                heap.registry.free.put(slot);
            }
            Some(slot) => slot.set(heap, handle.offset),
            None => {}
        }
        if is_counted {
            self.push(heap, handle, slot);
        }
        is_counted
    }

    fn push(&mut self, heap: &Arc<Heap>, handle: Handle, slot: Option<Slot>) {
        self.holder.get_or_insert_with(|| (Arc::clone(heap), heap.me()));
        self.handles.push(handle);
        self.slots.push(slot);
    }

    /// Whether it holds nothing, as nearly always.
    pub fn is_empty(&self) -> bool {
        self.handles.is_empty()
    }

    /// Whether all it holds are objects of this heap, so that their handles mean something there.
    pub fn is_in(&self, heap: &Heap) -> bool {
        self.holder.as_ref().is_none_or(|(mine, _)| std::ptr::eq(&raw const **mine, heap))
    }

    /// What the message has to list.
    pub fn handles(&self) -> &[Handle] {
        &self.handles
    }

    /// From now on the references are the message's, which is about to be published.
    pub fn leave_to_message(mut self) {
        self.make_own();
        if let Some((heap, _)) = self.holder.take() {
            for slot in self.slots.drain(..).flatten() {
                slot.set(&heap, 0);
                heap.registry.free.put(slot);
            }
        }
    }

    /// In a forked child: counts references of its own instead of its parent's. The child has
    /// inherited the objects that its parent had when it wrote the message.
    fn make_own(&mut self) {
        let Some((heap, party)) = &mut self.holder else { return };
        if *party == heap.me() {
            return;
        }
        *party = heap.me();
        self.slots.fill(None);
        for handle in &self.handles {
            let is_counted = reference(heap, *handle);
            debug_assert!(
                is_counted,
                "a forked child goes on with a message whose objects are gone"
            );
        }
    }
}

impl Drop for Carried {
    fn drop(&mut self) {
        let Some((heap, party)) = self.holder.take() else { return };
        if party != heap.me() {
            // In a forked child they are the parent's.
            return;
        }
        for (handle, slot) in self.handles.iter().zip(self.slots.drain(..)) {
            let Some(slot) = slot else {
                unreference(&heap, handle.offset);
                continue;
            };
            slot.set(&heap, handle.offset | CHANGING);
            unreference(&heap, handle.offset);
            slot.set(&heap, 0);
            heap.registry.free.put(slot);
        }
    }
}

/// A message was destroyed unread: its references with it.
///
/// # Safety
/// As for [`Carried::from_message`].
pub unsafe fn release_message(heap: &Arc<Heap>, handles: &[Handle]) {
    for handle in handles.iter().filter(|handle| living(heap, **handle).is_some()) {
        unreference(heap, handle.offset);
    }
}

/// Counts a reference for the message being written in this thread; false: there is no message, or
/// the object has as many references as can be counted.
pub(super) fn note(object: &Object) -> bool {
    COLLECTING.with_borrow_mut(|stack| {
        let Some(carried) = stack.last_mut() else { return false };
        carried.count(object.heap(), object.handle())
    })
}

/// Ends a `collect` whose function panicked.
struct End;

impl End {
    fn pop() -> Carried {
        COLLECTING.with_borrow_mut(|stack| stack.pop().unwrap_or_default())
    }
}

impl Drop for End {
    fn drop(&mut self) {
        drop(Self::pop());
    }
}

"""`__enter__` and `__exit__` of shared locks, which are bound once, behave as any methods do."""

import contextlib
import weakref

import pytest
from manyhands.multiprocessing import synchronize

CLASSES = (synchronize.Lock, synchronize.RLock)

pytestmark = pytest.mark.parametrize("cls", CLASSES)


def test_an_exit_stack_enters_a_lock_through_its_class(cls):
    lock = cls()
    with contextlib.ExitStack() as stack:
        assert stack.enter_context(lock) is True
        assert lock.locked()
    assert not lock.locked()


def test_the_methods_of_the_class_take_any_lock(cls):
    lock = cls()
    assert cls.__enter__(lock) is True
    assert lock.locked()
    assert cls.__exit__(lock, None, None, None) is None
    assert not lock.locked()


def test_a_subclass_may_override_them_and_call_its_base(cls):
    class Counting(cls):
        n_entered = 0

        def __enter__(self):
            self.n_entered += 1
            return super().__enter__()

    lock = Counting()
    with lock:
        assert lock.locked()
    assert (lock.n_entered, lock.locked()) == (1, False)


def test_an_exception_in_the_block_releases_the_lock_and_goes_on(cls):
    lock = cls()
    with pytest.raises(KeyError), lock:
        raise KeyError
    assert not lock.locked()


def test_a_lock_goes_with_its_last_name_and_bound_methods_keep_its_state(cls):
    lock = cls()
    reference, leave = weakref.ref(lock), lock.__exit__
    lock.acquire()
    del lock
    assert reference() is None
    leave(None, None, None)

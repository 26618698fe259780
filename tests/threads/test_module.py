"""`manyhands.threading` has every name of the standard module."""

import threading

import manyhands.threading as ours
import pytest


def test_every_public_name_of_the_standard_module_is_there():
    for name in threading.__all__:
        assert name in ours.__all__
        assert getattr(ours, name) is not None


def test_names_that_are_not_ours_are_the_standard_ones():
    replaced = {
        "Barrier",
        "BoundedSemaphore",
        "Condition",
        "Event",
        "Lock",
        "RLock",
        "Semaphore",
        "Thread",
        "Timer",
    }
    for name in set(threading.__all__) - replaced:
        assert getattr(ours, name) is getattr(threading, name), name
    for name in replaced:
        assert getattr(ours, name).__module__ in ("manyhands.threading", "threading")
        assert getattr(ours, name) is not getattr(threading, name), name


def test_private_and_deprecated_names_are_found():
    assert ours._active is threading._active
    assert ours.currentThread is threading.currentThread
    with pytest.raises(AttributeError):
        ours.no_such_name  # noqa: B018


def test_a_star_import_takes_ours():
    namespace = {}
    exec("from manyhands.threading import *", namespace)
    assert namespace["Thread"] is ours.Thread
    assert namespace["Lock"] is ours.Lock
    assert namespace["ThreadGroup"] is ours.ThreadGroup
    assert namespace["get_ident"] is threading.get_ident
    assert namespace["excepthook"] is threading.excepthook


def test_a_hook_assigned_to_the_module_is_the_hook(monkeypatch):
    calls = []
    monkeypatch.setattr(ours, "excepthook", calls.append)
    assert threading.excepthook == calls.append
    thread = ours.Thread(target=lambda: 1 / 0, propagate=False)
    thread.start()
    thread.join()
    assert [call.exc_type for call in calls] == [ZeroDivisionError]

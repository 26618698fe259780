"""What a manager makes, how it begins and ends, and when it needs a server after all."""

import pickle
import subprocess
import sys
import textwrap

import pytest
from manyhands import multiprocessing
from manyhands.multiprocessing import Manager, managers
from manyhands.multiprocessing.managers import SyncManager


class Greeter:
    def greet(self, name):
        return f"hello {name}"


class OwnManager(SyncManager):
    pass


OwnManager.register("Greeter", Greeter)


def test_no_process_is_started_for_what_lies_in_the_heap():
    manager = Manager()
    d = manager.dict(a=manager.list([1]), n=manager.Namespace(x=1))
    assert d["a"][:] == [1]
    assert multiprocessing.active_children() == []
    assert manager._number_of_objects() == 1
    assert "DictProxy" in manager._debug_info()
    del d
    assert manager._number_of_objects() == 0
    manager.shutdown()
    manager.join()


def test_objects_outlive_their_manager():
    with Manager() as manager:
        d = manager.dict(a=1)
    d["b"] = 2
    assert d.copy() == {"a": 1, "b": 2}
    with pytest.raises(multiprocessing.ProcessError, match="shut down"):
        manager.list()


def test_a_manager_is_started_once():
    manager = SyncManager()
    with pytest.raises(multiprocessing.ProcessError, match="not started"):
        manager.dict()
    with pytest.raises(TypeError):
        manager.start(1)
    manager.start()
    with pytest.raises(multiprocessing.ProcessError):
        manager.start()
    manager.shutdown()
    with pytest.raises(multiprocessing.ProcessError):
        manager.__enter__()


def test_a_namespace_has_attributes():
    with Manager() as manager:
        n = manager.Namespace(colour="red", _hidden=1)
        n.name = "Bob"
        n._own = 5
        assert str(n) == "Namespace(colour='red', name='Bob')"
        assert repr(n).startswith("<NamespaceProxy object, typeid 'Namespace' at")
        del n.colour
        assert not hasattr(n, "colour")
        with pytest.raises(AttributeError, match="no attribute 'keys'"):
            _ = n.keys
        with pytest.raises(AttributeError):
            del n.colour
        same = pickle.loads(pickle.dumps(n))
        same.name = "Eve"
        assert n.name == "Eve" and not hasattr(same, "_own")


def test_a_value_and_an_array():
    with Manager() as manager:
        value = manager.Value("i", 1)
        value.value += 1
        assert (value.get(), str(value)) == (2, "Value('i', 2)")
        pickle.loads(pickle.dumps(value)).set("anything")
        assert value.value == "anything"
        numbers = manager.Array("i", [1, 2, 3])
        numbers[0] = 10
        assert list(numbers) == [10, 2, 3]
        assert str(numbers[1:]) == "array('i', [2, 3])"
        numbers[1:] = [7, 8]
        assert str(pickle.loads(pickle.dumps(numbers))) == "array('i', [10, 7, 8])"
        with pytest.raises(IndexError):
            numbers[3]
        for change in ((0, 2**40), (slice(1, 2), [2**40])):
            with pytest.raises(OverflowError):
                numbers.__setitem__(*change)
        assert list(numbers) == [10, 7, 8]
        with pytest.raises(TypeError):
            manager.Array("i", ["a"])


@pytest.mark.leaves
def test_own_types_get_a_server_and_the_rest_does_not():
    with OwnManager() as manager:
        d = manager.dict()
        assert multiprocessing.active_children() == []
        greeter = manager.Greeter()
        assert len(multiprocessing.active_children()) == 1
        assert greeter.greet("you") == "hello you"
        d["a"] = 1
    assert d.copy() == {"a": 1}
    manager.join()


@pytest.mark.leaves
def test_an_address_makes_it_the_standard_manager():
    manager = SyncManager(address=("localhost", 0), authkey=b"secret")
    manager.start()
    try:
        client = SyncManager(address=manager.address, authkey=b"secret")
        client.connect()
        d = client.dict(a=1)
        d["b"] = 2
        assert d.copy() == {"a": 1, "b": 2}
        assert type(d) is not managers.DictProxy
        del d
    finally:
        manager.shutdown()


def test_the_rest_of_the_module_is_the_standard_one():
    import multiprocessing.managers as standard

    assert managers.BaseManager is standard.BaseManager
    assert managers.SharedMemoryManager is standard.SharedMemoryManager
    assert managers.MakeProxyType is standard.MakeProxyType
    assert issubclass(SyncManager, standard.BaseManager)
    assert managers.DictProxy.__module__ == "manyhands.multiprocessing.managers"


def test_a_pickle_opened_outside_of_the_family_says_so():
    with Manager() as manager:
        for made in (manager.dict(), manager.list(), manager.Namespace()):
            name = pickle.dumps(made)
            program = textwrap.dedent(
                f"""
                import pickle
                try:
                    pickle.loads({name!r})
                except RuntimeError as error:
                    print(type(error).__name__, error)
                """
            )
            run = subprocess.run(
                [sys.executable, "-c", program], capture_output=True, text=True, timeout=60
            )
            assert "HandleError" in run.stdout and "family" in run.stdout, run.stderr

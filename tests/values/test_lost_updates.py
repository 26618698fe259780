"""The lost-update detector: it says what happened, where, and never what did not happen."""

import os
import subprocess
import sys
import threading

import manyhands
import pytest
from manyhands import multiprocessing
from manyhands.multiprocessing import Array, LostUpdateError, Value
from manyhands.multiprocessing import sharedctypes as shared

HERE = os.path.basename(__file__)


@pytest.fixture
def mode():
    """Sets the mode; puts back what was."""
    before = os.environ.get("MANYHANDS_LOST_UPDATES")
    yield multiprocessing.set_lost_update_mode
    multiprocessing.set_lost_update_mode("off")
    if before is None:
        del os.environ["MANYHANDS_LOST_UPDATES"]
    else:
        os.environ["MANYHANDS_LOST_UPDATES"] = before


def elsewhere(work):
    """Runs `work` in another thread, to its end."""
    failures = []

    def run():
        try:
            work()
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert not failures


def put(value, number):
    value.value = number


def n_lost(shared_object):
    return shared_object.statistics()["lost_updates"]


def test_an_update_that_is_overwritten_is_reported_with_all_three_lines(mode, capfd):
    mode("report")
    value = Value("i", 0)
    now = value.value
    elsewhere(lambda: put(value, 5))
    value.value = now + 1
    error = capfd.readouterr().err
    assert error.count(HERE) == 3, error
    assert "an update of a shared value was lost" in error
    assert "Hold get_lock()" in error
    assert n_lost(value) == 1
    assert value.value == 1, "reporting does not change what is written"


def test_the_same_lines_are_reported_once_and_counted_always(mode, capfd):
    mode("report")
    value = Value("i", 0)
    for _ in range(3):
        now = value.value
        elsewhere(lambda: put(value, 7))
        value.value = now + 1
    assert capfd.readouterr().err.count("was lost") == 1
    assert n_lost(value) == 3


def test_in_raise_mode_nothing_is_written_and_trying_again_works(mode):
    mode("raise")
    value = Value("i", 0)
    now = value.value
    elsewhere(lambda: put(value, 5))
    with pytest.raises(LostUpdateError, match="Nothing was written"):
        value.value = now + 1
    assert value.value == 5
    value.value += 1
    assert value.value == 6
    assert n_lost(value) == 1


def test_another_process_is_seen_too(mode):
    mode("raise")
    value = Value("i", 0)
    for method in ("template", "spawn", "fork"):
        now = value.value
        process = multiprocessing.get_context(method).Process(target=put, args=(value, 5))
        process.start()
        process.join()
        assert process.exitcode == 0
        with pytest.raises(LostUpdateError, match=HERE):
            value.value = now + 1


def lose(value, read, may_write):
    now = value.value
    read.set()
    may_write.wait()
    try:
        value.value = now + 1
    except LostUpdateError:
        sys.exit(42)


def test_a_child_that_was_told_nothing_watches_what_its_parent_made(mode):
    mode("raise")
    value, read, may_write = Value("i", 0), multiprocessing.Event(), multiprocessing.Event()
    process = multiprocessing.Process(target=lose, args=(value, read, may_write))
    process.start()
    read.wait()
    value.value = 10
    may_write.set()
    process.join()
    assert process.exitcode == 42


def test_elements_of_an_array_are_watched_one_by_one(mode):
    mode("raise")
    numbers = Array("i", 20)
    now = numbers[3]
    elsewhere(lambda: numbers.__setitem__(4, 9))
    numbers[3] = now + 1
    now = numbers[3]
    elsewhere(lambda: numbers.__setitem__(slice(2, 5), [1, 1, 1]))
    with pytest.raises(LostUpdateError):
        numbers[3] = now + 1
    everything = numbers[:]
    elsewhere(lambda: numbers.add(19, 1))
    with pytest.raises(LostUpdateError):
        numbers[:] = everything


def test_values_made_of_raw_ones_are_watched(mode):
    mode("raise")
    value = shared.synchronized(shared.RawValue("d", 0))
    now = value.value
    elsewhere(lambda: value.add(1))
    with pytest.raises(LostUpdateError):
        value.value = now + 1


def silent_updates():
    def alone(value):
        now = value.value
        value.value = now + 1

    def own_write_in_between(value):
        now = value.value
        value.value = 3
        value.add(1)
        value.value = now

    def blind(value):
        elsewhere(lambda: put(value, 5))
        value.value = 1

    def blind_after_a_pair(value):
        value.value += 1
        elsewhere(lambda: put(value, 5))
        value.value = 1

    def locked(value):
        with value.get_lock():
            value.value += 1

    def written_with_the_lock(value):
        _ = value.value
        elsewhere(lambda: put(value, 5))
        with value.get_lock():
            value.value = 1

    def atomics(value):
        for operation in (value.add, value.sub, value.max, value.min, value.exchange, value.xor):
            _ = value.value
            elsewhere(lambda: put(value, 5))
            operation(1)
        _ = value.value
        elsewhere(lambda: put(value, 5))
        value.compare_exchange(5, 6)
        value.update(lambda now: now + 1)

    def read_again(value):
        _ = value.value
        elsewhere(lambda: put(value, 5))
        value.value += 1

    def other_only_reads(value):
        now = value.value
        elsewhere(lambda: value.value)
        value.value = now + 1

    def another_value(value):
        other = Value("i")
        now = value.value
        elsewhere(lambda: put(other, 5))
        value.value = now + 1

    return [case for case in locals().values() if callable(case)]


@pytest.mark.parametrize("update", silent_updates(), ids=lambda case: case.__name__)
def test_what_loses_nothing_is_never_reported(mode, update, capfd):
    mode("raise")
    value = Value("i", 0)
    elsewhere(lambda: put(value, 2))
    update(value)
    assert n_lost(value) == 0
    assert not capfd.readouterr().err


def test_threads_that_hammer_with_lock_or_atomics_are_never_reported(mode):
    mode("raise")
    value, n_threads, n_each, errors = Value("i"), 4, 500, []

    def work(idx):
        try:
            for _ in range(n_each):
                if idx % 2:
                    value.add(1)
                else:
                    with value.get_lock():
                        value.value += 1
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(idx,)) for idx in range(n_threads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert value.value == n_threads * n_each
    assert n_lost(value) == 0


def test_threads_that_repeat_after_every_error_lose_nothing(mode):
    mode("raise")
    value, n_threads, n_each = Value("i"), 4, 300

    def work():
        for _ in range(n_each):
            while True:
                try:
                    value.value += 1
                    break
                except LostUpdateError:
                    pass

    threads = [threading.Thread(target=work) for _ in range(n_threads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # What raised was not written, what was written was not overwritten: the detector misses none.
    assert value.value == n_threads * n_each


def test_what_was_made_while_it_was_off_is_watched_once_it_is_on(mode):
    value = Value("i", 0)
    mode("raise")
    now = value.value
    elsewhere(lambda: put(value, 5))
    with pytest.raises(LostUpdateError):
        value.value = now + 1


def test_it_is_off_by_default(capfd):
    assert multiprocessing.lost_update_mode() == "off"
    value = Value("i", 0)
    now = value.value
    elsewhere(lambda: put(value, 5))
    value.value = now + 1
    assert n_lost(value) == 0
    assert not capfd.readouterr().err


def test_a_mode_that_is_none_is_refused(mode):
    with pytest.raises(ValueError, match="must be 'off', 'report' or 'raise'"):
        mode("loud")


def test_the_environment_sets_the_mode():
    root = os.path.dirname(os.path.dirname(manyhands.__file__))
    program = "from manyhands import multiprocessing as m; print(m.lost_update_mode())"
    for word, said in (("report", ""), ("loud", "must be 'off', 'report' or 'raise'")):
        finished = subprocess.run(
            [sys.executable, "-c", program],
            env={
                **os.environ,
                "MANYHANDS_LOST_UPDATES": word,
                "PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")])),
            },
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert finished.stdout.strip() == ("report" if word == "report" else "off")
        assert said in finished.stderr


def test_a_long_path_keeps_its_end(mode, capfd):
    mode("report")
    value = Value("i", 0)
    now = value.value
    code = compile("value.value = 5", "/" + "folder/" * 30 + "program.py", "exec")
    elsewhere(lambda: exec(code, {"value": value}))
    value.value = now + 1
    error = capfd.readouterr().err
    assert "…" in error
    assert "program.py:1" in error


def test_the_command_sets_the_mode_for_a_program():
    root = os.path.dirname(os.path.dirname(manyhands.__file__))
    program = "from manyhands import multiprocessing as m; print(m.lost_update_mode())"
    for option, status, said in (
        ("--lost-updates=raise", 0, "raise"),
        ("--lost-updates", 2, "write --lost-updates=raise, =report or =off"),
    ):
        finished = subprocess.run(
            [sys.executable, "-m", "manyhands", "run", option, "-c", program],
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")])),
            },
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert finished.returncode == status
        assert said in finished.stdout + finished.stderr

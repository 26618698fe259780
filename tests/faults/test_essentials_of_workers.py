"""What a task takes from its worker is back for the next one: builtins, and how it is stopped.

One worker each, which must not have to be replaced for it.
"""

import multiprocessing
import os

import essential_tasks as tasks
import family_watch
import pytest
from manyhands.futures import ProcessPoolExecutor

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(params=["template", "fork"])
def pool(request):
    fork = request.param == "fork"
    context = {"mp_context": multiprocessing.get_context("fork")} if fork else {}
    with ProcessPoolExecutor(max_workers=1, **context) as executor:
        pid = executor.submit(os.getpid).result(60)
        yield executor
        assert executor.submit(os.getpid).result(60) == pid


@pytest.mark.parametrize("name", ["len", "isinstance", "__import__", "__build_class__", "list"])
def test_a_builtin_that_a_task_deletes_is_there_for_the_next_task(pool, name):
    for _ in range(2):
        pool.submit(tasks.delete_a_builtin, name).result(60)
        assert pool.submit(tasks.builtins_as_ever).result(60)


@pytest.mark.parametrize(
    ("name", "value"), [("len", 5), ("isinstance", os.path.join), ("Exception", int)]
)
def test_a_builtin_that_a_task_replaces_is_itself_for_the_next_task(pool, name, value):
    pool.submit(tasks.replace_a_builtin, name, value).result(60)
    assert pool.submit(tasks.builtins_as_ever).result(60)


def test_a_task_that_empties_the_builtins_ends_and_the_next_one_has_them(pool):
    assert pool.submit(tasks.empty_the_builtins).result(60) is None
    assert pool.submit(tasks.builtins_as_ever).result(60)


@pytest.mark.parametrize("name", ["isinstance", "len", "str", "getattr"])
def test_the_exception_of_a_task_that_deleted_a_builtin_arrives(pool, name):
    error = pool.submit(tasks.delete_and_fail, name).exception(60)
    assert type(error) is ValueError and error.args == (name,)
    assert pool.submit(tasks.builtins_as_ever).result(60)


def test_a_builtin_that_went_while_the_result_was_pickled_is_back(pool):
    assert pool.submit(tasks.give_what_deletes).result(60) == "sent"
    assert pool.submit(tasks.builtins_as_ever).result(60)


def test_what_a_task_adds_to_the_builtins_stays(pool):
    before = pool.submit(tasks.added_builtins).result(60)
    assert before == []
    assert pool.submit(tasks.install_translations).result(60) == ["_", "ngettext"]
    assert pool.submit(tasks.added_builtins).result(60) == ["_", "ngettext"]


def test_what_the_initializer_replaces_in_the_builtins_stays():
    with ProcessPoolExecutor(
        1, initializer=tasks.replace_a_builtin, initargs=("copyright", 5)
    ) as pool:
        assert pool.submit(eval, "copyright").result(60) == 5
        pool.submit(tasks.delete_a_builtin, "copyright").result(60)
        assert pool.submit(eval, "copyright").result(60) == 5


@pytest.mark.parametrize("kind", ["python", "ignored", "default", "blocked", "by C code"])
def test_a_task_is_stopped_after_one_that_replaced_the_handler_of_sigint(pool, tmp_path, kind):
    pid = pool.submit(tasks.replace_interrupt_handler, kind).result(60)
    started, stopped = tmp_path / "started", tmp_path / "stopped"
    task = pool.submit(tasks.wait_to_be_stopped, str(started), str(stopped))
    family_watch.wait_until(started.exists, "the task runs")
    # A grace that the watchdog would end before it is over.
    assert task.cancel(running=True, grace=1000)
    assert pool.submit(os.getpid).result(60) == pid
    assert stopped.read_text() == str(pid)


def test_a_handler_of_another_signal_stays(pool):
    pool.submit(tasks.replace_other_handler).result(60)
    assert pool.submit(tasks.other_handler).result(60)

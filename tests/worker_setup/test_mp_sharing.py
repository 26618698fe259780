"""multiprocessing's locks, queues and values reach workers through initargs."""

import contextlib
import multiprocessing
from multiprocessing import resource_sharer

import pytest
import worker_functions
from bare_worker import BareWorker
from manyhands._pickling import codec, standard_sharing

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def context():
    yield multiprocessing.get_context("forkserver")
    # multiprocessing's thread that hands out descriptors would serve until the program ends.
    resource_sharer.stop(timeout=60)


def test_one_pickle_of_locks_queues_values_and_pipes_serves_many_workers(context):
    queue, lock, value = context.Queue(), context.Lock(), context.Value("i", 0)
    ours, theirs = context.Pipe()
    data, shares = standard_sharing.dumps_initializer(
        worker_functions.install, (queue, lock, value, theirs)
    )
    try:
        with contextlib.ExitStack() as stack:
            workers = [stack.enter_context(BareWorker()) for _ in range(3)]
            for worker in workers:
                worker.run(worker_functions.run_initializer, data)
            for worker in workers:
                worker.run(worker_functions.use)
            assert [queue.get(timeout=60) for _ in workers] == ["from worker"] * 3
            assert [ours.recv() for _ in workers] == ["through the pipe"] * 3
            assert value.value == 3
            for worker in workers:
                assert worker.end() == 0
    finally:
        shares.close()
    queue.close()


def test_a_lock_of_the_fork_context_is_refused_with_words():
    lock = multiprocessing.get_context("fork").Lock()
    with pytest.raises(standard_sharing.ForkOnlyObject, match="Lock of the 'fork' context"):
        standard_sharing.dumps_initializer(worker_functions.install, (lock,))
    assert multiprocessing.context.get_spawning_popen() is None


def test_initializers_without_such_objects_need_no_shares():
    data, shares = standard_sharing.dumps_initializer(print, (1, 2))
    assert shares is None and codec.loads(data) == (print, (1, 2))


def test_what_cannot_be_pickled_is_named():
    with pytest.raises(TypeError, match=r"initializer's call, item \[1\], item \[0\]"):
        standard_sharing.dumps_initializer(print, ((n for n in ()),))


def test_connections_are_not_copied_as_bare_descriptor_numbers(context):
    ours, theirs = context.Pipe()
    with BareWorker() as worker:
        worker.run(lambda conn: conn.send("hello"), theirs)
        assert ours.recv() == "hello"

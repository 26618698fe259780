"""What workers print and log arrives in the parent's own streams and loggers."""

import contextlib
import io
import logging
import os
import signal
import socket
import sys
import threading

import pytest
import worker_functions
from bare_worker import BareWorker, run_script
from manyhands._worker import forwarding, parent_state

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def receiver():
    made = forwarding.Receiver()
    yield made
    made.close()


@pytest.fixture
def worker(receiver):
    with BareWorker(output_fd=receiver.worker_fd) as made:
        yield made


def test_prints_arrive_in_the_stream_that_the_parent_has_now(worker, receiver, capsys):
    worker.run(print, "to", "capsys")
    assert receiver.flush(60)
    assert capsys.readouterr().out == "to capsys\n"
    with contextlib.redirect_stdout(io.StringIO()) as other:
        worker.run(print, "redirected")
        assert receiver.flush(60)
    assert other.getvalue() == "redirected\n"


def test_standard_error_is_kept_apart(worker, receiver, capsys):
    def both():
        print("out")
        print("err", file=sys.stderr)

    worker.run(both)
    receiver.flush(60)
    assert tuple(capsys.readouterr()) == ("out\n", "err\n")


def test_a_line_without_end_arrives_when_flushed(worker, receiver, capsys):
    worker.run(lambda: print("no end", end="", flush=True))
    receiver.flush(60)
    assert capsys.readouterr().out == "no end"


def test_long_text_and_any_characters_arrive_whole_and_in_order(worker, receiver, capsys):
    def long():
        print("".join(f"{n}ü😀\n" for n in range(50_000)), end="")
        sys.stdout.buffer.write(b"bytes\n")

    worker.run(long)
    receiver.flush(60)
    expected = "".join(f"{n}ü😀\n" for n in range(50_000)) + "bytes\n"
    assert capsys.readouterr().out == expected


def test_lines_of_many_workers_are_never_mixed(receiver, capsys):
    def chatter(letter):
        for _ in range(500):
            print(letter * 50, letter * 50)

    with contextlib.ExitStack() as stack:
        workers = [stack.enter_context(BareWorker(output_fd=receiver.worker_fd)) for _ in range(3)]
        threads = [
            threading.Thread(target=worker.run, args=(chatter, letter))
            for worker, letter in zip(workers, "abc", strict=True)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        receiver.flush(60)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1500 and {len(set(line)) for line in lines} == {2}


def test_a_line_printed_right_before_a_kill_arrives(worker, receiver, capsys):
    def last_words():
        print("last words")
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises((EOFError, OSError)):
        worker.run(last_words)
    receiver.flush(60)
    assert capsys.readouterr().out == "last words\n"


def test_records_are_handled_by_the_parents_loggers(worker, receiver, caplog):
    def log():
        import logging

        logger = logging.getLogger("app.part")
        logger.warning(
            "number %d", 5, extra={"order": 7, "lock": __import__("_thread").allocate_lock()}
        )
        try:
            raise KeyError("inside")
        except KeyError:
            logger.exception("failed")

    worker.run(log)
    receiver.flush(60)
    first, second = caplog.records
    assert (first.name, first.getMessage(), first.levelname) == ("app.part", "number 5", "WARNING")
    assert "lock" in first.lock and first.process == worker.process.pid
    assert first.processName == "ProcessPoolWorker-1"
    assert "KeyError: 'inside'" in second.exc_text and "KeyError: 'inside'" in caplog.text


def test_a_record_of_a_megabyte_arrives(worker, receiver, caplog):
    def log():
        import logging

        logging.getLogger("big").error("%s", "x" * 1_000_000)

    worker.run(log)
    receiver.flush(60)
    assert [len(record.getMessage()) for record in caplog.records] == [1_000_000]


def test_levels_of_the_parent_hold_in_the_worker(receiver, caplog):
    def log():
        import logging

        for name in ("chatty", "chatty.sub", "other"):
            logging.getLogger(name).debug("debug")
            logging.getLogger(name).info("info")

    with caplog.at_level(logging.INFO), caplog.at_level(logging.DEBUG, "chatty"):
        with BareWorker(output_fd=receiver.worker_fd) as worker:
            worker.run(log)
            receiver.flush(60)
        seen = [(record.name, record.msg) for record in caplog.records]
    assert seen == [
        ("chatty", "debug"),
        ("chatty", "info"),
        ("chatty.sub", "debug"),
        ("chatty.sub", "info"),
        ("other", "info"),
    ]


def test_handlers_of_loggers_that_do_not_propagate_get_their_records(receiver):
    logger = logging.getLogger("apart")
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    logger.addHandler(handler)
    logger.propagate = False
    try:
        with BareWorker(output_fd=receiver.worker_fd) as worker:
            worker.run(lambda: __import__("logging").getLogger("apart.sub").error("seen"))
            receiver.flush(60)
    finally:
        logger.removeHandler(handler)
        logger.propagate = True
    assert stream.getvalue() == "seen\n"


def test_null_handlers_of_libraries_do_not_swallow_records(worker, receiver, caplog):
    def log():
        import logging

        logging.getLogger("library").addHandler(logging.NullHandler())
        logging.getLogger("library").error("seen")

    worker.run(log)
    receiver.flush(60)
    assert [record.msg for record in caplog.records] == ["seen"]


def test_a_worker_that_configures_logging_itself_is_obeyed(worker, receiver, caplog, capsys):
    def log():
        import logging

        logging.basicConfig(level=logging.DEBUG, format="own %(message)s")
        logging.getLogger("x").debug("config")

    worker.run(log)
    receiver.flush(60)
    assert caplog.records == [] and capsys.readouterr().err == "own config\n"


def test_a_failing_stream_of_the_parent_does_not_stop_the_next_message(worker, receiver, capsys):
    class Failing(io.StringIO):
        def write(self, text):
            raise ZeroDivisionError

    with contextlib.redirect_stdout(Failing()):
        worker.run(print, "lost")
        receiver.flush(60)
    worker.run(print, "seen")
    receiver.flush(60)
    captured = capsys.readouterr()
    assert captured.out == "seen\n" and "ZeroDivisionError" in captured.err


def test_a_parent_that_does_not_read_does_not_hold_a_worker_for_ever(monkeypatch, capsys):
    monkeypatch.setattr(forwarding, "SEND_TIMEOUT_SECONDS", 1)
    reading = threading.Event()
    original = forwarding.Receiver._receive

    def blocked(self, packet, ancillary):
        reading.wait()
        original(self, packet, ancillary)

    monkeypatch.setattr(forwarding.Receiver, "_receive", blocked)
    receiver = forwarding.Receiver()
    try:
        with BareWorker(output_fd=receiver.worker_fd) as worker:
            worker.run(worker_functions.flood)
            assert not receiver.flush(0)
            reading.set()
            receiver.flush(60)
            worker.run(print, "after")
            worker.run(print, "again")
            receiver.flush(60)
    finally:
        receiver.close()
    captured = capsys.readouterr()
    assert captured.out.endswith("after\nagain\n")
    assert "messages of worker" in captured.err and "were dropped" in captured.err


def test_threads_of_a_worker_lose_no_text(worker, receiver, capsys):
    def chatter():
        import sys
        import threading

        sys.setswitchinterval(1e-6)

        def say(letter):
            for _ in range(300):
                print(letter, end="")

        threads = [threading.Thread(target=say, args=(letter,)) for letter in "abcd"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        print()

    worker.run(chatter)
    receiver.flush(60)
    out = capsys.readouterr().out
    assert sorted(out) == sorted("abcd" * 300 + "\n")


def test_a_dead_parent_is_no_error_for_a_worker():
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs, BareWorker(output_fd=theirs.fileno()) as worker:
        ours.close()
        worker.run(worker_functions.flood)
        worker.run(lambda: __import__("logging").error("nobody hears"))
        assert worker.run(len, "ab") == 2


def test_a_message_cut_by_a_kill_harms_nothing(receiver, worker, capsys, caplog):
    packet = forwarding._packet(3, False, 99, b"half a record")
    receiver._theirs.send(packet)
    worker.run(print, "after")
    receiver.flush(60)
    assert capsys.readouterr().out == "after\n" and caplog.records == []


def test_streams_can_be_switched_while_the_worker_lives(capfd, receiver):
    # Made here, not by the fixture: descriptor 1 must be the one that capfd reads.
    with BareWorker(output_fd=receiver.worker_fd) as worker:
        worker.run(forwarding.redirect, stdout=False, stderr=False)
        worker.run(print, "direct")
        assert capfd.readouterr().out == "direct\n"
        worker.run(forwarding.redirect, stdout=True, stderr=False)
        worker.run(print, "forwarded")
        receiver.flush(60)
        assert capfd.readouterr().out == "forwarded\n"


def test_a_forked_child_does_not_hold_the_parents_end(receiver, monkeypatch):
    monkeypatch.setattr(forwarding, "_receiver", receiver)
    pid = os.fork()
    if pid == 0:
        os._exit(forwarding._receiver is not None)
    assert os.waitpid(pid, 0)[1] == 0
    assert receiver.flush(60)


def test_both_ends_are_closed_on_exec(receiver):
    assert not os.get_inheritable(receiver.worker_fd)
    assert not receiver._ours.get_inheritable()


def test_a_flush_from_the_output_thread_does_not_wait_for_itself(worker, receiver):
    answers = []

    class Flushing(io.StringIO):
        def write(self, text):
            answers.append(receiver.flush())
            return len(text)

    with contextlib.redirect_stdout(Flushing()):
        worker.run(print, "x")
        assert receiver.flush(60)
    assert answers == [False]


def test_a_plain_script_gets_its_workers_output_on_its_own_descriptors(tmp_path):
    text = """
from bare_worker import BareWorker
from manyhands._worker import forwarding
receiver = forwarding.receiver()
with BareWorker(output_fd=receiver.worker_fd) as worker:
    print("parent", flush=True)
    worker.run(print, "worker")
    worker.run(lambda: __import__("logging").warning("logged"))
    print(forwarding.flush(60), flush=True)
"""
    assert run_script(text, tmp_path) == "parent\nworker\nTrue\n"


def test_shared_memory_of_the_parent_survives_a_worker_that_used_it(tmp_path):
    text = """
from multiprocessing.shared_memory import SharedMemory
from bare_worker import BareWorker
from manyhands._worker import forwarding
def use(name):
    memory = SharedMemory(name=name)
    memory.buf[0] += 1
    memory.close()
def make():
    memory = SharedMemory(create=True, size=10)
    memory.close()
    return memory.name
memory = SharedMemory(create=True, size=10)
receiver = forwarding.receiver()
for _ in range(2):
    with BareWorker(output_fd=receiver.worker_fd) as worker:
        worker.run(use, memory.name)
        name = worker.run(make)
        worker.end()
    other = SharedMemory(name=name)
    other.unlink()
again = SharedMemory(name=memory.name)
print(again.buf[0])
memory.unlink()
"""
    done = run_script(text, tmp_path)
    assert done == "2\n"


def test_what_the_parent_has_replaced_is_noticed(monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    assert not parent_state.stream_is_own("stdout")
    monkeypatch.setattr(sys, "stdout", None)
    assert parent_state.stream_is_own("stdout")

"""What belongs to `__main__` may be sent by everything that carries objects, in the same way."""

import subprocess
import sys
import textwrap

import pytest

CARRIERS = """
from manyhands import multiprocessing

def carrier(kind):
    "What sends, and what receives in another process."
    if kind == "pipe":
        reader, writer = multiprocessing.Pipe(duplex=False)
        return writer.send, reader.recv
    if kind == "manager":
        shared = multiprocessing.Manager().Queue()
    else:
        shared = getattr(multiprocessing, kind)()
    return shared.put, shared.get

def call_shown(receive, answers):
    try:
        got = receive()
        answers.put(got.shown())
        answers.put(got)
    except BaseException as error:
        answers.put(repr(error))
"""


@pytest.fixture
def run_script(tmp_path):
    """Runs a program without a guard, as a file or from standard input; what it printed."""

    def run(source, *, from_stdin=False):
        text = textwrap.dedent(CARRIERS) + textwrap.dedent(source)
        path = tmp_path / "script.py"
        path.write_text(text, encoding="utf-8")
        completed = subprocess.run(
            [sys.executable, "-" if from_stdin else str(path)],
            input=text,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert completed.stderr == ""
        assert completed.returncode == 0
        return completed.stdout.splitlines()

    return run


CLASS = """
    print("the script runs")

    class Message:
        def __init__(self, text):
            self.text = text
        def shown(self):
            return f"{BEFORE}{self.text}"

    BEFORE = "> "
"""


@pytest.mark.parametrize("from_stdin", [False, True], ids=["a file", "standard input"])
@pytest.mark.parametrize("kind", ["pipe", "Queue", "JoinableQueue", "SimpleQueue", "manager"])
def test_an_instance_of_a_class_of_a_script_without_guard(run_script, kind, from_stdin):
    lines = run_script(
        CLASS
        + f"""
    for receiver in ("process", "worker"):
        send, receive = carrier({kind!r})
        answers = multiprocessing.Queue()
        send(Message(receiver))
        if receiver == "process":
            process = multiprocessing.Process(target=call_shown, args=(receive, answers))
            process.start()
            process.join()
        else:
            with multiprocessing.Pool(1) as pool:
                pool.apply(call_shown, (receive, answers))
        print(answers.get(timeout=60), type(answers.get(timeout=60)) is Message)
    """,
        from_stdin=from_stdin,
    )
    assert lines == ["the script runs", "> process True", "> worker True"]


@pytest.mark.parametrize("kind", ["pipe", "Queue", "SimpleQueue", "manager"])
def test_who_has_the_class_gets_the_very_class(run_script, kind):
    lines = run_script(
        CLASS
        + f"""
    def look(begin, receive, answers):
        begin.wait(60)
        got = receive()
        answers.put((isinstance(got[0], Message), got[1] is Message, got[2] is look))

    send, receive = carrier({kind!r})
    answers, begin = multiprocessing.Queue(), multiprocessing.Event()
    forked = multiprocessing.get_context("fork").Process(
        target=look, args=(begin, receive, answers)
    )
    forked.start()
    for _ in range(2):
        send((Message("x"), Message, look))
    begin.set()
    print(answers.get(timeout=60))
    look(begin, receive, answers)
    print(answers.get(timeout=60))
    forked.join()
    """
    )
    assert lines == ["the script runs", "(True, True, True)", "(True, True, True)"]


def test_a_definition_is_sent_as_it_is_at_the_moment(run_script):
    lines = run_script(
        CLASS
        + """
    def ask():
        send, receive = carrier("Queue")
        answers = multiprocessing.Queue()
        send(Message("x"))
        process = multiprocessing.Process(target=call_shown, args=(receive, answers))
        process.start()
        process.join()
        return answers.get(timeout=60)

    print(ask())
    BEFORE = "rebound "
    print(ask())
    Message.shown = lambda self: "changed"
    print(ask())
    """
    )
    assert lines == ["the script runs", "> x", "rebound x", "changed"]


def test_a_class_that_names_a_shared_object_keeps_it_alive_on_its_way(run_script):
    lines = run_script(
        """
    value = multiprocessing.Value("i", 5)

    class Message:
        def shown(self):
            return value.value

    send, receive = carrier("Queue")
    answers = multiprocessing.Queue()
    for _ in range(3):
        send(Message())
        process = multiprocessing.Process(target=call_shown, args=(receive, answers))
        process.start()
        process.join()
        print(answers.get(timeout=60))
        answers.get(timeout=60)
    """
    )
    assert lines == ["5", "5", "5"]


def test_what_cannot_be_sent_by_value_goes_by_reference(run_script):
    lines = run_script(
        """
    class Message:
        source = (number for number in range(3))
        def shown(self):
            return "by reference"

    send, receive = carrier("pipe")
    send(Message())
    got = receive()
    print(type(got) is Message, got.shown())
    """
    )
    assert lines == ["True by reference"]

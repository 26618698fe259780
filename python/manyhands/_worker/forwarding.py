"""Workers' output and log records arrive as if the parent had made them.

A worker that was not forked from the program has neither its logging handlers nor the stream that
pytest, a notebook or ``redirect_stdout`` put in place of ``sys.stdout``. It sends text and records
through a socket pair, and a thread of the parent hands them to the parent's own streams and
loggers::

    worker: print, logging → one packet per line or record → parent: "manyhands-output" thread
                                                             → sys.stdout, logger.handle(record)

Guarantees:
    every packet is atomic (SOCK_SEQPACKET): a worker killed at any instruction damages at most the
    message it was sending; a parent that is dead or does not read never holds a worker for longer
    than SEND_TIMEOUT_SECONDS, after which output is dropped, counted and reported when possible;
    after `Receiver.flush` everything sent before has been written.

The same channel gives a worker its parent's resource tracker (multiprocessing's SharedMemory).

Does not do: carry what is written to descriptors 1 and 2 directly (C code, child processes): they
are inherited. Nothing here is used by workers of the start method ``fork``, which inherit the
parent's handlers and streams.
"""

from __future__ import annotations

import array
import functools
import io
import itertools
import logging
import os
import pickle
import select
import socket
import struct
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any

from manyhands._drop_in.journal import Journal
from manyhands._worker.setups import ParentState

CHUNK_BYTES = 16 * 1024
CHUNK_CHARS = CHUNK_BYTES // 4
SEND_TIMEOUT_SECONDS = 5.0
MAX_PARTIAL_MESSAGES = 1000

_STDOUT, _STDERR, _RECORD, _MARKER, _TRACKER = 1, 2, 3, 4, 5
# kind, whether this is the last part, pid of the sender, number of the message.
_HEADER = struct.Struct("<BBII")


def _packet(kind: int, last: bool, number: int, body: bytes) -> bytes:
    return _HEADER.pack(kind, last, os.getpid(), number & 0xFFFFFFFF) + body


# --- parent -------------------------------------------------------------------------------------


class Receiver:
    """The parent's end. Use `receiver()`: there is one per process.

    `worker_fd` is what workers inherit and give to `connect`; both ends are close-on-exec.
    """

    def __init__(self) -> None:
        self._ours, self._theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        timeout = struct.pack("ll", int(SEND_TIMEOUT_SECONDS), 0)
        self._theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, timeout)
        self._parts: dict[tuple[int, int], list[bytes]] = {}
        self._markers: dict[int, threading.Event] = {}
        self._numbers = itertools.count(1)
        self._thread = threading.Thread(target=self._run, name="manyhands-output", daemon=True)
        self._thread.start()

    @property
    def worker_fd(self) -> int:
        """Descriptor of the workers' end, open until `close`."""
        return self._theirs.fileno()

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until everything that workers have sent is written.

        Args:
            timeout: seconds; None waits as long as it takes.

        Returns: False if the time was over first, or when called by the output thread itself.
        """
        if threading.current_thread() is self._thread or not self._thread.is_alive():
            return False
        deadline = None if timeout is None else time.monotonic() + timeout
        number = next(self._numbers)
        written = self._markers[number] = threading.Event()
        try:
            if not self._send_marker(number, deadline):
                return False
            return written.wait(None if deadline is None else max(0, deadline - time.monotonic()))
        finally:
            self._markers.pop(number, None)

    def close(self) -> None:
        """Write what is there and end the thread. Workers' later output is dropped."""
        try:
            # The thread sees the end after what was sent before.
            self._ours.shutdown(socket.SHUT_RD)
        except OSError:
            pass  # Closed already.
        if threading.current_thread() is not self._thread:
            self._thread.join()
        self._abandon()

    def _abandon(self) -> None:
        self._ours.close()
        self._theirs.close()

    def _send_marker(self, number: int, deadline: float | None) -> bool:
        packet = _packet(_MARKER, True, number, b"")
        while True:
            try:
                # The descriptor's blocking mode is shared with the workers: never change it.
                self._theirs.send(packet, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
                return True
            except BlockingIOError:
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    return False
                select.select([], [self._theirs], [], left)
            except OSError:
                return False

    def _run(self) -> None:
        while True:
            try:
                packet, ancillary, _, _ = self._ours.recvmsg(
                    _HEADER.size + CHUNK_BYTES, socket.CMSG_SPACE(4), socket.MSG_CMSG_CLOEXEC
                )
            except OSError:
                return
            if not packet:
                return
            try:
                self._receive(packet, ancillary)
            except Exception:
                # A user's stream or handler failed. The next message must get through.
                _report()

    def _receive(self, packet: bytes, ancillary: list[Any]) -> None:
        kind, last, pid, number = _HEADER.unpack_from(packet)
        body = packet[_HEADER.size :]
        if kind == _MARKER:
            written = self._markers.get(number)
            if written is not None and pid == os.getpid():
                written.set()
        elif kind == _TRACKER:
            _answer_tracker(ancillary)
        elif kind in (_STDOUT, _STDERR):
            _write(sys.stdout if kind == _STDOUT else sys.stderr, body)
        elif last and (pid, number) not in self._parts:
            _handle(body)
        else:
            self._collect((pid, number), body, last)

    def _collect(self, key: tuple[int, int], body: bytes, last: bool) -> None:
        self._parts.setdefault(key, []).append(body)
        if last:
            _handle(b"".join(self._parts.pop(key)))
        elif len(self._parts) > MAX_PARTIAL_MESSAGES:
            # The oldest is from a worker that died in the middle.
            del self._parts[next(iter(self._parts))]


def _write(stream: Any, body: bytes) -> None:
    if stream is None:
        return
    stream.write(body.decode("utf-8", "surrogatepass"))
    stream.flush()


def _handle(body: bytes) -> None:
    record = logging.makeLogRecord(pickle.loads(body))
    logging.getLogger(record.name).handle(record)


def _report() -> None:
    try:
        traceback.print_exc()
    except Exception:
        pass  # stderr itself is what fails.


_lock = threading.Lock()
_receiver: Receiver | None = None
_n_users = 0


def receiver() -> Receiver:
    """This process's `Receiver`; made, and its thread started, at the first call."""
    global _receiver
    with _lock:
        if _receiver is None:
            _receiver = Receiver()
        return _receiver


def join() -> int:
    """Take part in the receiver; returns the descriptor for workers. Each needs a `leave`."""
    global _n_users
    shared = receiver()
    with _lock:
        _n_users += 1
    return shared.worker_fd


def leave() -> None:
    """The counterpart of `join`: the last one to leave ends the thread, once all is written."""
    global _n_users, _receiver
    with _lock:
        _n_users -= 1
        if _n_users > 0:
            return
        unused, _receiver = _receiver, None
    if unused is not None:
        unused.close()


def flush(timeout: float | None = None) -> bool:
    """`Receiver.flush` if there is a receiver; else there is nothing to wait for: True."""
    return True if _receiver is None else _receiver.flush(timeout)


def _after_fork_in_child() -> None:
    """The parent's ends are not ours, nor is its thread; locks may have been held."""
    global _receiver, _lock, _n_users
    _lock = threading.Lock()
    _n_users = 0
    if _receiver is not None:
        # A copy of the reading end here would keep workers from noticing the parent's death.
        _receiver._abandon()
        _receiver = None
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, ForwardedStream):
            stream.at_fork()


os.register_at_fork(after_in_child=_after_fork_in_child)


# --- worker -------------------------------------------------------------------------------------


class _Sender:
    """A worker's end. Any thread may send; nothing is locked."""

    def __init__(self, fd: int) -> None:
        os.set_inheritable(fd, False)
        self._socket = socket.socket(fileno=fd)
        # Even if this process has a default timeout: it would change the shared description.
        self._socket.setblocking(True)
        self._numbers = itertools.count(1)
        self._stuck = False
        self._n_dropped = 0

    def send(self, kind: int, bodies: list[bytes]) -> bool:
        number = next(self._numbers)
        for index, body in enumerate(bodies, 1):
            packet = _packet(kind, index == len(bodies), number, body)
            if not self._send_packet(packet):
                return False
        return True

    def _send_packet(self, packet: bytes) -> bool:
        flags = socket.MSG_NOSIGNAL
        if self._stuck:
            # Waited in vain once: do not wait again before the parent has read something.
            flags |= socket.MSG_DONTWAIT
        try:
            self._socket.send(packet, flags)
        except BlockingIOError:
            self._stuck = True
            self._n_dropped += 1
            return False
        except OSError:
            return False  # The parent is gone.
        if self._stuck:
            self._stuck = False
            self._report_dropped()
        return True

    def _report_dropped(self) -> None:
        n_dropped, self._n_dropped = self._n_dropped, 0
        text = (
            f"manyhands: {n_dropped} messages of worker {os.getpid()} were dropped because the "
            f"parent did not read its workers' output for {SEND_TIMEOUT_SECONDS:g} s\n"
        )
        self._send_packet(_packet(_STDERR, True, next(self._numbers), text.encode()))

    def request_tracker(self) -> int | None:
        """The descriptor of the parent's resource tracker; None if the parent does not answer."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours, theirs:
            ours.settimeout(SEND_TIMEOUT_SECONDS)
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [theirs.fileno()]))]
            packet = _packet(_TRACKER, True, next(self._numbers), b"")
            try:
                self._socket.sendmsg([packet], rights, socket.MSG_NOSIGNAL)
                theirs.close()
                _, fds, _, _ = socket.recv_fds(ours, 1, 1)
            except OSError:
                return None
            if not fds:
                return None
            os.set_inheritable(fds[0], False)
            return fds[0]


def _answer_tracker(ancillary: list[Any]) -> None:
    from multiprocessing import resource_tracker

    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            (fd,) = array.array("i", data[:4])
            with socket.socket(fileno=fd) as reply:
                tracker_fd = resource_tracker.getfd()
                if tracker_fd is not None:
                    socket.send_fds(reply, [b"t"], [tracker_fd])


class ForwardedStream(io.TextIOBase):
    """``sys.stdout`` or ``sys.stderr`` of a worker: whole lines go to the parent's stream."""

    def __init__(self, send: Callable[[int, list[bytes]], bool], kind: int, fd: int) -> None:
        self._send = send
        self._kind = kind
        self._fd = fd
        self._line = ""
        # Reentrant: a signal handler may print in the middle of a print.
        self._lock = threading.RLock()

    encoding = "utf-8"
    errors = "surrogatepass"
    line_buffering = True

    @property
    def buffer(self) -> io.BufferedIOBase:
        """For programs that write bytes: they are decoded as UTF-8 and forwarded."""
        return _ForwardedBytes(self)

    @property
    def name(self) -> str:
        return "<stdout>" if self._kind == _STDOUT else "<stderr>"

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        """The inherited descriptor, for those who write to it directly."""
        return self._fd

    def isatty(self) -> bool:
        return False

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        with self._lock:
            whole, newline, rest = (self._line + text).rpartition("\n")
            if not newline and len(rest) > CHUNK_CHARS:
                whole, rest = rest, ""
            self._line = rest
            self._forward(whole + newline)
        return len(text)

    def flush(self) -> None:
        with self._lock:
            rest, self._line = self._line, ""
            self._forward(rest)

    def at_fork(self) -> None:
        """In a child that a task forked: another thread of the worker may have been printing."""
        self._lock._at_fork_reinit()

    def _forward(self, text: str) -> None:
        for start in range(0, len(text), CHUNK_CHARS):
            chunk = text[start : start + CHUNK_CHARS].encode("utf-8", "surrogatepass")
            self._send(self._kind, [chunk])


class _ForwardedBytes(io.BufferedIOBase):
    """``sys.stdout.buffer`` of a worker."""

    def __init__(self, stream: ForwardedStream) -> None:
        self._stream = stream

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._stream.write(bytes(data).decode("utf-8", "replace"))
        return memoryview(data).nbytes

    def flush(self) -> None:
        self._stream.flush()


class ForwardingHandler(logging.Handler):
    """Sends records to the parent, where its loggers handle them."""

    def __init__(self, send: Callable[[int, list[bytes]], bool]) -> None:
        super().__init__()
        self._send = send

    def emit(self, record: logging.LogRecord) -> None:
        try:
            body = _packed_record(record)
            chunks = [body[at : at + CHUNK_BYTES] for at in range(0, len(body), CHUNK_BYTES)]
            self._send(_RECORD, chunks)
        except Exception:
            self.handleError(record)


def _packed_record(record: logging.LogRecord) -> bytes:
    """The attributes of `record`, made picklable: message and exception as text."""
    from manyhands._pickling.codec import dumps_unexplained

    attributes = dict(record.__dict__)
    attributes["msg"] = record.getMessage()
    attributes["args"] = None
    if record.exc_info and not record.exc_text:
        attributes["exc_text"] = logging.Formatter().formatException(record.exc_info)
    attributes["exc_info"] = None
    try:
        return dumps_unexplained(attributes, None, True)
    except Exception:
        # Some `extra`; what does not travel is shown.
        return pickle.dumps({name: _portable(value) for name, value in attributes.items()}, 5)


def _portable(value: Any) -> Any:
    plain = (str, int, float, bool, type(None))
    return value if isinstance(value, plain) and type(value) in plain else repr(value)


_sender: _Sender | None = None
# What a worker changed of the standard library. It ends with it: nothing is taken back.
_journal = Journal()


def connect(fd: int, data: ParentState) -> None:
    """Connect this worker's output to its parent. Not for workers of start method ``fork``.

    Args:
        fd: the inherited `Receiver.worker_fd`; belongs to this module from now on.
        data: what `parent_state.describe_parent` found.
    """
    global _sender
    _sender = _Sender(fd)
    redirect(stdout=not data.stdout_is_own, stderr=not data.stderr_is_own)
    _forward_records(ForwardingHandler(_sender.send))
    _share_tracker(_sender)


def redirect(*, stdout: bool, stderr: bool) -> None:
    """Choose, at any time, whether the streams go to the parent's or to the descriptors."""
    for wanted, name, kind, fd in (
        (stdout, "stdout", _STDOUT, 1),
        (stderr, "stderr", _STDERR, 2),
    ):
        forwarded = isinstance(getattr(sys, name), ForwardedStream)
        if wanted and not forwarded and _sender is not None:
            _journal.set(sys, name, ForwardedStream(_sender.send, kind, fd))
        elif forwarded and not wanted:
            getattr(sys, name).flush()
            _journal.set(sys, name, getattr(sys, f"__{name}__"))


def _forward_records(handler: ForwardingHandler) -> None:
    """Send to the parent what no handler of this worker's own takes.

    The root logger only gets a handler that does nothing: without any, ``logging.info`` would
    configure a stream of its own. ``logging.basicConfig`` called by the program takes that handler
    away first, as it does nothing where there is one. NullHandlers do not count as handlers.
    """
    placeholder = logging.NullHandler()
    logging.root.addHandler(placeholder)
    basic_config = logging.basicConfig

    @functools.wraps(basic_config)
    def configure(**settings: Any) -> None:
        logging.root.removeHandler(placeholder)
        basic_config(**settings)

    def call_handlers(logger: logging.Logger, record: logging.LogRecord) -> None:
        taken = False
        current: logging.Logger | None = logger
        while current:
            for own in current.handlers:
                taken = taken or not isinstance(own, logging.NullHandler)
                if record.levelno >= own.level:
                    own.handle(record)
            current = current.parent if current.propagate else None
        if not taken:
            handler.handle(record)

    _journal.set(logging.Logger, "callHandlers", call_handlers)
    _journal.set(logging, "basicConfig", configure)


def _share_tracker(sender: _Sender) -> None:
    """Let this worker use its parent's resource tracker, asked for when first needed.

    With a tracker of its own, a worker that attaches to the parent's SharedMemory would have it
    unlinked when the worker ends.
    """
    from multiprocessing import resource_tracker as tracker_module

    resource_tracker: Any = tracker_module

    class ParentsTracker(resource_tracker.ResourceTracker):  # type: ignore[misc]
        _fd: int | None

        def _ask_parent(self) -> None:
            if self._fd is None:
                self._fd = sender.request_tracker()

        def ensure_running(self) -> None:
            self._ask_parent()
            super().ensure_running()

        def _send(self, cmd: str, name: str, rtype: str) -> None:
            self._ask_parent()
            super()._send(cmd, name, rtype)

    tracker = resource_tracker._resource_tracker
    if tracker._fd is not None:
        # The template's; it is not ours to stop.
        os.close(tracker._fd)
        tracker._fd = tracker._pid = None
    _journal.set(tracker, "__class__", ParentsTracker)

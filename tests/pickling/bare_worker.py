"""A worker reduced to what the tests of pickling need: a fresh interpreter and a socket.

It does with the functions under test what the real worker does, without a pool around it.
"""

import contextlib
import os
import pickle
import socket
import subprocess
import sys
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[2] / "python"
HERE = Path(__file__).resolve().parent


class BareWorker:
    """The parent's side: `run` sends a function and its arguments, and gives the result back."""

    def __init__(self, pass_fds=(), prepare=None, name="ProcessPoolWorker-1", output_fd=None):
        from manyhands._pickling import codec
        from manyhands._worker import parent_state

        self._pickling = codec
        self._sent = {}
        ours, theirs = socket.socketpair()
        # What a real template has of the parent: nothing but the path to the package.
        env = {**os.environ, "PYTHONPATH": f"{PACKAGE}{os.pathsep}{HERE}"}
        code = f"import bare_worker; bare_worker.serve({theirs.fileno()})"
        fds = [theirs.fileno(), *pass_fds]
        if output_fd is not None:
            fds.append(output_fd)
        self.process = subprocess.Popen([sys.executable, "-c", code], env=env, pass_fds=fds)
        theirs.close()
        ours.settimeout(60)
        self._socket, self._file = ours, ours.makefile("rwb")
        data = parent_state.describe_parent() if prepare is None else prepare
        self._send(codec.dumps((data, name, output_fd), None))

    def run(self, fn, *args, **kwargs):
        data, guard = self._sent.get(id(fn)) or (None, None)
        if data is None or not self._pickling.guard_holds(fn, guard):
            data, guard = self._pickling.dumps_function(fn)
            self._sent[id(fn)] = data, guard
        return self.run_pickled(data, self._pickling.dumps_call(args, kwargs, None))

    def run_pickled(self, function_data, call_data):
        self._send((function_data, call_data))
        ok, reply = pickle.load(self._file)
        if ok:
            return self._pickling.loads(reply)
        raise self._pickling.loads_exception(reply)

    def end(self):
        """Orderly exit; returns the exit code."""
        self._send(None)
        return self.process.wait(60)

    def kill(self):
        self.process.kill()
        self.process.wait(60)

    def _send(self, message):
        pickle.dump(message, self._file)
        self._file.flush()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.kill()
        # After a kill in the middle of a message there may be something left to flush.
        with contextlib.suppress(OSError):
            self._file.close()
        self._socket.close()


def serve(fd):
    from manyhands._pickling import codec
    from manyhands._worker import forwarding, parent_state

    file = socket.socket(fileno=fd).makefile("rwb")
    data, name, output_fd = codec.loads(pickle.load(file))
    parent_state.prepare(data, name=name)
    if output_fd is not None:
        forwarding.connect(output_fd, data)
    functions = {}
    while (message := pickle.load(file)) is not None:
        try:
            function_data, call_data = message
            fn = functions.get(function_data)
            if fn is None:
                fn = functions[function_data] = codec.loads(function_data)
            args, kwargs = codec.loads(call_data)
            reply = True, codec.dumps_result(fn(*args, **kwargs), None)
        except BaseException as error:
            reply = False, codec.dumps_exception(error)
        pickle.dump(reply, file)
        file.flush()
    parent_state.finish()
    os._exit(0)


def run_script(text, tmp_path, *, command=(), stdin=None):
    """Run `text` as a program's ``__main__``; returns what it printed, or raises with it."""
    script = tmp_path / "script.py"
    script.write_text(text)
    env = {**os.environ, "PYTHONPATH": f"{PACKAGE}{os.pathsep}{HERE}"}
    done = subprocess.run(
        [sys.executable, *(command or [str(script)])],
        env=env,
        capture_output=True,
        text=True,
        timeout=100,
        cwd=tmp_path,
        input=stdin,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout

"""What a process's ``run`` returned or raised, on its way to the parent.

A value travels by a queue in the family heap, which is made for it, so it may name shared objects
and its large buffers are not copied; an error travels in the launch record.

`Recorder` is the child's side, `error_of` the parent's. Recording never changes how the process
ends: what cannot be pickled is only missing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from manyhands._mp.launch_record import (
    NOTHING,
    RAISED,
    RETURNED,
    RETURNED_NONE,
    LastWords,
    LaunchRecord,
)


class Recorder:
    """Notes what `run` does, and writes it down at the end."""

    def __init__(self, record: LaunchRecord, carrier: Any = None) -> None:
        self.record = record
        self.carrier = carrier
        self.kind = NOTHING
        self.outcome = b""

    def wrap(self, run: Callable[[], Any]) -> Callable[[], None]:
        """`run`, noted."""

        def noted() -> None:
            try:
                returned = run()
            except BaseException as error:
                self._note_error(error)
                raise
            self._note_value(returned)

        return noted

    def write(self, exitcode: int) -> None:
        """Tells the parent; the process ends next."""
        try:
            self.record.write_end(self.kind, self.outcome, exitcode)
        except OSError:
            pass  # The parent reads that the outcome is missing.

    def _note_value(self, value: Any) -> None:
        if value is None:
            self.kind = RETURNED_NONE
            return
        try:
            self.carrier.put(value)
            self.kind = RETURNED
        except Exception as error:
            self._note_error(error)

    def _note_error(self, error: BaseException) -> None:
        from manyhands._pickling import codec

        traceback = error.__traceback__
        try:
            self.outcome = codec.dumps_exception(error)
            self.kind = RAISED
        finally:
            # Pickling takes it away; whoever prints the exception needs it.
            error.__traceback__ = traceback


def error_of(words: LastWords | None) -> BaseException | None:
    """What `run` raised, if it did and could say so."""
    if words is None or words.kind != RAISED:
        return None
    from manyhands._pickling import codec

    return codec.loads_exception(words.outcome)

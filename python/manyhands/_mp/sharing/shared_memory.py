"""`SharedMemory` and `ShareableList`: blocks of bytes and short lists, in the family heap.

A block that is created without a name lies in the heap. Its name, made here, opens it in every
process of the family; nothing of it is in ``/dev/shm``, no resource tracker runs for it, and a
killed process leaves nothing behind. A block with a name of the program's choice is one that
processes outside of the family may look for: that is the standard library's.

Guarantees: a block lives until it is unlinked and closed everywhere, or its creator has ended and
nobody has it open.
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterable, Iterator
from multiprocessing import shared_memory as standard
from typing import Any

from manyhands._runtime import Memory

__all__ = ["ShareableList", "SharedMemory"]

#: What the names made here start with.
PREFIX = "mh_"


# Taken now: under the drop-in the standard module gives ours by these names.
_StandardMemory: Any = standard.SharedMemory
_StandardList: Any = standard.ShareableList


class SharedMemory(standard.SharedMemory):
    """A block of bytes that processes share, by its name or by being pickled.

    Args:
        name: the name of the block. With ``create=True``, None lets one be made, which is known in
            the family only; a name of your own makes a block of the standard library's.
        create: make a new block; False: open the one of that name.
        size: bytes of a new block.
        track: whether the standard resource tracker is to unlink a block of the standard library's.

    Raises:
        ValueError: `size` is not positive, or there is neither a name nor ``create=True``.
        FileNotFoundError: nothing has the name.
        FileExistsError: the name of your own is in use.
        MemoryError: the family heap is at its limit.

    Differs from https://docs.python.org/3/library/multiprocessing.shared_memory.html: a block
    without a name of your own cannot be opened outside of the family; it has exactly `size` bytes;
    after ``unlink()`` it ends with its last user, wherever they end.

    >>> block = SharedMemory(create=True, size=10)
    >>> block.buf[:5] = b"howdy"
    >>> again = SharedMemory(block.name)
    >>> bytes(again.buf[:5])
    b'howdy'
    >>> again.close()
    >>> block.close()
    >>> block.unlink()
    """

    _memory: Memory | None = None
    _is_in_heap = False
    _view: memoryview | None = None

    def __init__(
        self, name: str | None = None, create: bool = False, size: int = 0, *, track: bool = True
    ) -> None:
        if create and name is None:
            if size <= 0:
                raise ValueError(f"'size' must be a positive number of bytes, not {size}")
            memory = Memory(size)
            _links.keep(memory)
        elif name is not None and not create and name.lstrip("/").startswith(PREFIX):
            found = Memory.named(name.lstrip("/"))
            if found is None:
                raise FileNotFoundError(2, "No such shared memory in this family", name)
            memory = found
        else:
            _init_standard(self, name, create, size, track)
            return
        self._is_in_heap = True
        self._memory = memory
        self._heap_name = memory.name
        self._heap_size = len(memory)
        buffer: Any = memory
        self._view = memoryview(buffer)

    @property
    def buf(self) -> Any:
        """The bytes, as a memoryview; None once closed."""
        return self._view if self._is_in_heap else super().buf

    @property
    def name(self) -> str:
        """The name that opens the block."""
        return self._heap_name if self._is_in_heap else super().name

    @property
    def size(self) -> int:
        """Bytes of the block."""
        return self._heap_size if self._is_in_heap else super().size

    def close(self) -> None:
        """Ends the use of the block by this object.

        Raises:
            BufferError: there are slices of ``buf``, NumPy arrays... on it. They stay valid; let
                them go and close again.
        """
        if not self._is_in_heap:
            super().close()
            return
        if self._view is not None:
            self._view.release()
            self._view = None
        memory = self._memory
        if memory is not None:
            if memory.n_exports:
                raise BufferError("cannot close exported pointers exist")
            self._memory = None
        _links.look()

    def unlink(self) -> None:
        """Takes the name away; the block ends with its last user.

        Raises:
            FileNotFoundError: that was done already.
        """
        if not self._is_in_heap:
            super().unlink()
            return
        memory = self._memory or Memory.named(self._heap_name)
        if memory is None or not memory.unlink():
            raise FileNotFoundError(2, "No such shared memory in this family", self.name)
        _links.look()

    def __reduce__(self) -> Any:
        if self._is_in_heap:
            return _open, (type(self), self.name, self._memory)
        return super().__reduce__()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, size={self.size})"

    def __del__(self) -> None:
        if not self._is_in_heap:
            super().__del__()
            return
        with contextlib.suppress(BufferError):
            self.close()


def _init_standard(block: Any, name: str | None, create: bool, size: int, track: bool) -> None:
    """Makes `block` one of the standard library's, which knows `track` since 3.13."""
    if hasattr(_StandardMemory, "_track"):
        options: Any = {"track": track}
        _StandardMemory.__init__(block, name, create, size, **options)
    else:
        _StandardMemory.__init__(block, name, create, size)


def _open(cls: Any, name: str, memory: Memory | None) -> Any:
    """What a pickled block becomes; `memory` keeps it alive on its way."""
    del memory
    return cls(name)


class _Links:
    """The blocks this process created, kept until their names are taken away."""

    def __init__(self) -> None:
        self._linked: list[Memory] = []
        self._next_look = 16

    def keep(self, memory: Memory) -> None:
        """Keeps `memory` for those who know its name only."""
        self._linked.append(memory)
        if len(self._linked) > self._next_look:
            # Another process may have taken names away.
            self.look()
            self._next_look = max(16, 2 * len(self._linked))

    def look(self) -> None:
        """Lets go what has no name any more.

        Takes no lock, for it is called by destructors too, which may interrupt it. Nothing is ever
        put in the list's place: what others add meanwhile is in it.
        """
        for memory in [memory for memory in self._linked if memory.is_unlinked]:
            with contextlib.suppress(ValueError):  # Another look was faster.
                self._linked.remove(memory)


_links = _Links()

# What an element is, and how its bytes are read.
_NONE, _FALSE, _TRUE, _INT, _FLOAT, _STR, _BYTES = range(7)
_ENTRY = struct.Struct("<BxxxIII")  # kind, offset, bytes in use, bytes there are
_COUNT = struct.Struct("<Q")


class ShareableList(standard.ShareableList):  # type: ignore[type-arg]
    """A list of fixed length that processes share: int, float, bool, str, bytes and None.

    Args:
        sequence: the elements of a new list; None: open the list called `name`.
        name: a name. With `sequence`, a name of your own makes a list of the standard library's.

    Raises:
        ValueError: an assigned str or bytes is longer than the place of the one before, rounded up
            to a multiple of 8.
        struct.error: an int of more than 64 bits.
        FileNotFoundError: nothing has the name.

    >>> numbers = ShareableList([1, "two", 3.0, None])
    >>> numbers[1] = "deux"
    >>> again = ShareableList(name=numbers.shm.name)
    >>> list(again)
    [1, 'deux', 3.0, None]
    >>> again.shm.close()
    >>> numbers.shm.close()
    >>> numbers.shm.unlink()
    """

    shm: Any

    def __new__(cls, sequence: Iterable[Any] | None = None, *, name: str | None = None) -> Any:
        """A list of the standard library's where the name asks for one."""
        if name is not None and not name.startswith(PREFIX):
            return _StandardList(sequence, name=name)
        return super().__new__(cls)

    def __init__(self, sequence: Iterable[Any] | None = None, *, name: str | None = None) -> None:
        if name is not None:
            self.shm = SharedMemory(name)
            return
        values = list(sequence or ())
        entries, parts = [], []
        at = _COUNT.size + _ENTRY.size * len(values)
        for value in values:
            kind, data = _encode(value)
            room = max(8, -(-len(data) // 8) * 8)
            entries.append(_ENTRY.pack(kind, at, len(data), room))
            parts.append(data.ljust(room, b"\0"))
            at += room
        self.shm = SharedMemory(create=True, size=at)
        self.shm.buf[:at] = _COUNT.pack(len(values)) + b"".join(entries) + b"".join(parts)

    def __len__(self) -> int:
        count: int = _COUNT.unpack_from(self.shm.buf)[0]
        return count

    def __getitem__(self, position: Any) -> Any:
        kind, at, used, _ = self._entry(position)
        return _decode(kind, bytes(self.shm.buf[at : at + used]))

    def __setitem__(self, position: Any, value: Any) -> None:
        _, at, _, room = self._entry(position)
        kind, data = _encode(value)
        if len(data) > room:
            raise ValueError(f"a value of {len(data)} bytes exceeds available storage ({room})")
        self.shm.buf[at : at + len(data)] = data
        _ENTRY.pack_into(self.shm.buf, self._entry_at(position), kind, at, len(data), room)

    def __iter__(self) -> Iterator[Any]:
        return (self[idx] for idx in range(len(self)))

    def _entry_at(self, position: int) -> int:
        length = len(self)
        idx = position + length if position < 0 else position
        if not 0 <= idx < length:
            raise IndexError("index out of range")
        return _COUNT.size + _ENTRY.size * idx

    def _entry(self, position: int) -> Any:
        return _ENTRY.unpack_from(self.shm.buf, self._entry_at(position))

    @property
    def format(self) -> str:
        """The elements as `struct` format characters."""
        entries = [self._entry(idx) for idx in range(len(self))]
        return "".join(
            "xxxxxx?x"
            if kind == _NONE
            else "?"
            if kind in (_FALSE, _TRUE)
            else {_INT: "q", _FLOAT: "d"}.get(kind, f"{room}s")
            for kind, _, _, room in entries
        )

    def count(self, value: Any) -> int:
        """How many elements equal `value`."""
        return sum(1 for element in self if element == value)

    def index(self, value: Any) -> int:
        """Where the first element that equals `value` is.

        Raises:
            ValueError: there is none.
        """
        for idx, element in enumerate(self):
            if element == value:
                return idx
        raise ValueError(f"{value!r} not in this list")

    def __reduce__(self) -> Any:
        return _open_list, (type(self), self.shm)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({list(self)}, name={self.shm.name!r})"


def _open_list(cls: Any, shm: SharedMemory) -> Any:
    opened = cls.__new__(cls)
    opened.shm = shm
    return opened


def _encode(value: Any) -> tuple[int, bytes]:
    if value is None:
        return _NONE, b""
    if isinstance(value, bool):
        return (_TRUE if value else _FALSE), b""
    if isinstance(value, int):
        return _INT, struct.pack("<q", value)
    if isinstance(value, float):
        return _FLOAT, struct.pack("<d", value)
    if isinstance(value, str):
        return _STR, value.encode()
    if isinstance(value, bytes):
        return _BYTES, value
    raise ValueError(
        f"a ShareableList holds int, float, bool, str, bytes and None, not {type(value).__name__}"
    )


def _decode(kind: int, data: bytes) -> Any:
    if kind == _INT:
        return struct.unpack("<q", data)[0]
    if kind == _FLOAT:
        return struct.unpack("<d", data)[0]
    if kind == _STR:
        return data.decode()
    if kind == _BYTES:
        return data
    return {_NONE: None, _FALSE: False, _TRUE: True}[kind]

"""What all managed objects of ours have in common with the standard proxies.

They are instances of `multiprocessing.managers.BaseProxy`, print as such, and answer to the private
methods that programs and libraries have come to use. Nothing of a server is behind them: a method
works on the family heap at once.
"""

from __future__ import annotations

from multiprocessing.managers import BaseProxy, Token
from typing import Any

__all__ = ["ManagedObject"]


class ManagedObject(BaseProxy):
    """A proxy that needs no server."""

    #: The name by which a manager makes it.
    _typeid = "object"
    #: The manager it was made by, in the process that made it.
    _manager: Any = None
    _isauto = False
    _exposed_: tuple[str, ...] = ()

    def __init__(self, *args: Any) -> None:
        """Nothing of what the standard proxy sets up."""

    def _copied(self) -> Any:
        """An ordinary object with the same contents."""
        raise NotImplementedError

    @property
    def _number(self) -> int:
        """What tells it from all other managed objects, in every process."""
        return id(self)

    @property
    def _id(self) -> str:
        return f"{self._number:x}"

    @property
    def _token(self) -> Token:
        return Token(self._typeid, None, self._id)

    def _callmethod(self, methodname: str, args: Any = (), kwds: Any = {}) -> Any:  # noqa: B006
        """Calls a method of the shared object."""
        if methodname == "#GETVALUE":
            return self._copied()
        if methodname in ("__str__", "__repr__", "#STR"):
            return repr(self._copied())
        return getattr(self, methodname)(*args, **kwds)

    def _getvalue(self) -> Any:
        """A copy of the shared object."""
        return self._copied()

    def __deepcopy__(self, memo: Any) -> Any:
        return self._copied()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} object, typeid {self._typeid!r} at {id(self):#x}>"

    def __str__(self) -> str:
        return repr(self._copied())

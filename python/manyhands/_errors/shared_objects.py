"""Errors of objects that processes share."""

__all__ = ["HandleError"]


class HandleError(RuntimeError):
    """A pickled shared object was opened where it cannot be.

    That is outside of its family of processes, when nobody had it any more, or with a handle that
    was damaged or is another kind of object's.

    >>> issubclass(HandleError, RuntimeError)
    True
    """


HandleError.__module__ = "manyhands.multiprocessing"

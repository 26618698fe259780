"""The error of a lost update; see `manyhands.multiprocessing.set_lost_update_mode`."""

__all__ = ["LostUpdateError"]


class LostUpdateError(RuntimeError):
    """A thread was about to overwrite a shared value with what it had computed from an older one.

    Raised by the assignment, in the mode ``"raise"``. Nothing was written: read again and repeat,
    or hold the lock, or use an atomic operation.

    >>> issubclass(LostUpdateError, RuntimeError)
    True
    """


LostUpdateError.__module__ = "manyhands.multiprocessing"

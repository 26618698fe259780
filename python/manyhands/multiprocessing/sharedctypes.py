"""`multiprocessing.sharedctypes` on the family heap: values and arrays that travel.

Mirrors https://docs.python.org/3/library/multiprocessing.html#module-multiprocessing.sharedctypes;
docs/shared-values.md has the differences.

>>> from manyhands.multiprocessing.sharedctypes import Value
>>> Value("i", 41).add(1)
42
"""

from manyhands._mp.sharing.sharedctypes import (
    Array,
    RawArray,
    RawValue,
    Synchronized,
    SynchronizedArray,
    SynchronizedBase,
    SynchronizedString,
    Value,
    copy,
    synchronized,
)

__all__ = ["Array", "RawArray", "RawValue", "Value", "copy", "synchronized"]

for _public in (
    Array,
    RawArray,
    RawValue,
    Synchronized,
    SynchronizedArray,
    SynchronizedBase,
    SynchronizedString,
    Value,
    copy,
    synchronized,
):
    _public.__module__ = __name__

"""The standard `threading`, as it was before `install()` put ours under its names.

Guarantees: loaded before `install()` changes anything (install itself loads it), so what is here
is the standard library's own.
"""

import threading
from threading import Thread, Timer

__all__ = ["Thread", "Timer", "threading"]

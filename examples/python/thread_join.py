"""A thread that takes its time, joined and not joined (row T1).

Main starts a thread that sleeps.  Without ``join`` main goes on, and comes to its end, before the
thread does; with ``join`` it waits for the thread first.  The order of the lines shows it.
"""

import time

from manyhands.threading import Thread

NAP_S = 3


def nap(log, style):
    log.append(f"{style}: the thread starts")
    time.sleep(NAP_S)
    log.append(f"{style}: the thread ends")


class Napper(Thread):
    """The same by a subclass that says what it does in ``run``."""

    def __init__(self, log, style):
        super().__init__(name="napper")
        self.log = log
        self.style = style

    def run(self):
        nap(self.log, self.style)


unjoined, joined = [], []

sleeper = Thread(target=nap, args=(unjoined, "not joined"), name="sleeper")
napper = Napper(joined, "joined")
sleeper.start()
unjoined.append("not joined: main goes on")
napper.start()
napper.join()
joined.append("joined: main goes on")

sleeper.join()  # Only so that the lines below come last.
print(*unjoined, *joined, sep="\n")

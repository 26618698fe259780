"""Processes share a dict, a list and a namespace (row M4).

There is no server process behind the manager: the containers lie in memory that all the processes
share. An operation is atomic by itself; `with shared.locked():` makes several of them so.
"""

import sys

from manyhands import multiprocessing

N_PROCESSES = 4
TEXT = "to be or not to be that is the question"


def count_words(counts, order, settings, number):
    """Add the words of a text to what the others have added."""
    for word in TEXT.split():
        counts.add(word, settings.step)
    order.append(number)
    # Two changes that nobody may see only half of.
    with counts.locked():
        counts["begun"] = counts.get("begun", 0) + 1
        counts["done"] = counts["begun"]


def use_nested(shared):
    """A managed object inside another one is the same object in every process."""
    shared["visitors"].append(multiprocessing.current_process().name)


with multiprocessing.Manager() as manager:
    counts, order = manager.dict(), manager.list()
    settings = manager.Namespace(step=1)
    processes = [
        multiprocessing.Process(target=count_words, args=(counts, order, settings, number))
        for number in range(N_PROCESSES)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    print("words:", counts["to"], counts["be"], counts["question"])
    print("processes that counted:", sorted(order), counts["begun"], counts["done"])

    shared = manager.dict(visitors=manager.list())
    process = multiprocessing.Process(target=use_nested, args=(shared,), name="guest")
    process.start()
    process.join()
    print("visitors:", shared["visitors"])

    expected = (8, 8, 4, [0, 1, 2, 3], 4, ["guest"])
    found = (counts["to"], counts["be"], counts["question"], sorted(order), counts["done"])
    if (*found, shared["visitors"][:]) != expected:
        sys.exit("this should never happen")

"""Sums on a pool of threads, in two styles (row F1).

Four named tasks each add up 0..10000.  The first style submits every task by
itself and keeps its future; the second hands the whole list to ``map``.  Both
give 50 005 000 for every task, in the order in which the tasks were named.
"""

import logging
import threading

from manyhands.futures import ThreadPoolExecutor

NAMES = ["Anna", "Ben", "Carla", "David"]


def sum_up(name):
    """Add up 0..10000 and say which thread did it."""
    total = sum(range(10_001))
    logging.info("task %s on %s: %d", name, threading.current_thread().name, total)
    return name, total


def submit_style():
    with ThreadPoolExecutor(max_workers=2, thread_name_prefix="cook") as executor:
        futures = [executor.submit(sum_up, name) for name in NAMES]
        return [future.result() for future in futures]


def map_style():
    with ThreadPoolExecutor(max_workers=2, thread_name_prefix="cook") as executor:
        return list(executor.map(sum_up, NAMES))


logging.basicConfig(format="%(asctime)s: %(message)s", level=logging.INFO, datefmt="%H:%M:%S")

for style in (submit_style, map_style):
    for name, total in style():
        print(f"{style.__name__}: {name} = {total}")

"""Results through a queue and through a pipe (row M5).

Five processes count 10,000,000 each; the parent adds up 50,000,000, once from a queue that all of
them put into, and once from one pipe for each. The count may be given as an argument.
"""

import sys

from manyhands.multiprocessing import Pipe, Process, Queue

N_WORKERS = 5
N_EACH = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000_000


def count(limit):
    counted = 0
    for _ in range(limit):
        counted += 1
    return counted


def count_into_queue(queue, limit):
    queue.put(count(limit))


def count_into_pipe(connection, limit):
    connection.send(count(limit))
    connection.close()


queue = Queue()
workers = [Process(target=count_into_queue, args=(queue, N_EACH)) for _ in range(N_WORKERS)]
for worker in workers:
    worker.start()
# The order does not matter: a put needs nobody who gets, so joining first cannot hang.
for worker in workers:
    worker.join()
print(f"through a queue: {sum(queue.get() for _ in workers):,}")

receiving_ends = []
for _ in range(N_WORKERS):
    receiving, sending = Pipe(duplex=False)
    Process(target=count_into_pipe, args=(sending, N_EACH)).start()
    sending.close()
    receiving_ends.append(receiving)
print(f"through pipes: {sum(receiving.recv() for receiving in receiving_ends):,}")

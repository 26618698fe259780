"""A producer and a consumer with a queue between them (row T6).

The producer puts random numbers from 1 to 10 into a queue with room for ten until it is told that
it is enough.  How does the consumer know that no number will come any more?

- It looks at the clock: every wait has a timeout, and then it looks around.
- It does not, and waits for a producer that has gone.  With the standard module it waits for ever.
- The producer shuts the queue down, and the consumer's loop ends.
"""

import random

from manyhands.queue import Empty, LifoQueue, PriorityQueue, Queue, SimpleQueue
from manyhands.threading import DeadlockError, Event, Thread

N_ENOUGH = 100


def produce(numbers, enough, sent):
    while not enough.is_set():
        number = random.randint(1, 10)
        numbers.put(number)
        sent.append(number)


def watch_the_clock():
    numbers, enough, sent, got = Queue(maxsize=10), Event(), [], []
    producer = Thread(target=produce, args=(numbers, enough, sent))
    producer.start()
    while producer.is_alive() or not numbers.empty():
        try:
            got.append(numbers.get(timeout=0.05))
        except Empty:
            continue
        if len(got) == N_ENOUGH:
            enough.set()
    producer.join()
    print("watching the clock: nothing lost:", got == sent)


def forget_it():
    numbers = Queue(maxsize=10, name="numbers")
    producer = Thread(target=numbers.put, args=(7,))
    producer.start()
    producer.join()
    try:
        while True:
            numbers.get()
    except DeadlockError as error:
        print("forgotten:", str(error).splitlines()[0])


def shut_down():
    numbers, enough, sent, got = Queue(maxsize=10), Event(), [], []

    def produce_and_close():
        produce(numbers, enough, sent)
        numbers.shutdown()

    producer = Thread(target=produce_and_close)
    producer.start()
    for number in numbers:
        got.append(number)
        if len(got) == N_ENOUGH:
            enough.set()
    producer.join()
    print("shut down: nothing lost:", got == sent)


watch_the_clock()
forget_it()
shut_down()
for kind in (LifoQueue, PriorityQueue, SimpleQueue):
    numbers = kind()
    for number in (3, 1, 2) if kind is not LifoQueue else (1, 2, 3):
        numbers.put(number)
    print(f"{kind.__name__}:", *(numbers.get() for _ in range(3)))

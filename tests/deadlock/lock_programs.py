"""Random programs of a few threads and locks, of which half deadlock surely and half surely not.

A program is plain data: `locks` (their kinds), and `threads`, each with how it is run and its
`steps`. The steps are

    take LOCK STYLE    by "with" (until the thread ends or frees it) or by "acquire"
    free LOCK          by whatever fits; a Lock or Semaphore may be another thread's
    timed LOCK         try for longer than the detector's patience, then go on without
    meet N             wait until all threads that have this step are here
    join THREAD        wait for the end of another thread
    set / wait EVENT, put / get QUEUE
    nap SECONDS        sleep; io SECONDS: read what another process writes after a while

What surely deadlocks is forced to: all meet while holding their first locks. Whether a program is
what it shall be is not believed but asked: `oracle` tries all its interleavings.
"""

import random

from oracle import ALWAYS, NEVER, verdict

KINDS = ("Lock", "RLock", "Semaphore")
STYLES = ("with", "acquire")
# Below and above the time after which the detector looks, and looks again.
NAPS_S = (0.03, 0.15, 0.3)
RESCUES_S = (0.25, 0.4)


def programs(n_programs, seed):
    """Yields programs in turns: one that always deadlocks, one that never does."""
    dice = random.Random(seed)
    for idx in range(n_programs):
        wanted = (ALWAYS, NEVER)[idx % 2]
        make = dice.choice(DEADLOCKING if wanted == ALWAYS else FREE)
        program = make(dice)
        while verdict(program) != wanted:
            program = make(dice)
        yield {"id": f"{seed}-{idx}-{make.__name__}", "verdict": wanted, **program}


def thread(steps, run_as="thread"):
    return {"run_as": run_as, "steps": [list(step) for step in steps]}


def kinds(dice, n_locks, among=KINDS):
    return [dice.choice(among) for _ in range(n_locks)]


def warm_up(dice, locks):
    """Steps that take and free some locks in order: they become known as their owner's."""
    steps = []
    for idx in range(len(locks)):
        if dice.random() < 0.4:
            steps += [("take", idx, dice.choice(STYLES)), ("free", idx)]
    return steps


def maybe_nap(dice):
    return [("nap", dice.choice(NAPS_S))] if dice.random() < 0.3 else []


def bystander(dice, n_locks):
    """A thread that has nothing to do with the others, or only looks for a while."""
    return thread(
        dice.choice(
            [
                [("nap", dice.choice(NAPS_S))],
                [("io", dice.choice(NAPS_S))],
                [("timed", dice.randrange(n_locks))],
            ]
        )
    )


def cycle(dice, locks, n_threads, second):
    """Each thread holds its lock, meets the others, and then does `second(thread, next)`."""
    threads = []
    for idx in range(n_threads):
        style = dice.choice(STYLES)
        steps = [("take", idx, style)]
        if locks[idx] == "RLock" and dice.random() < 0.5:
            steps.append(("take", idx, dice.choice(STYLES)))
        if len(locks) > n_threads and dice.random() < 0.3 and idx == 0:
            steps.append(("take", n_threads, dice.choice(STYLES)))
        steps += [("meet", 0), *maybe_nap(dice), *second(idx, (idx + 1) % n_threads)]
        threads.append(thread(steps))
    return threads


def opposite_order(dice):
    """Locks in a circle."""
    n_threads = dice.randint(2, 5)
    locks = kinds(dice, n_threads + dice.randint(0, 1))
    threads = cycle(dice, locks, n_threads, lambda _, after: [("take", after, dice.choice(STYLES))])
    threads[0]["steps"][:0] = warm_up(dice, locks)
    return {"locks": locks, "threads": with_others(dice, threads, len(locks))}


def with_others(dice, threads, n_locks):
    """Adds bystanders, and threads that wait behind the deadlock."""
    if dice.random() < 0.5:
        threads.append(bystander(dice, n_locks))
    if dice.random() < 0.3:
        threads.append(thread([("meet", 0), ("take", 0, dice.choice(STYLES))]))
    return threads


def joins_in_the_circle(dice):
    """A circle in which some wait for the end of the next thread, not for its lock."""
    n_threads = dice.randint(2, 4)
    locks = kinds(dice, n_threads)
    joins = [dice.random() < 0.5 for _ in range(n_threads)]

    def second(idx, after):
        return [("join", after)] if joins[idx] else [("take", after, dice.choice(STYLES))]

    threads = cycle(dice, locks, n_threads, second)
    return {"locks": locks, "threads": with_others(dice, threads, n_locks=n_threads)}


def waits_that_nobody_ends(dice):
    """A circle closed by a queue or an event: the one who would fill it waits for a lock."""
    n_threads = dice.randint(2, 4)
    locks = kinds(dice, n_threads)
    wait, serve = dice.choice([("wait", "set"), ("get", "put")])

    def second(idx, after):
        if idx == 0:
            return [(wait, 0)]
        return [("take", after, dice.choice(STYLES)), (serve, 0)]

    threads = cycle(dice, locks, n_threads, second)
    return {"locks": locks, "threads": with_others(dice, threads, n_locks=n_threads)}


def taken_twice(dice):
    """A thread that waits for itself."""
    locks = kinds(dice, dice.randint(1, 3), ("Lock", "Semaphore"))
    idx = dice.randrange(len(locks))
    steps = [*warm_up(dice, locks), ("take", idx, dice.choice(STYLES))]
    steps += [*maybe_nap(dice), ("take", idx, dice.choice(STYLES))]
    threads = [thread(steps)]
    if dice.random() < 0.5:
        threads.append(bystander(dice, len(locks)))
    return {"locks": locks, "threads": threads}


def producer_gone(dice):
    """Consumers want more than is ever produced."""
    n_items = dice.randint(0, 3)
    consumers = [thread([("get", 0)] * (n_items + 1)) for _ in range(dice.randint(1, 2))]
    producer = thread([*[("put", 0)] * n_items, *maybe_nap(dice)])
    return {"locks": [], "threads": [producer, *consumers]}


def anything(dice):
    """Random steps; what the oracle makes of them decides."""
    locks = kinds(dice, dice.randint(2, 4))
    threads = []
    for _ in range(dice.randint(2, 3)):
        held, steps = [], []
        for _ in range(dice.randint(2, 4)):
            idx = dice.randrange(len(locks))
            if idx not in held:
                held.append(idx)
                steps.append(("take", idx, dice.choice(STYLES)))
                if dice.random() < 0.5 and not any(step[0] == "meet" for step in steps):
                    steps.append(("meet", 0))
        steps += [("free", idx) for idx in reversed(held)]
        threads.append(thread(steps))
    return {"locks": locks, "threads": threads}


def ordered(dice):
    """Many locks, always taken in the same order: busy, slow, and free of deadlocks."""
    locks = kinds(dice, dice.randint(2, 6))
    threads = []
    for _ in range(dice.randint(2, 5)):
        chosen = sorted(dice.sample(range(len(locks)), dice.randint(1, len(locks))))
        steps = [("take", idx, dice.choice(STYLES)) for idx in chosen]
        steps += maybe_nap(dice)
        freed = chosen[:]
        dice.shuffle(freed)
        threads.append(thread([*steps, *[("free", idx) for idx in freed]]))
    threads.append(bystander(dice, len(locks)))
    return {"locks": locks, "threads": threads}


def one_gives_up(dice):
    """A circle in which one thread only tries."""
    n_threads = dice.randint(2, 4)
    locks = kinds(dice, n_threads)

    def second(idx, after):
        if idx == 0:
            return [("timed", after)]
        return [("take", after, dice.choice(STYLES))]

    threads = cycle(dice, locks, n_threads, second)
    for idx, each in enumerate(threads):
        taken = [step[1] for step in each["steps"] if step[0] == "take"]
        # Freed by hand, in any order; threads that end free nothing that was acquired.
        each["steps"] += [["free", lock] for lock in reversed(taken)]
        assert idx in taken
    return {"locks": locks, "threads": threads}


def behind_a_gate(dice):
    """Opposite orders, but one at a time."""
    locks = kinds(dice, 3)
    threads = []
    for order in ((1, 2), (2, 1), (1, 2)):
        steps = [("take", idx, dice.choice(STYLES)) for idx in (0, *order)]
        steps += [*maybe_nap(dice), *[("free", idx) for idx in (*order, 0)]]
        threads.append(thread(steps))
    return {"locks": locks, "threads": threads}


RESCUERS = ("thread", "io", "foreign", "signal")


def rescuer(dice, how, steps):
    """Whoever ends a wait from outside, later than the detector's first looks."""
    after_s = dice.choice(RESCUES_S)
    if how == "io":
        return thread([("io", after_s), *steps])
    return thread([("nap", after_s), *steps], run_as=how)


def released_by_another(dice):
    """Locks as signals: taken twice by one thread, released by whoever comes."""
    n_waiters = dice.randint(1, 3)
    locks = kinds(dice, n_waiters, ("Lock", "Semaphore"))
    threads = [
        thread([("take", idx, "acquire"), ("take", idx, "acquire"), ("free", idx)])
        for idx in range(n_waiters)
    ]
    frees = [("free", idx) for idx in range(n_waiters)]
    for idx, each in enumerate(threads):
        each["steps"].insert(1, ["meet", 0])
        if dice.random() < 0.3:
            # Used as a lock once, before it became a signal.
            each["steps"][:0] = [["take", idx, dice.choice(STYLES)], ["free", idx]]
    how = dice.choice(RESCUERS[:2])
    threads.append(thread([("meet", 0), *rescuer(dice, how, frees)["steps"]]))
    return {"locks": locks, "threads": threads}


def crossed_signals(dice):
    """A circle of waits, each of which a thread outside the circle ends."""
    n_threads = dice.randint(2, 3)
    locks = kinds(dice, n_threads, ("Lock", "Semaphore"))
    threads = []
    for idx in range(n_threads):
        after = (idx + 1) % n_threads
        steps = [("take", idx, "acquire"), ("meet", 0), ("take", after, "acquire"), ("free", after)]
        threads.append(thread(steps))
    frees = [("free", idx) for idx in range(n_threads)]
    threads.append(thread([("meet", 0), *rescuer(dice, dice.choice(RESCUERS[:2]), frees)["steps"]]))
    return {"locks": locks, "threads": threads}


def served_from_outside(dice):
    """Everybody waits for an event or a queue, which something else ends."""
    n_threads = dice.randint(1, 4)
    wait, serve = dice.choice([("wait", "set"), ("get", "put")])
    locks = kinds(dice, 1)
    threads = [thread([("take", 0, "with"), (wait, 0), ("free", 0)])]
    threads += [thread([("take", 0, dice.choice(STYLES)), ("free", 0)]) for _ in range(n_threads)]
    threads.append(rescuer(dice, dice.choice(RESCUERS), [(serve, 0)]))
    return {"locks": locks, "threads": threads}


def joined_while_held(dice):
    """A lock is held while its holder joins somebody who is slow."""
    locks = kinds(dice, dice.randint(1, 2))
    slow = thread([dice.choice([("nap", 0.4), ("io", 0.4), ("timed", 0)])])
    holder = [("take", 0, dice.choice(STYLES)), ("join", 0), ("free", 0)]
    others = [
        thread([("take", 0, dice.choice(STYLES)), ("free", 0)]) for _ in range(dice.randint(1, 3))
    ]
    return {"locks": locks, "threads": [slow, thread(holder), *others]}


DEADLOCKING = (
    opposite_order,
    opposite_order,
    joins_in_the_circle,
    waits_that_nobody_ends,
    taken_twice,
    producer_gone,
    anything,
)
FREE = (
    ordered,
    one_gives_up,
    behind_a_gate,
    released_by_another,
    crossed_signals,
    served_from_outside,
    joined_while_held,
    anything,
)

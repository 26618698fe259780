"""Says of a small program of threads and locks whether it deadlocks: always, never or sometimes.

It tries every order in which the threads may take their steps, and knows nothing of the detector:
a state is who holds what and how far each thread has come. See `lock_programs` for the steps.
"""

ALWAYS, NEVER, SOMETIMES = "always", "never", "sometimes"
# What goes on by itself, later: a nap, an answer from outside, a wait that gives up.
BY_ITSELF = ("nap", "io", "timed")


def verdict(program):
    """What can come of a program."""
    return _Search(program).verdict()


def to_the_end(steps):
    """The steps of a thread with those that the ends of its blocks are."""
    blocks = []
    for verb, *what in steps:
        if verb == "take":
            blocks.append(tuple(what))
        elif verb == "free":
            taken = [block for block in blocks if block[0] == what[0]]
            if taken:
                del blocks[len(blocks) - 1 - blocks[::-1].index(taken[-1])]
    return [*steps, *(["free", lock] for lock, style in reversed(blocks) if style == "with")]


class _Search:
    def __init__(self, program):
        self.kinds = program["locks"]
        self.threads = [to_the_end(thread["steps"]) for thread in program["threads"]]
        self.meetings = {}
        for thread, steps in enumerate(self.threads):
            for at, (verb, *what) in enumerate(steps):
                if verb == "meet":
                    self.meetings.setdefault(what[0], {})[thread] = at

    def verdict(self):
        n_threads = len(self.threads)
        # How far each thread is; owner and depth of each lock; what is set; what queues hold.
        start = ((0,) * n_threads, ((-1, 0),) * len(self.kinds), frozenset(), ())
        seen, todo, ends = {start}, [start], set()
        while todo:
            state = todo.pop()
            nexts = list(self.nexts(state))
            if not nexts:
                finished = all(
                    at == len(steps) for at, steps in zip(state[0], self.threads, strict=True)
                )
                ends.add(finished)
            for after in nexts:
                if after not in seen:
                    seen.add(after)
                    todo.append(after)
        if ends == {False}:
            return ALWAYS
        return NEVER if ends == {True} else SOMETIMES

    def nexts(self, state):
        """The states after one step of one thread."""
        for thread, steps in enumerate(self.threads):
            at = state[0][thread]
            if at == len(steps):
                continue
            after = self.step(state, thread, steps[at])
            if after is not None:
                locks, is_set, queued = after
                ats = (*state[0][:thread], at + 1, *state[0][thread + 1 :])
                yield ats, locks, is_set, queued
                if steps[at][0] in BY_ITSELF:
                    # It concerns nobody else: no need to try the others first.
                    return

    def step(self, state, thread, step):
        """Locks, events and queues after a step, or None if the thread has to wait."""
        ats, locks, is_set, queued = state
        verb, *what = step
        if verb in BY_ITSELF:
            return locks, is_set, queued
        if verb == "take":
            owner, depth = locks[what[0]]
            if owner not in (-1, thread) or (owner == thread and self.kinds[what[0]] != "RLock"):
                return None
            return self.with_lock(locks, what[0], (thread, depth + 1)), is_set, queued
        if verb == "free":
            owner, depth = locks[what[0]]
            assert owner != -1, "a program frees only what is taken"
            now = (owner, depth - 1) if depth > 1 else (-1, 0)
            return self.with_lock(locks, what[0], now), is_set, queued
        if verb == "meet":
            there = all(ats[other] >= at for other, at in self.meetings[what[0]].items())
            return (locks, is_set, queued) if there else None
        if verb == "join":
            ended = ats[what[0]] == len(self.threads[what[0]])
            return (locks, is_set, queued) if ended else None
        if verb == "set":
            return locks, is_set | {what[0]}, queued
        if verb == "wait":
            return (locks, is_set, queued) if what[0] in is_set else None
        if verb == "put":
            return locks, is_set, tuple(sorted((*queued, what[0])))
        assert verb == "get", verb
        if what[0] not in queued:
            return None
        left = list(queued)
        left.remove(what[0])
        return locks, is_set, tuple(left)

    @staticmethod
    def with_lock(locks, idx, state):
        return (*locks[:idx], state, *locks[idx + 1 :])

"""The same program on threads and on processes, by one word (row F3).

Only the class differs.  With threads the work happens in this process; with
processes it happens elsewhere, on as many cores as there are, and nothing in
`is_prime` or in the way it is called has to know.
"""

import os

from manyhands.futures import ProcessPoolExecutor, ThreadPoolExecutor

NUMBERS = [10_000_000_019, 10_000_000_033, 10_000_000_061, 10_000_000_069, 9_999_800_001]


def is_prime(number):
    """Say whether `number` is prime, and in which process that was found out."""
    divisor = 3
    while divisor * divisor <= number and number % divisor:
        divisor += 2
    return divisor * divisor > number and number % 2 == 1, os.getpid()


for Executor in (ThreadPoolExecutor, ProcessPoolExecutor):
    with Executor(max_workers=2) as executor:
        answers = list(executor.map(is_prime, NUMBERS))
    primes = [number for number, (prime, _) in zip(NUMBERS, answers, strict=True) if prime]
    here = all(pid == os.getpid() for _, pid in answers)
    print(f"{Executor.__name__}: {len(primes)} primes, found {'here' if here else 'elsewhere'}")

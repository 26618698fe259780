"""Nine named processes at once (row M2): each says its name, its process id and a square."""

from manyhands.multiprocessing import Process, current_process


def square(number):
    me = current_process()
    print(f"{me.name} (pid {me.pid}): {number} squared is {number * number}")


processes = [Process(target=square, args=(n,), name=f"process {n}") for n in range(1, 10)]
for process in processes:
    process.start()
for process in processes:
    process.join()
print(f"all ended with 0: {all(process.exitcode == 0 for process in processes)}")

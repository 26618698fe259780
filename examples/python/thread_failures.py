"""An exception of a thread reaches whoever joins it (row T3).

The standard module prints it and forgets it.  Here ``join()`` raises it, ``result()`` gives what
the thread returned or raises, and a group of threads tells all failures together.
"""

from manyhands.threading import Event, Thread, ThreadGroup


def cook(dish):
    if dish == "ice":
        raise ValueError(f"nobody can cook {dish}")
    return f"hot {dish}"


soup = Thread(target=cook, args=("soup",))
ice = Thread(target=cook, args=("ice",))
soup.start()
ice.start()

print("soup:", soup.result())
try:
    ice.join()
except ValueError as error:
    print("ice:", error)

forever = Event()
try:
    with ThreadGroup(name="kitchen") as kitchen:
        kitchen.start(cook, "rice")
        waiter = kitchen.start(forever.wait)  # Would wait for ever; the failure cancels it.
        kitchen.start(cook, "ice")
except* ValueError as group:
    print(f"{len(group.exceptions)} failed, the waiter has left: {not waiter.is_alive()}")

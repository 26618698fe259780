"""A process from its start to its end (row M1).

A sleeping process is started, terminated and joined; a daemon ends with the program. What a process
returned or raised is there when it has ended.
"""

import os
import time

from manyhands.multiprocessing import Process

sleeper = Process(target=time.sleep, args=(1000,), name="sleeper")
print(f"{sleeper.name}: alive before its start: {sleeper.is_alive()}")
sleeper.start()
print(f"alive: {sleeper.is_alive()}, has a process id of its own: {sleeper.pid != os.getpid()}")
sleeper.terminate()
sleeper.join()
print(f"terminated: alive: {sleeper.is_alive()}, exit code: {sleeper.exitcode}")

stubborn = Process(target=time.sleep, args=(1000,))
stubborn.start()
stubborn.kill()
stubborn.join()
print(f"killed: exit code: {stubborn.exitcode}")

cook = Process(target=divmod, args=(17, 5))
cook.start()
print(f"returned: {cook.result()}")

daemon = Process(target=time.sleep, args=(1000,), daemon=True)
daemon.start()
print(f"main ends; the daemon is alive: {daemon.is_alive()}")

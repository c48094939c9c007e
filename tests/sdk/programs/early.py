"""Code that runs in a forked child before ours does records, while a thread of the parent held the locks.

Argument: ``direct``. Prints how many observations the child shows, of three.
"""

import json
import os
import sys
import threading
from collections.abc import Callable

early: list[Callable[[], object]] = []
os.register_at_fork(after_in_child=lambda: [work() for work in early])

from shown import everything, recording, total  # noqa: E402 - its hooks come after that one

reader, meter = recording()
histogram = meter.create_histogram("e")  # exponential, so it has a lock in each interpreter
held, done = threading.Event(), threading.Event()


def hold() -> None:
    """What a thread does that is interrupted while it records."""
    with histogram._lock, histogram._guard._lock:
        histogram._guard._is_adding = True
        held.set()
        done.wait()
        histogram._guard._is_adding = False


histogram.record(1, {"k": "known"})
thread = threading.Thread(target=hold)
thread.start()
held.wait()
early[:] = [lambda: histogram.record(1, {"k": "known"}), lambda: histogram.record(1, {"k": "new"})]
child = os.fork()
if not child:
    print(json.dumps(total(everything(reader), "e_count")))
    sys.stdout.flush()
    os._exit(0)
_, status = os.waitpid(child, 0)
done.set()
thread.join()
sys.exit(status)

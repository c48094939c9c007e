"""Threads leave cycles behind whose ``__del__`` records, so that the garbage collector runs it anywhere.

Arguments: the seconds that it takes, and those between two scrapes.
Prints how often a thread, and how often a ``__del__`` recorded, and what is shown of it.
"""

import gc
import json
import sys
import threading
import time
from collections import deque

from shown import everything, recording, total

SECONDS, EVERY = float(sys.argv[1]), float(sys.argv[2])

reader, meter = recording()
counter, histogram, gauge = meter.create_counter("c"), meter.create_histogram("h"), meter.create_gauge("g")
end = time.monotonic() + SECONDS
finalized: deque[int] = deque()  # its append is atomic
recorded = [0] * 3


class Cyclic:
    """Something that only the garbage collector finds, and that says when it does."""

    def __init__(self) -> None:
        self.me = self

    def __del__(self) -> None:
        number = len(finalized)
        finalized.append(number)
        for attributes in ({"k": number % 400}, {"finalized": number % 40}):
            counter.add(1, attributes)
            histogram.record(1, attributes)
            gauge.set(number, attributes)
        if number % 100 == 0:  # the first recording of an instrument is a case of its own
            meter.create_counter(f"first_{number}").add(1)


def record(number: int) -> None:
    """Record on many series, and leave a cycle behind now and then."""
    # They end by the clock: they make more work than a thread can do that the garbage collector takes.
    while time.monotonic() < end:
        recorded[number] += 1
        attributes = {"k": recorded[number] % 400}
        counter.add(1, attributes)
        histogram.record(1, attributes)
        if recorded[number] % 10 == 0:
            Cyclic()


def main() -> None:
    """Record, and scrape meanwhile."""
    gc.set_threshold(50, 5, 5)
    threads = [threading.Thread(target=record, args=(number,), daemon=True) for number in range(3)]
    for thread in threads:
        thread.start()
    while time.monotonic() < end:
        time.sleep(EVERY)
        reader.expose()
    for thread in threads:
        thread.join()
    gc.collect()
    shown = everything(reader)
    print(json.dumps([sum(recorded), len(finalized), total(shown, "c_total"), total(shown, "h_count")]))


main()

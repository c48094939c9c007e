"""Four threads record; again and again a child of a fork records once, and collects. Prints what came of it.

Arguments: the number of children, and the seconds after which one that is not done counts as one that hangs.
"""

import json
import multiprocessing
import sys
import threading
import time

from shown import everything, recording, total

CHILDREN, PATIENCE = int(sys.argv[1]), float(sys.argv[2])

reader, meter = recording()
counter, histogram = meter.create_counter("c"), meter.create_histogram("h")
stop = threading.Event()
recorded = [0] * 4


def record(number: int) -> None:
    """Compute and record, as an application does."""
    while not stop.is_set():
        sum(range(200))
        counter.add(1, {"thread": number})
        histogram.record(number, {"thread": number})
        recorded[number] += 1


def child() -> None:
    """What a forked worker does: it records, and shows what it has."""
    counter.add(1, {"thread": "child"})
    histogram.record(1, {"thread": "child"})
    exposition = reader.expose()
    mine = [line for line in exposition.body.splitlines() if b'thread="child"' in line]
    has_both = {line.split(b"{")[0] for line in mine} == {b"c_total", b"h_bucket", b"h_count", b"h_sum"}
    sys.exit(0 if exposition.complete and has_both else 3)


def main() -> None:
    """Fork, and say how many children hung, how many failed, and whether the parent's totals are right."""
    threads = [threading.Thread(target=record, args=(number,), daemon=True) for number in range(4)]
    for thread in threads:
        thread.start()
    context = multiprocessing.get_context("fork")
    hung, failed = 0, 0
    for _ in range(CHILDREN):
        time.sleep(0.05)
        process = context.Process(target=child)
        process.start()
        process.join(PATIENCE)
        if process.exitcode is None:
            hung += 1
            process.kill()
            process.join()
        elif process.exitcode:
            failed += 1
    stop.set()
    for thread in threads:
        thread.join()
    shown = everything(reader)
    print(json.dumps([hung, failed, sum(recorded), total(shown, "c_total"), total(shown, "h_count")]))


main()

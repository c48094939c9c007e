"""Greenlets record on the same series and on new ones, switch wherever they can, and scrape meanwhile.

Argument: how often each of them records. Prints how often all did, what is shown of it, and how many threads
scrapes that come together started.
"""

import json
import os
import sys
from collections import UserDict
from collections.abc import Iterator
from typing import Any

from gevent import monkey

monkey.patch_all()

import threading  # noqa: E402

import gevent  # noqa: E402
from shown import everything, recording, total  # noqa: E402

TIMES, GREENLETS = int(sys.argv[1]), 100

reader, meter = recording()
counter = meter.create_counter("c")
histograms = [meter.create_histogram("h"), meter.create_histogram("e")]
recorded = 0


class Switching(UserDict[str, Any]):
    """Attributes that let others go on while they are read."""

    def __iter__(self) -> Iterator[str]:
        gevent.sleep(0)
        return super().__iter__()

    def __getitem__(self, key: str) -> Any:
        gevent.sleep(0)
        return super().__getitem__(key)


def record(number: int) -> None:
    """On one series of all, on one of its own, and with attributes that switch."""
    global recorded
    for turn in range(TIMES):
        for attributes in ({"k": "v"}, {"number": number}, Switching(k="switching", turn=turn % 3)):
            counter.add(1, attributes)
            for histogram in histograms:
                histogram.record(turn, attributes)
            recorded += 1
        gevent.sleep(0)


def threads_of_scrapes() -> int:
    """How many threads there are more after greenlets have scraped together again and again."""
    reader.expose()
    before = len(os.listdir("/proc/self/task"))
    for _ in range(20):
        counter.add(1, {"once": "more"})
        gevent.joinall([gevent.spawn(reader.expose) for _ in range(3)])
    return len(os.listdir("/proc/self/task")) - before


def main() -> None:
    """Greenlets, a thread that is one, and scrapes."""
    greenlets = [gevent.spawn(record, number) for number in range(GREENLETS)]
    thread = threading.Thread(target=record, args=(GREENLETS,))
    thread.start()
    while not all(each.ready() for each in greenlets):
        reader.expose()
        gevent.sleep(0.01)
    gevent.joinall(greenlets, raise_error=True)
    thread.join()
    shown = everything(reader)
    counted = [total(shown, name) for name in ("c_total", "h_count", "e_count")]
    print(json.dumps([recorded, *counted, threads_of_scrapes()]))


main()

"""A thread records, and so does a signal handler that interrupts it again and again, on the same instruments.

Argument: the number of signals. Prints how often each recorded, and what is shown of it.
"""

import json
import signal
import sys
import threading

from shown import everything, recording, total

SIGNALS = int(sys.argv[1])

reader, meter = recording()
counter = meter.create_counter("c")
histograms = [meter.create_histogram("h"), meter.create_histogram("e")]
handled = 0
stop = threading.Event()


def record(amount: int) -> None:
    """On one series of each."""
    counter.add(1, {"k": "v"})
    for histogram in histograms:
        histogram.record(amount, {"k": "v"})


def arm() -> None:
    """See that the next signal comes, in a millisecond."""
    signal.setitimer(signal.ITIMER_REAL, 0.001)


def handle(number: int, frame: object) -> None:
    """The handler: an application counts its signals."""
    global handled
    handled += 1
    record(10 ** (handled % 9))
    counter.add(1, {"number": handled % 50})
    arm()  # not before it is done: handlers of slow machines would pile up


def scrape() -> None:
    """What a server does, more often than one would."""
    while not stop.wait(0.02):
        reader.expose()


def main() -> None:
    """Record until there were enough signals."""
    scraper = threading.Thread(target=scrape, daemon=True)
    scraper.start()
    signal.signal(signal.SIGALRM, handle)
    arm()
    recorded = 0
    while handled < SIGNALS:
        record(recorded % 7)
        recorded += 1
    signal.signal(signal.SIGALRM, signal.SIG_IGN)
    stop.set()
    scraper.join()
    shown = everything(reader)
    print(
        json.dumps([recorded, handled, *(total(shown, name) for name in ("c_total", "h_count", "e_count"))])
    )


main()

"""``start()`` after ``shutdown()`` and in a forked child, as far as an SDK lets readers come and go."""

import json
import subprocess
import sys
from typing import Any

import programs
import pytest
from opentelemetry.sdk.metrics import MeterProvider

from otel_prom_bridge.sdk.versions import TAKES_READERS_LATER

PROGRAM = """
import json, os, sys
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider

if "older" in sys.argv:  # as it was before 1.43
    del MeterProvider.add_metric_reader, MeterProvider.remove_metric_reader

from otel_prom_bridge import ConfigurationError, serve_inherited, start


def begin(counter):
    try:
        bridge = start(port=0)
    except ConfigurationError as error:
        return str(error)
    counter.add(2)
    return "} 2\\n" in bridge.reader.expose().body.decode()


def begin_in_a_child(counter):
    read, write = os.pipe()
    if not os.fork():
        inherited = serve_inherited(port=0).is_serving
        os.write(write, json.dumps([inherited, begin(counter)]).encode())
        os._exit(0)
    os.close(write)
    with open(read) as answer:
        return json.load(answer)


bridge = start(port=0)
counter = metrics.get_meter("shop").create_counter("orders")
counter.add(1)
child = begin_in_a_child(counter)
running = begin(counter)
bridge.shutdown()
print(json.dumps([bridge.server.is_serving, *child, running, begin(counter)]))
"""


def printed(*arguments: str) -> Any:
    """What the program prints; it has nothing to complain about."""
    command = [sys.executable, "-c", PROGRAM, *arguments]
    start = subprocess.run if arguments else programs.run  # what is taken out before the import is not there
    done = start(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.skipif(not TAKES_READERS_LATER, reason="this SDK gives a provider its readers at once")
def test_it_begins_anew() -> None:
    """In a child and after a shutdown, with the instruments from before."""
    serving, inherited, child, running, again = printed()
    assert (serving, inherited, child, again) == (False, True, True, True)
    assert "one bridge is running already" in running


@pytest.mark.parametrize("older", ["older"] if hasattr(MeterProvider, "add_metric_reader") else [""])
def test_it_says_that_the_sdk_is_too_old(older: str) -> None:
    """A shutdown closes the endpoint, a child can serve what it inherited, and the rest is refused."""
    serving, inherited, child, running, again = printed(older)
    assert (serving, inherited) == (False, True)
    assert "one bridge is running already" in running
    for said in (child, again):
        assert "cannot give the global meter provider another reader, which 1.43 and newer can" in said

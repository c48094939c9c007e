"""What a series costs a Prometheus and a VictoriaMetrics, for the model of docs/scaling.md.

A server of this program answers with counters that all have grown, at as many addresses as there are targets.
Memory and processor time are those of the database alone, as the system counts them: the memory at the end,
and the time over the second half of the run.

    python -m benchmarks.databases PROMETHEUS VICTORIA_METRICS    # paths of the programs; two minutes each
"""

from __future__ import annotations

import argparse
import http.server
import itertools
import json
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.capacity import Used

TARGETS, LINES, INTERVAL, SECONDS = 20, 10_000, 5, 45


class Counters(http.server.BaseHTTPRequestHandler):
    """The exposition of a hub: names and labels as instrumentations make them."""

    protocol_version = "HTTP/1.1"
    heads = tuple(
        f'http_requests_{number // 500}_total{{http_route="/r/{number % 500}",code="200",method="GET"}} '
        for number in range(LINES)
    )
    scrapes = itertools.count(1)

    def do_GET(self) -> None:
        """Answer a scrape."""
        value = next(self.scrapes)
        body = "".join(f"{head}{value + number}\n" for number, head in enumerate(self.heads)).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def database(program: str, port: int, folder: str) -> Iterator[Used]:
    """It runs and scrapes so many targets, which are all at this port."""
    targets = [f"127.0.0.{number + 1}:{port}" for number in range(TARGETS)]
    jobs = [{"job_name": "hubs", "static_configs": [{"targets": targets}]}]
    config = {"global": {"scrape_interval": f"{INTERVAL}s"}, "scrape_configs": jobs}
    Path(folder, "scrape.yml").write_text(json.dumps(config))
    if "victoria" in Path(program).name:
        flags = ["-promscrape.config=", "-storageDataPath=", "-httpListenAddr="]
    else:
        flags = ["--config.file=", "--storage.tsdb.path=", "--web.listen-address="]
    values = [f"{folder}/scrape.yml", f"{folder}/data", "127.0.0.1:0"]
    command = [program, *(flag + value for flag, value in zip(flags, values, strict=True))]
    with (
        open(f"{folder}/log", "wb") as log,
        subprocess.Popen(command, stdout=log, stderr=log) as process,
    ):
        try:
            yield Used(process.pid)
        finally:
            process.terminate()


def report(program: str) -> None:
    """Run one of them, and print its row."""
    server = http.server.ThreadingHTTPServer(("", 0), Counters)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as folder, database(program, server.server_port, folder) as used:
        empty = used.memory()
        time.sleep(SECONDS)
        begun, scraped = used.seconds(), next(Counters.scrapes)
        time.sleep(SECONDS)
        samples = (next(Counters.scrapes) - scraped - 1) * LINES
        seconds, memory = used.seconds() - begun, used.memory() - empty
    server.shutdown()
    series = TARGETS * LINES
    row = f"{memory / series / 1024:>10.1f} {seconds / samples * 1e6:>15.2f} {samples / SECONDS:>12,.0f}"
    print(f"{Path(program).name:<18} {series:>9,} {row}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("programs", nargs="+", metavar="PROGRAM", help="a Prometheus or a VictoriaMetrics")
    print("database              series  kB a series  µs CPU a sample    samples/s")
    for program in parser.parse_args().programs:
        report(program)


if __name__ == "__main__":
    main()

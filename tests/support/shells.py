"""The shell's lines of the documentation, run as a reader would run them: in a folder, with ports of a test.

The one program that cannot be the real one is pip, since the package is in no index yet. A stand-in takes its
place, which only checks that what is to be installed is this project with an extra that it has.
"""

from __future__ import annotations

import os
import re
import signal
import stat
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pages import ROOT, Block
from servers import Running, free_port, get, running, wait_for

_PIP = f"""#!{sys.executable}
import re, sys
known = {sorted(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])!r}
for wanted in sys.argv[2:]:
    if wanted.startswith("-"):
        continue
    found = re.fullmatch(r"(?:otel-prom-bridge|\\.|[\\w-]+)(?:\\[([\\w,]+)\\])?", wanted)
    if found is None or (wanted[0] == "." or wanted.startswith("otel-prom-bridge")) and not set(
        filter(None, (found[1] or "").split(","))
    ) <= set(known):
        sys.exit(f"no such extra: {{wanted}}")
"""
# What goes on until it is ended.
_SERVES = re.compile(
    r"otel-prom-bridge (?:run|hub|replay(?!.*--backfill)|synth .*--port|top(?!.*--once))|.*\bgunicorn\b"
)


def lines_of(block: Block) -> list[str]:
    """The commands of a block: one in each line, but for lines that end in a backslash."""
    joined = re.sub(r"\\\n\s*", "", block.text)
    return [line for line in joined.splitlines() if line and not line.startswith("#")]


@dataclass
class Shell:
    """A folder in which commands are run one after the other, with the variables that they export."""

    folder: Path
    replaced: Mapping[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    variables: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        stand_in = self.folder / "bin" / "pip"
        stand_in.parent.mkdir()
        stand_in.write_text(_PIP)
        stand_in.chmod(stand_in.stat().st_mode | stat.S_IXUSR)

    def environment(self) -> dict[str, str]:
        """That of a login, without proxies and options of OpenTelemetry."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.lower().endswith("_proxy") and not name.startswith("OTEL_")
        }
        path = [str(self.folder / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]]
        return {
            **kept,
            "PATH": os.pathsep.join(path),
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(self.folder)]),
            "OTEL_EXPORTER_PROMETHEUS_PORT": str(self.port),
            **self.variables,
        }

    def written(self, command: str) -> str:
        """The command with what is this test's own."""
        for shown, real in self.replaced.items():
            command = command.replace(shown, real)
        return command.replace("localhost:9464", f"localhost:{self.port}")

    def run(self, command: str, *, code: int = 0) -> str:
        """What a command prints; it has to end with this code."""
        done = subprocess.run(
            ["bash", "-uc", self.written(command)],
            cwd=self.folder,
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=90,
            check=False,
        )
        assert done.returncode == code, f"{command}\n{done.stdout}"
        return done.stdout

    def serve(self, command: str, until: Callable[[Running], object]) -> str:
        """Run what serves until it is so, and end it with Ctrl-C; gives what it has written."""
        environment = dict.fromkeys(os.environ, "") | self.environment()
        log = self.folder / "served.log"
        script = f"cd {self.folder} && exec env {self.written(command)}"
        with running(["bash", "-uc", script], log=log, env=environment) as process:
            wait_for(lambda: until(process), seconds=40, what=f"{command}: {log.read_text()}")
            process.process.send_signal(signal.SIGINT)
            process.wait(20)
            return process.output


def goes_on(command: str) -> bool:
    """Whether a command ends only when it is told to."""
    return _SERVES.match(command) is not None


def answers(port: int, *needles: str) -> Callable[[object], bool]:
    """Whether the metrics at a port have these texts."""

    def asked(_: object) -> bool:
        try:
            body = get(f"http://127.0.0.1:{port}/metrics")[1].decode()
        except OSError:
            return False
        return all(needle in body for needle in needles)

    return asked


def exported(commands: Iterable[str]) -> dict[str, str]:
    """The variables that lines of `export NAME=value …` set."""
    found: dict[str, str] = {}
    for command in commands:
        if command.startswith("export "):
            found |= dict(item.split("=", 1) for item in command.partition("#")[0].split()[1:])
    return found

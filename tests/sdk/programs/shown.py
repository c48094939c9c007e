"""What a reader shows, for the programs beside this file."""

from otel_prom_bridge.exposition import Exposition


def total(exposition: Exposition, name: str) -> float:
    """The sum of the samples of this name."""
    lines = exposition.body.decode().splitlines()
    samples = [line for line in lines if line.startswith((name + "{", name + " "))]
    return sum(float(line.rsplit(" ", 1)[1]) for line in samples)

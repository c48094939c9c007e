"""A body is compressed where it changed, and what comes out is what gzip makes of all of it."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from setups import Setup

from otel_prom_bridge.endpoint import compression
from otel_prom_bridge.endpoint.compression import Compression
from otel_prom_bridge.endpoint.messages import Request
from otel_prom_bridge.endpoint.scrape import Scrape
from otel_prom_bridge.exposition import Pieces

Make = Callable[..., Setup]
# Nothing, less than a block, a block and more; with text that repeats, as that of series does.
PIECES = st.builds(
    lambda text, times: text * times, st.binary(min_size=0, max_size=40), st.sampled_from([1, 9, 900, 4000])
)


def plain(member: bytes) -> bytes:
    """What a client reads that knows one member of gzip and no more."""
    reader = zlib.decompressobj(31)
    body = reader.decompress(member)
    assert (reader.eof, reader.unused_data) == (True, b"")
    return body


@pytest.fixture
def compressed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many bytes went into each block that was compressed."""
    sizes: list[int] = []
    original = compression._compressed

    def counting(compressor: object, pieces: tuple[bytes, ...]) -> bytes:
        sizes.append(sum(map(len, pieces)))
        return original(compressor, pieces)

    monkeypatch.setattr(compression, "_compressed", counting)
    return sizes


@given(st.data())
def test_whatever_was_before(data: st.DataObject) -> None:
    """Pieces that stay, come, go, and move: each body is read as it is, whatever is remembered."""
    pieces = data.draw(st.lists(PIECES, min_size=1, max_size=12))
    remembering = Compression()
    for _ in range(4):
        assert plain(remembering.gzip(Pieces(pieces), kind="text")) == b"".join(pieces)
        others = data.draw(st.lists(PIECES, max_size=4))
        kept = data.draw(st.permutations(pieces))[: len(pieces) - 1] if data.draw(st.booleans()) else pieces
        pieces = [*kept, *others] if data.draw(st.booleans()) else [*others, *kept]


def test_no_pieces() -> None:
    """A body without a byte is one, too."""
    assert plain(Compression().gzip(Pieces(), kind="text")) == b""


def test_the_same_piece_more_than_once() -> None:
    """Pieces are told apart by their places: equal blocks are all there."""
    block = b"x" * 100_000
    remembering = Compression()
    for pieces in ([block], [block, block, b"y"], [b"y", block, block], [block]):
        assert plain(remembering.gzip(Pieces(pieces), kind="text")) == b"".join(pieces)


def test_what_did_not_change_is_not_compressed_again(compressed: list[int]) -> None:
    """Of a hundred blocks the one that has another piece, and none where nothing has."""
    pieces = [b"%d" % number * 20_000 for number in range(10, 110)]
    remembering = Compression()
    first = remembering.gzip(Pieces(pieces), kind="text")
    assert len(compressed) == 100
    compressed.clear()
    assert remembering.gzip(Pieces(pieces), kind="text") == first
    assert compressed == []
    pieces[50] = b"other" * 10_000
    assert plain(remembering.gzip(Pieces(pieces), kind="text")) == b"".join(pieces)
    assert compressed == [50_000]


def test_formats_do_not_make_each_other_forget(compressed: list[int]) -> None:
    """Each kind of body has the last one of its own; the oldest is forgotten where there are many."""
    bodies = {str(number): (b"%d" % number * 40_000,) for number in range(6)}
    remembering = Compression()
    for again in (False, True):
        for kind in list(bodies)[:4]:
            assert gzip.decompress(remembering.gzip(Pieces(bodies[kind]), kind=kind)) == bodies[kind][0]
        assert len(compressed) == 4, again
    for kind in bodies:
        remembering.gzip(Pieces(bodies[kind]), kind=kind)
    assert len(remembering._last) == 4


def test_a_scrape_in_which_nothing_changed(bridge: Make, compressed: list[int]) -> None:
    """But for the bridge's own metrics, which differ each time: they are all that is compressed."""
    setup = bridge(self_metrics=True, max_series_per_metric=5000)
    counter = setup.meter.create_counter("c")
    for number in range(5000):
        counter.add(1, {"some.attribute": f"some value {number}"})
    scrape = Scrape(setup.reader, cache_ttl=0)
    for _ in range(3):
        compressed.clear()
        response = scrape.respond(Request(headers={"accept-encoding": "gzip"}))
    assert b'c_total{some_attribute="some value 4999"} 1\n' in plain(response.body)
    assert sum(compressed) < len(plain(response.body)) / 5


def test_a_scrape_of_some_names_leaves_the_whole_body_remembered(bridge: Make, compressed: list[int]) -> None:
    """Who asks for a part between two scrapes of everything does not have everything compressed again."""
    setup = bridge(self_metrics=False, max_series_per_metric=5000)
    for name in ("a", "b"):
        counter = setup.meter.create_counter(name)
        for number in range(2000):
            counter.add(1, {"some.attribute": f"some value {number}"})
    scrape = Scrape(setup.reader, cache_ttl=0)
    headers = {"accept-encoding": "gzip"}
    whole = scrape.respond(Request(headers=headers))
    part = scrape.respond(Request(headers=headers, query="name[]=a_total"))
    assert plain(part.body) in plain(whole.body)
    compressed.clear()
    assert scrape.respond(Request(headers=headers)).body == whole.body
    assert compressed == []

"""Accept and Accept-Encoding headers choose the format and the compression, and never an error."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from otel_prom_bridge.exposition.negotiation import Format, Negotiated, accepts_gzip, negotiate
from otel_prom_bridge.exposition.schemes import Escaping

TEXT = Format.TEXT_0_0_4
TEXT_1 = Format.TEXT_1_0_0
OPENMETRICS_0 = Format.OPENMETRICS_0_0_1
OPENMETRICS = Format.OPENMETRICS_1_0_0

DELIMITED = Format.PROTOBUF

PROTOBUF = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"

# What Prometheus sends: prometheus/prometheus@d15adb9ad7e5 scrape/scrape_test.go:4635-4653, and
# scrape/scrape.go with config/config.go of the tags named.
SCRAPERS = {
    "3.x, underscore escaping": (
        "application/openmetrics-text;version=1.0.0;escaping=underscores;q=0.6,"
        "application/openmetrics-text;version=0.0.1;q=0.5,"
        "text/plain;version=1.0.0;escaping=underscores;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
        OPENMETRICS,
    ),
    "3.x, protobuf first, dots escaping": (
        f"{PROTOBUF};q=0.6,application/openmetrics-text;version=1.0.0;escaping=dots;q=0.5,"
        "application/openmetrics-text;version=0.0.1;q=0.4,"
        "text/plain;version=1.0.0;escaping=dots;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
        DELIMITED,
    ),
    "3.x, no escaping (default of v3.4.0 .. v3.14.0)": (
        "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
        "application/openmetrics-text;version=0.0.1;q=0.5,"
        "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
        OPENMETRICS,
    ),
    "3.x, protobuf first, no escaping": (
        f"{PROTOBUF};q=0.6,application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,"
        "application/openmetrics-text;version=0.0.1;q=0.4,"
        "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
        DELIMITED,
    ),
    "v2.30.0 .. v2.33.0": (
        "application/openmetrics-text; version=0.0.1,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
        OPENMETRICS_0,
    ),
    "v2.34.0 .. v2.48.0 but v2.40.0": (
        "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
        "text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
        OPENMETRICS,
    ),
    "v2.40.0": (
        "application/openmetrics-text;version=1.0.0;q=0.75,application/openmetrics-text;q=0.6,"
        "text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
        OPENMETRICS,
    ),
    # An illegal weight, mended in v2.49.1: it must neither win nor fail.
    "v2.49.0": (
        "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,"
        "text/plain;version=0.0.4;q=0.3,*/*;q=2",
        OPENMETRICS,
    ),
    "v2.50.0 .. v2.55.0": (
        "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,"
        "text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
        OPENMETRICS,
    ),
    # The escaping twice in one range.
    "v3.0.0 .. v3.2.0": (
        "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
        "application/openmetrics-text;version=0.0.1;escaping=allow-utf-8;q=0.5,"
        "text/plain;version=1.0.0;escaping=allow-utf-8;escaping=allow-utf-8;q=0.4,"
        "text/plain;version=0.0.4;escaping=allow-utf-8;q=0.3,*/*;q=0.2",
        OPENMETRICS,
    ),
    "v3.3.0": (
        "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
        "application/openmetrics-text;version=0.0.1;escaping=allow-utf-8;q=0.5,"
        "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
        "text/plain;version=0.0.4;escaping=allow-utf-8;q=0.3,*/*;q=0.2",
        OPENMETRICS,
    ),
    "v2.40.0, native histograms": (
        "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited,"
        "application/openmetrics-text;version=1.0.0;q=0.75,application/openmetrics-text;q=0.6,"
        "text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
        DELIMITED,
    ),
    "v2.41.0 .. v2.48.0, native histograms": (
        f"{PROTOBUF},application/openmetrics-text;version=1.0.0;q=0.8,"
        "application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
        DELIMITED,
    ),
}


@pytest.mark.parametrize(("accept", "expected"), SCRAPERS.values(), ids=SCRAPERS)
def test_scrapers(accept: str, expected: Format) -> None:
    """Every Prometheus since 2.30 gets the best format that it asks for and we have."""
    assert negotiate(accept).format is expected


# prometheus/common@d2417e2cbb82 expfmt/encode_test.go:37-258 (TestNegotiate…), by media type and version;
# there the content type carries the escaping for every version, here from 1.0.0 on.
GO = [
    # of the protobuf encodings we have the delimited one; asked for another alone, text 0.0.4
    (PROTOBUF, DELIMITED),
    ("application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=text", TEXT),
    ("application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=compact-text", TEXT),
    (f"{PROTOBUF}; escaping=allow-utf-8;", DELIMITED),
    (f"{PROTOBUF}; escaping=underscores;", DELIMITED),
    ("text/plain;version=0.0.4;", TEXT),
    ("text/plain;version=0.0.4; escaping=allow-utf-8", TEXT),
    ("application/openmetrics-text;version=0.0.1; escaping=underscores", OPENMETRICS_0),
    ("application/openmetrics-text;version=0.0.1", OPENMETRICS_0),
    ("application/openmetrics-text;version=2.0.0", TEXT),
    ("application/unknown", TEXT),
]

# prometheus/docs@c105550aad07 docs/instrumenting/content_negotiation.md:92-103, and without a header
# open-telemetry/opentelemetry-specification@1377f53b2bc0
# specification/metrics/sdk_exporters/prometheus.md:175-177
FALLBACK: list[tuple[str | None, Format]] = [
    (None, TEXT),
    ("", TEXT),
    ("   ", TEXT),
    (",", TEXT),
    (";;;,,,", TEXT),
    ("application/json", TEXT),
    ("text/html", TEXT),
]

WEIGHTS = [
    # the highest weight wins, wherever it stands
    ("text/plain;version=0.0.4;q=0.5,application/openmetrics-text;version=1.0.0;q=0.6", OPENMETRICS),
    ("text/plain;version=0.0.4;q=0.6,application/openmetrics-text;version=1.0.0;q=0.5", TEXT),
    ("application/openmetrics-text;version=1.0.0;q=0.001,text/plain;version=1.0.0;q=0.002", TEXT_1),
    ("application/openmetrics-text;version=1.0.0;q=0.1,text/plain;version=1.0.0", TEXT_1),
    ("application/openmetrics-text;version=0.0.1,text/plain;q=0.9", OPENMETRICS_0),
    # of equal weights, the first
    ("text/plain;version=1.0.0,application/openmetrics-text;version=1.0.0", TEXT_1),
    ("application/openmetrics-text;version=1.0.0,text/plain;version=1.0.0", OPENMETRICS),
    ("text/plain;version=1.0.0;q=1.0,application/openmetrics-text;version=1.0.0;q=1", TEXT_1),
    # 0 means "not acceptable"
    ("application/openmetrics-text;version=1.0.0;q=0", TEXT),
    ("application/openmetrics-text;version=1.0.0;q=0.000,text/plain;version=1.0.0;q=0.1", TEXT_1),
    ("application/openmetrics-text;version=1.0.0;q=0,*/*", TEXT),
    # what the RFC does not allow never wins
    ("application/openmetrics-text;version=1.0.0;q=2,text/plain;version=1.0.0;q=0.1", TEXT_1),
    ("application/openmetrics-text;version=1.0.0;q=-1", TEXT),
    ("application/openmetrics-text;version=1.0.0;q=nan", TEXT),
    ("application/openmetrics-text;version=1.0.0;q=inf", TEXT),
    ("application/openmetrics-text;version=1.0.0;q=1e0", TEXT),
    ("application/openmetrics-text;version=1.0.0;q=high", TEXT),
    ("application/openmetrics-text;version=1.0.0;q=", TEXT),
    ("application/openmetrics-text;version=1.0.0;q", TEXT),
]

SYNTAX = [
    # parameters in quotes
    ('application/openmetrics-text;version="1.0.0"', OPENMETRICS),
    ('application/openmetrics-text; version="1.0.0"; charset="utf-8"; q="0.5"', OPENMETRICS),
    (r'application/openmetrics-text;version="1\.0.0"', OPENMETRICS),
    # commas, semicolons and quotes in quotes mean nothing
    ('text/plain;x="a,b;q=0";version=1.0.0', TEXT_1),
    (r'text/plain;x="\",application/openmetrics-text;version=1.0.0";version=1.0.0', TEXT_1),
    # a quote that is never closed hides what follows
    ('text/plain;version=1.0.0,text/html;x=",application/openmetrics-text;version=1.0.0', TEXT_1),
    # the case of names does not matter
    ("APPLICATION/OPENMETRICS-TEXT;VERSION=1.0.0;Q=0.5,TEXT/PLAIN;Q=0.4", OPENMETRICS),
    ("Application/OpenMetrics-Text; Version=1.0.0", OPENMETRICS),
    # nor does whitespace
    (" application/openmetrics-text ;\tversion = 1.0.0 ; q = 0.5 ,  text/plain ; q=0.4 ", OPENMETRICS),
    # nor do empty elements and parameters that we do not know
    (",,application/openmetrics-text;;version=1.0.0;charset=utf-8;foo;=bar,", OPENMETRICS),
    # of a parameter that is there twice, the first counts
    ("application/openmetrics-text;version=1.0.0;version=9.9.9", OPENMETRICS),
]

VERSIONS = [
    # Without a version, OpenMetrics is "the oldest version of the standard (i.e. 1.0.0)", says the standard.
    # prometheus_client 0.26 answers so (choose_encoder); client_golang answers with the draft 0.0.1.
    # Prometheus itself always names a version, and reads 0.0.1 and 1.0.0 with one parser.
    ("application/openmetrics-text", OPENMETRICS),
    ("application/openmetrics-text;q=0.5,text/plain;q=0.4", OPENMETRICS),
    ("text/plain", TEXT),
    ("text/plain;version=1.0.0", TEXT_1),
    # unknown versions are not ours, and nothing of the header comes back
    ("application/openmetrics-text;version=2.0.0,text/plain;version=1.0.0;q=0.5", TEXT_1),
    ("application/openmetrics-text;version=9.9.9", TEXT),
    ("application/openmetrics-text;version=1.0", TEXT),
    ("application/openmetrics-text;version=1.0.0-evil", TEXT),
    ("text/plain;version=9.9.9", TEXT),
    ("text/plain;version=0.0.1,application/openmetrics-text;version=1.0.0;q=0.1", OPENMETRICS),
]

WILDCARDS = [
    ("*/*", TEXT),
    ("text/*", TEXT),
    ("application/*", OPENMETRICS),
    ("*", TEXT),
    ("*/plain", TEXT),
    ("*/*;q=0.9,application/openmetrics-text;version=1.0.0;q=0.8", TEXT),
    # of equal weights, the more specific range
    ("*/*,application/openmetrics-text;version=1.0.0", OPENMETRICS),
    ("text/*,application/openmetrics-text;version=1.0.0", OPENMETRICS),
    ("*/*,application/*", OPENMETRICS),
    ("*/*;q=0,application/*;q=0.1", OPENMETRICS),
    # what browsers and curl send
    ("text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8", TEXT),
]


@pytest.mark.parametrize(
    ("accept", "expected"), [*GO, *FALLBACK, *WEIGHTS, *SYNTAX, *VERSIONS, *WILDCARDS], ids=repr
)
def test_format(accept: str | None, expected: Format) -> None:
    """The format is the one with the highest weight that we have, and text 0.0.4 if there is none."""
    assert negotiate(accept).format is expected


@pytest.mark.parametrize(
    ("accept", "version"),
    [
        # What Prometheus 3.15 asks with --enable-feature=openmetrics2, and what others ask.
        (
            "application/openmetrics-text;version=2.0.0;escaping=allow-utf-8;q=0.6,"
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,*/*;q=0.1",
            "2.0.0",
        ),
        ("application/openmetrics-text;version=2.0.0", "2.0.0"),
        (
            "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=2.0.0;q=0.9",
            "1.0.0",
        ),
        ("application/openmetrics-text", "1.0.0"),
        ("application/*", "1.0.0"),
        ("*/*", "0.0.4"),
        ("application/openmetrics-text;version=2.0.0;q=0", "0.0.4"),
    ],
)
def test_openmetrics_2_only_by_its_version(accept: str, version: str) -> None:
    """With the option, it is the answer to who asks for it by its version; without, it is never one."""
    assert f"version={version};" in negotiate(accept, openmetrics_2=True).content_type
    assert "version=2.0.0" not in negotiate(accept).content_type


# prometheus/docs@c105550aad07 docs/instrumenting/content_negotiation.md:105-112, and for the two versions
# that are older than escaping what their scrapers have always got, unless they ask for a scheme.
@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        (None, "text/plain; version=0.0.4; charset=utf-8"),
        (
            "text/plain;version=0.0.4;escaping=values",
            "text/plain; version=0.0.4; charset=utf-8; escaping=values",
        ),
        ("text/plain;version=1.0.0", "text/plain; version=1.0.0; charset=utf-8; escaping=underscores"),
        (
            "text/plain;version=1.0.0;escaping=allow-utf-8",
            "text/plain; version=1.0.0; charset=utf-8; escaping=allow-utf-8",
        ),
        (
            "application/openmetrics-text",
            "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=underscores",
        ),
        (
            "application/openmetrics-text;version=1.0.0;escaping=DOTS",
            "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=dots",
        ),
        (
            "application/openmetrics-text;version=1.0.0;escaping=evil\r\nSet-Cookie: x",
            "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=underscores",
        ),
        (
            PROTOBUF,
            "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; "
            "encoding=delimited; escaping=underscores",
        ),
    ],
)
def test_content_types(accept: str | None, content_type: str) -> None:
    """A content type says type, version, charset and the escaping, which is validated and never echoed."""
    assert negotiate(accept).content_type == content_type


@pytest.mark.parametrize("scheme", Escaping)
@pytest.mark.parametrize("format", Format)
def test_a_format_is_what_its_content_type_asks_for(format: Format, scheme: Escaping) -> None:
    """Our own content types are understood, and say which body to expect."""
    choice = Negotiated(format, scheme)
    assert negotiate(choice.content_type, openmetrics_2=True) == choice


# Fragments of headers, so that random sequences of them are nearly headers.
types = ["application/openmetrics-text", "text/plain", "*/*", "text/*", "gzip", "*", "identity"]
marks = [";", ",", "=", "/", '"', "\\", " ", "\t", "\n", "\x00", "é"]
pieces = st.sampled_from([*types, *marks, ";q=", "q", "0", "1", "0.5", "2", "version=", "1.0.0", "0.0.4"])
headers = st.text() | st.lists(pieces, max_size=30).map("".join)


@given(headers)
@example('"')
@example("\\")
@example('text/plain;version="')
@example('text/plain;version="\\')
@example("text/plain;q=\u0660.\u0665")  # Arabic digits, which float() reads
@example("text/plain;q=²")
@example("\ud800")
def test_any_accept_header_gives_a_format(accept: str) -> None:
    """Whatever the header says, the answer is a format; OpenMetrics only if the header mentions it."""
    found = negotiate(accept)
    assert isinstance(found.format, Format)
    if "openmetrics" in found.content_type:
        assert re.search(r"application/(openmetrics-text|\*)", accept, re.IGNORECASE)


@given(
    st.permutations(
        [f"text/plain;version={v};q=0.{q}" for q, v in enumerate(("9", "8", "0.0.4", "1.0.0"), 1)]
    )
)
def test_the_order_of_different_weights_does_not_matter(ranges: list[str]) -> None:
    """Ranges of different weights mean the same in any order."""
    assert negotiate(",".join(ranges)).format is TEXT_1


GARBAGE = {
    "letters": "x" * 10_000,
    "quotes": '"' * 10_001,
    "escapes": "\\" * 10_000,
    # the search for the end of every one of these quotes took 0.7 s
    "escaped quotes": '"' + '\\"' * 5_000,
    "commas": "," * 10_000,
    "semicolons": ";" * 10_000,
    "ranges": "text/html;q=0.5," * 700,
    "equals": "text/plain;" + "q=" * 5_000,
    "binary": "".join(map(chr, range(256))) * 40,
}


@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE)
def test_forty_kilobytes_of_garbage(garbage: str) -> None:
    """A header of forty kilobytes of garbage is answered like none, and at once."""
    start = time.thread_time()
    found = negotiate(garbage * 4).format, accepts_gzip(garbage * 4)
    assert time.thread_time() - start < 3  # milliseconds; what grows with the square takes 11 s
    assert found == (TEXT, False)


def test_only_the_start_of_a_header_is_read() -> None:
    """What stands at the start of a header counts, whatever follows; what stands behind 2 KB does not."""
    accept, garbage = "application/openmetrics-text;version=1.0.0", "x" * 2_100
    assert negotiate(f"{accept},{garbage}").format is OPENMETRICS
    assert negotiate(f"{garbage},{accept}").format is TEXT
    assert accepts_gzip(f"gzip,{garbage}")
    assert not accepts_gzip(f"{garbage},gzip")


# https://www.rfc-editor.org/rfc/rfc9110#name-accept-encoding
ENCODINGS: list[tuple[str | None, bool]] = [
    (None, False),
    ("", False),
    ("gzip", True),
    ("GZIP", True),
    (" gzip ; q=1.0 ", True),
    ("gzip;q=0.001", True),
    ("gzip;q=0", False),
    ("gzip;q=0.000", False),
    ("gzip; Q=0", False),
    ("gzip;q=2", False),
    ("gzip;q=", False),
    ("*", True),
    ("*;q=0", False),
    ("identity", False),
    ("zstd", False),
    ("x-gzipped", False),
    ("deflate, br, zstd", False),
    ("deflate, gzip;q=0.5, br", True),
    # what is named counts before the wildcard, wherever it stands
    ("gzip;q=0, *", False),
    ("*, gzip;q=0", False),
    ("*;q=0, gzip", True),
    ("identity, *;q=0.1", True),
    ("identity;q=0", False),
    # what Prometheus, browsers and curl --compressed send
    ("gzip, deflate, br, zstd", True),
    ("deflate, gzip, br, zstd", True),
]


@pytest.mark.parametrize(("accept_encoding", "expected"), ENCODINGS, ids=repr)
def test_gzip(accept_encoding: str | None, expected: bool) -> None:
    """A body may be compressed if the header allows gzip, by its name or by the wildcard."""
    assert accepts_gzip(accept_encoding) is expected


@given(headers)
@example('gzip;"')
@example("\ud800")
def test_any_accept_encoding_header_gives_an_answer(accept_encoding: str) -> None:
    """Whatever the header says, the answer is yes or no; yes only if it mentions gzip or a wildcard."""
    found = accepts_gzip(accept_encoding)
    assert isinstance(found, bool)
    assert not found or re.search(r"gzip|\*", accept_encoding, re.IGNORECASE)

"""What keeps labels small, whatever is recorded.

A value that is as long as a request makes the whole answer too long for a scraper with
``label_value_length_limit``, which then drops all of it. And a label whose values clients choose, such as
the Host header, has as many values as somebody cares to send. What is cut or folded here is counted and
logged once; sums stay exact, since what becomes equal becomes one series.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from otel_prom_bridge.rules.rule import OTHER
from otel_prom_bridge.translate.labels import label_value, shortened

# Databases have limits of their own: Mimir takes 2048 bytes, VictoriaMetrics 4096.
DEFAULT_VALUE_LENGTH = 1024
DEFAULT_LABELS = 64
DEFAULT_HELP_LENGTH = 1024
DEFAULT_CLIENT_VALUES = 50
# The lines of a histogram by the series that a metric may have, where nobody names a number of lines. With
# 2,000 series that is 10,000 lines, or 555 series of a histogram with 15 buckets: each takes 18 lines,
# one for each bucket, and those of +Inf, sum and count.
LINES_PER_SERIES = 5

# The options that set them, which are also the rules by which points with folded labels are counted.
VALUE_LENGTH, LABELS, CLIENT_VALUES = "max_label_value_length", "max_labels", "max_client_values"

# Attributes that come from a request, of today's HTTP conventions and of those before.
# https://opentelemetry.io/docs/specs/semconv/registry/attributes/http/
_OF_REQUESTS = re.compile(
    r"net\.host\.name|http\.(host|server_name|target|url|user_agent|client_ip|method)|http\.request\.method"
    r"|http\.request\.header\..*|url\.(full|original|path|query|fragment)|user_agent(\..*)?|client\.address"
)
# The same where a server records them. Of a client they are what the application asked for.
_OF_SERVERS = re.compile(
    r"server\.(address|port)|net\.host\.port|client\.port|net(work)?\.(sock\.)?peer\.(addr|address|ip|name|port)"
)
_SERVER = re.compile(r"(^|[._])server([._]|$)")


def comes_from_clients(key: str, metric: str) -> bool:
    """Whether clients choose the values of this attribute in points of this metric.

    >>> comes_from_clients("server.address", "http.server.request.duration")
    True
    >>> comes_from_clients("server.address", "http.client.request.duration")
    False
    """
    if _OF_REQUESTS.fullmatch(key):
        return True
    return _OF_SERVERS.fullmatch(key) is not None and _SERVER.search(metric) is not None


class LabelBounds(NamedTuple):
    """How large labels may be; 0 stands for no limit.

    ``value_length`` is the number of characters of a value, ``labels`` the number of labels of a series, and
    ``client_values`` the number of values that a label has whose values clients choose.
    """

    value_length: int = DEFAULT_VALUE_LENGTH
    labels: int = DEFAULT_LABELS
    client_values: int = DEFAULT_CLIENT_VALUES

    def cut(self, value: object) -> str | None:
        """The beginning of a value whose text is too long; None if it is not."""
        longest = self.value_length
        if not longest or value is None or isinstance(value, (bool, float)):
            return None
        if isinstance(value, int) and value.bit_length() < 3 * longest:
            return None
        text = value if type(value) is str else label_value(value)
        return None if len(text) <= longest else shortened(text, longest)

    def too_many(self, labels: Mapping[str, object], *, first: frozenset[str]) -> list[str]:
        """The labels that have to go: the last ones of the alphabet, but for those of ``first``."""
        if not self.labels or len(labels) <= self.labels:
            return []
        return sorted(labels, key=lambda label: (label not in first, label))[self.labels :]


class ClientValues:
    """The first values of each label that clients chose; later ones are ``other``."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._seen: dict[str, set[str]] = {}
        self.is_pressed = False  # some value came too late

    def folded(self, label: str, value: object) -> bool:
        """Whether this value comes too late."""
        text = value if type(value) is str else label_value(value)
        seen = self._seen.setdefault(label, set())
        if text in seen or text == OTHER:
            return False
        if len(seen) < self._most:
            seen.add(text)
            return False
        self.is_pressed = True
        return True

    def knows(self, label: str, value: object) -> bool:
        """Whether this value came before, in time."""
        text = value if type(value) is str else label_value(value)
        return text in self._seen.get(label, ()) or text == OTHER

    def keep(self, kept: Iterable[Mapping[str, object]]) -> bool:
        """Forget the values that are in none of these attribute sets. True if others may come now."""
        found: dict[str, set[str]] = {}
        for attributes in kept:
            for label in self._seen.keys() & attributes.keys():
                found.setdefault(label, set()).add(label_value(attributes[label]))
        before = self._seen
        self._seen = {label: seen & found.get(label, set()) for label, seen in before.items()}
        self.is_pressed = False
        return self._seen != before

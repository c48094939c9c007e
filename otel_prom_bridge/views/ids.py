"""Attributes that nobody meant as labels: those whose values are ids, whatever their keys are.

An id of a run or a cycle makes a series of its own each time, and a list of keys never has all of them. So
the first different values of an attribute are looked at. If they look like ids, the attribute is one: it
becomes no label from then on, as if its key said so. A value is looked at once for each new attribute set.

Some ids are what labels are for, because there are few of them: of hosts, pods, tenants, builds. Their keys
say so. The attributes of the semantic conventions are left alone, too: ``is_identifier`` knows their ids.
"""

from __future__ import annotations

import re
from functools import lru_cache

from otel_prom_bridge.rules.words import are_words, is_mixed_up, is_scrambled
from otel_prom_bridge.translate.labels import label_value

VALUES_LIKE_IDS = "values_like_ids"  # the rule by which points are counted that lose a label here

# So many different values have to look like ids before an attribute is one. Before that they are labels.
FIRST_VALUES = 3
_KEYS_WATCHED = 1000
_NOTHING: tuple[set[str], set[str]] = (set(), set())

_UUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", re.IGNORECASE)
# Crockford's base 32 has no I, L, O and U. The time in front begins with a digit up to 7.
# https://github.com/ulid/spec
# Others put the kind of thing before it: https://github.com/jetify-com/typeid
_ULID = re.compile(
    r"(?:[A-Za-z]{1,20}[-_:])?(?P<ulid>[0-7][0-9A-HJKMNP-TV-Z]{25}|[0-7][0-9a-hjkmnp-tv-z]{25})"
)
_HEX = re.compile(r"[0-9a-f]{16,}|[0-9A-F]{16,}")
# Hexadecimal digits among others: `00-<trace>-<span>-01`, `user:65a…`. Digits alone may be a time.
_HEX_INSIDE = re.compile(r"(?<![0-9A-Za-z])(?=[0-9]*[a-f])(?=[a-f]*[0-9])[0-9a-f]{20,}(?![0-9A-Za-z])")
# An address, as in what Python writes of an object. Codes of errors and colours have eight digits at most.
_ADDRESS = re.compile(r"(?<![0-9A-Za-z])0x[0-9A-Fa-f]{9,}(?![0-9A-Za-z])")
# How providers of models and frameworks of agents begin their ids. What follows is no word, no date and no
# short number: `step_retrieve_documents2` is the name of a step, and `batch_2026_11_29` that of a batch.
_PREFIXED = re.compile(
    r"(?:call|msg|run|resp|req|thread|chatcmpl|cmpl|toolu|tool|asst|step|file|batch|evt|ses|sess|conv|trace|span"
    r"|event|task|job|item|rs|fc|vs|ws|cycle|checkpoint|ckpt|session|message|response|request)[-_]"
    r"(?P<rest>(?=[A-Za-z0-9_-]*[0-9])[A-Za-z0-9_-]{8,})"
)
_ONE_WORD = re.compile(r"[A-Za-z0-9]{16,}")
_BASE64 = re.compile(r"[A-Za-z0-9_-]{16,}|[A-Za-z0-9+/]{16,}={1,2}")
_PARTS = re.compile(r"[-_]")
_DATE = re.compile(r"(?:19|20)\d\d[01]\d[0-3]\d(?:T?[0-2]\d[0-5]\d(?:[0-5]\d(?:\d{3,9})?)?Z?)?")
_LONGEST = 512

# In a key these words stand for things of which there are few, or whose ids are versions.
_FEW = frozenset(
    {
        *("host", "hostname", "node", "pod", "container", "instance", "machine", "server", "cluster", "zone"),
        *("region", "device", "gpu", "disk", "volume", "interface", "vm", "service", "app", "application"),
        *("tenant", "customer", "account", "org", "organization", "team", "project", "workspace", "agent"),
        *("deployment", "version", "revision", "commit", "sha", "digest", "build", "release", "ref", "image"),
        *(
            "model",
            "fingerprint",
            "pool",
            "shard",
            "topic",
            "partition",
            "queue",
            "table",
            "database",
            "route",
        ),
        *(
            "state",
            "status",
            "path",
            "url",
            "worker",
            "replica",
            "provider",
            "checksum",
            "bucket",
            "category",
            "type",
            "kind",
        ),
    }
)
# The first words of the conventions' attributes.
# https://opentelemetry.io/docs/specs/semconv/registry/attributes/
_NAMESPACES = frozenset(
    {
        *("android", "app", "artifact", "aspnetcore", "aws", "az", "azure", "browser", "cassandra"),
        *("cicd", "client", "cloud", "cloudevents", "cloudfoundry", "code", "container", "cpu"),
        *("cpython", "db", "deployment", "destination", "device", "disk", "dns", "dotnet"),
        *("elasticsearch", "enduser", "error", "event", "exception", "faas", "feature_flag", "file"),
        *("gcp", "gen_ai", "geo", "go", "graphql", "hardware", "heroku", "host", "http", "hw", "ios"),
        *("jsonrpc", "jvm", "k8s", "linux", "log", "mainframe", "mcp", "message", "messaging", "net"),
        *("network", "nfs", "nodejs", "oci", "onc_rpc", "openai", "openshift", "opentracing", "oracle"),
        *("oracle_cloud", "os", "otel", "peer", "pprof", "process", "profile", "rpc", "security_rule"),
        *("server", "service", "session", "signalr", "source", "state", "system", "telemetry", "test"),
        *("thread", "tls", "url", "user", "user_agent", "v8js", "vcs", "webengine", "zos"),
    }
)
_WORDS = re.compile(r"[^A-Za-z0-9]+|(?<=[a-z0-9])(?=[A-Z])")


def looks_like_id(text: str) -> bool:
    """Whether a value looks like the id of one thing.

    >>> values = ("1ab76342-0ca9-41d5-886c-583068d2de47", "call_9XbG2kPq", "gpt-4o-2024-08-06", "checkout")
    >>> [looks_like_id(text) for text in values]
    [True, True, False, False]
    """
    if len(text) > _LONGEST or _DATE.fullmatch(text):
        return False
    if _UUID.search(text) or _HEX.fullmatch(text) or _HEX_INSIDE.search(text) or _ADDRESS.search(text):
        return True
    prefixed = _PREFIXED.fullmatch(text)
    if prefixed is not None and _is_random(prefixed["rest"]):
        return True
    ulid = _ULID.fullmatch(text)
    if ulid is not None and sum(map(str.isdigit, ulid["ulid"])) > 1:
        return True
    if _ONE_WORD.fullmatch(text) and any(map(str.isdigit, text)) and not are_words(text):
        return True
    return _BASE64.fullmatch(text) is not None and is_mixed_up(text.rstrip("="))


def _is_random(text: str) -> bool:
    """Whether what follows the beginning of an id is one."""
    return is_mixed_up(text) or any(
        len(part) >= 8 and any(map(str.isdigit, part)) and not _DATE.fullmatch(part) and not are_words(part)
        for part in _PARTS.split(text)
    )


@lru_cache(maxsize=1000)
def may_be_id(key: str) -> bool:
    """Whether nothing in a key says that its values are no ids, or that there are few of them.

    >>> [may_be_id(key) for key in ("loop.token", "tenant_uuid", "http.route", "gitCommit")]
    [True, False, False, False]
    """
    namespace, dot, _ = key.partition(".")
    if dot and namespace in _NAMESPACES:
        return False
    return _FEW.isdisjoint(word.lower() for word in _WORDS.split(key[-256:]))


class Ids:
    """Watches the values of attributes until it is known whether these are ids."""

    def __init__(self) -> None:
        # Of a key that is watched: the different values that look like ids, and how many do not.
        self._watched: dict[str, tuple[set[str], set[str]]] = {}
        self.settled: dict[str, bool] = {}  # whether a key is one of ids, where that is known

    def is_id(self, key: str, value: object) -> bool:
        """Whether this attribute is an id, as far as its values so far tell."""
        known = self.settled.get(key)
        if known is not None:
            return known
        if isinstance(value, bool | float) or len(self.settled) + len(self._watched) >= _KEYS_WATCHED:
            return False
        if not may_be_id(key):
            self.settled[key] = False
            return False
        ids, others = self._watched.setdefault(key, (set(), set()))
        text = label_value(value)[: _LONGEST + 1]
        if text in others or text in ids:  # most values come again and again
            return False
        (ids if looks_like_id(text) or is_scrambled(text) else others).add(text)
        # A random word of digits and letters looks like a number or a word once in a while.
        if len(ids) >= FIRST_VALUES and len(ids) >= FIRST_VALUES * len(others):
            return self._settle(key, is_id=True)
        if len(others) >= FIRST_VALUES:
            return self._settle(key, is_id=False)
        return False

    def knows(self, key: str, value: object) -> bool:
        """Whether this value of a key that is not settled says nothing new."""
        if type(value) is not str:
            if isinstance(value, bool | float):
                return True
            value = label_value(value)
        ids, others = self._watched.get(key, _NOTHING)
        return value in others or value in ids

    def _settle(self, key: str, *, is_id: bool) -> bool:
        del self._watched[key]
        self.settled[key] = is_id
        return is_id

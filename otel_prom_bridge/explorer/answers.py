"""Questions and answers of the explorer: a path and a query, and what is sent back; no sockets.

The page is at the explorer's own path, and the JSON below ``api/v1/``. Every answer has the ``version`` of
this interface, and ``schema.json`` describes all of them. Within a version, fields may come and none goes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import NamedTuple
from urllib.parse import parse_qs

from otel_prom_bridge.errors import ExpositionError
from otel_prom_bridge.explorer.as_json import Json, text
from otel_prom_bridge.explorer.health import Scrapes, health_answer
from otel_prom_bridge.explorer.labels import Counted, largest, of_one
from otel_prom_bridge.explorer.looking import Look, Subject, inside_of, look_at
from otel_prom_bridge.explorer.models import has_models, models_answer
from otel_prom_bridge.explorer.overview import Rows, overview
from otel_prom_bridge.explorer.page import page, schema
from otel_prom_bridge.explorer.provenance import origin_answer
from otel_prom_bridge.explorer.series import MOST_ROWS, ROWS, Question, family_answer, labels_of
from otel_prom_bridge.families import MetricFamily
from otel_prom_bridge.report.facts import Facts

VERSION = 1
API = "/api/v1/"
_MOST_FIELDS, _MOST_LABELS = 100, 20
_JSON = "application/json; charset=utf-8"
# What is shown is for whoever may see it now, and for nobody who finds it in a cache.
_HEADERS = (
    ("Cache-Control", "no-store"),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
)


class Answer(NamedTuple):
    """What is sent back."""

    status: int
    content_type: str
    body: bytes
    headers: tuple[tuple[str, str], ...] = _HEADERS


class _RefusalError(Exception):
    """A question that cannot be answered, with the status and the words for that."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


class Explorer:
    """Shows one source. It may be used from any thread, and does nothing while nobody asks.

    ``trace_url`` is the template of the link from an exemplar to its trace. ``configuration`` says what was
    wrong with the options, and ``title`` what is looked at.
    """

    def __init__(
        self, source: Subject, *, trace_url: str = "", configuration: Sequence[str] = (), title: str = ""
    ) -> None:
        self._source = source
        self._inside = inside_of(source)
        self._trace_url = trace_url
        self._configuration = configuration
        self._title = title
        self._rows = Rows()
        self._counted = Counted()
        self.scrapes = Scrapes()

    def answer(self, path: str, query: str, *, metrics_path: str) -> Answer:
        """The answer to a request for what is at this path below the explorer's own."""
        if path in ("", "/"):
            found = page()
            return Answer(200, "text/html; charset=utf-8", found.body, (*_HEADERS, *found.headers))
        try:
            if path == f"{API}schema":
                return Answer(200, "application/schema+json", schema())
            name = path.removeprefix(API) if path.startswith(API) else ""
            make = self._answers.get(name)
            if make is None:
                known = ", ".join(f"{API}{item}" for item in (*self._answers, "schema"))
                raise _RefusalError(404, f"nothing at this path; there is: {known}")
            return _json(200, make(_fields(query), metrics_path))
        except _RefusalError as refusal:
            return _json(refusal.status, {"error": refusal.text})
        except ExpositionError as error:
            return _json(502, {"error": str(error)})

    @cached_property
    def _answers(self) -> Mapping[str, Callable[[_Fields, str], Json]]:
        return {
            "overview": self._overview,
            "family": self._family,
            "cardinality": self._cardinality,
            "origin": self._origin,
            "models": self._models,
            "health": self._health,
        }

    def _look(self) -> Look:
        if self._source.is_shut_down:
            raise _RefusalError(503, "the metric reader has been shut down")
        if (hub := getattr(self._source, "hub", None)) is not None:
            raise _RefusalError(503, f"the metrics of this process are at the hub, {hub}: look there")
        return look_at(self._source)

    def _facts(self) -> Facts | None:
        return None if self._inside is None else self._inside.facts()

    def _overview(self, fields: _Fields, metrics_path: str) -> Json:
        look = self._look()
        return {
            **overview(look, self._rows, self._facts()),
            "title": self._title,
            "ours": self._inside is not None,
            "healthy": bool(self._source.is_healthy),
            "models": has_models(look.families),
            "trace_url": self._trace_url,
            "metrics_path": metrics_path,
        }

    def _family(self, fields: _Fields, metrics_path: str) -> Json:
        look = self._look()
        family = _found(look, fields)
        labels = self._counted.of(family).labels
        return {
            "time": look.time,
            "family": self._rows.one(family),
            "labels": [{"name": text(label.name), "values": label.values} for label in labels],
            **family_answer(family, fields.question()),
        }

    def _cardinality(self, fields: _Fields, metrics_path: str) -> Json:
        look = self._look()
        if not fields.text("name"):
            return {"time": look.time, **largest(look, self._counted, self._facts())}
        family, without = _found(look, fields), fields.texts("without")[:_MOST_LABELS]
        answer = of_one(family, self._counted, self._inside, self._facts(), without)
        return {"time": look.time, **answer}

    def _origin(self, fields: _Fields, metrics_path: str) -> Json:
        family, wanted = _found(self._look(), fields), fields.text("series")
        labels = labels_of(family, wanted) if wanted else None
        if wanted and labels is None:
            raise _RefusalError(404, "no such series any more; the list of series has those that there are")
        return origin_answer(family.name, self._inside, self._facts(), labels)

    def _models(self, fields: _Fields, metrics_path: str) -> Json:
        look = self._look()
        return {"time": look.time, **models_answer(look.families)}

    def _health(self, fields: _Fields, metrics_path: str) -> Json:
        look = self._look() if self._inside is None else None
        return health_answer(
            self._source,
            self._facts(),
            self.scrapes,
            look=look,
            configuration=self._configuration,
            metrics_path=metrics_path,
        )


class _Fields:
    """The fields of a query."""

    def __init__(self, fields: Mapping[str, Sequence[str]]) -> None:
        self._fields = fields

    def text(self, name: str, default: str = "") -> str:
        """The first value of a field."""
        return self._fields.get(name, (default,))[0]

    def texts(self, name: str) -> Sequence[str]:
        """All values of a field."""
        return self._fields.get(name, ())

    def whole(self, name: str, default: int, most: int) -> int:
        """A whole number of at most so much."""
        given = self.text(name, str(default))
        if not (given.isascii() and given.isdigit() and len(given) < 10):
            raise _RefusalError(400, f"{name} is no whole number; send one from 0 to {most}")
        return min(int(given), most)

    def question(self) -> Question:
        """Which series of a family are wanted."""
        try:
            chosen = json.loads(self.text("filter", "{}"))
        except (ValueError, RecursionError):
            chosen = None
        if not isinstance(chosen, dict) or not all(isinstance(value, str) for value in chosen.values()):
            raise _RefusalError(400, 'filter is no object of labels in JSON; send one like {"code":"200"}')
        return Question(
            filter=chosen,
            search=self.text("search"),
            sort=self.text("sort", "value"),
            descending=self.text("order", "desc") != "asc",
            offset=self.whole("offset", 0, 10**9),
            limit=self.whole("limit", ROWS, MOST_ROWS),
        )


def _fields(query: str) -> _Fields:
    try:
        return _Fields(parse_qs(query, keep_blank_values=True, max_num_fields=_MOST_FIELDS))
    except ValueError:
        raise _RefusalError(400, f"more than {_MOST_FIELDS} fields in the query") from None


def _found(look: Look, fields: _Fields) -> MetricFamily:
    name = fields.text("name")
    family = look.find(name)
    if family is None:
        raise _RefusalError(404, f"there is no family {name[:200]!r} now; overview has those that there are")
    return family


def _json(status: int, answer: Json) -> Answer:
    body = json.dumps({"version": VERSION, **answer}, ensure_ascii=False, separators=(",", ":"))
    return Answer(status, _JSON, body.encode(errors="replace"))

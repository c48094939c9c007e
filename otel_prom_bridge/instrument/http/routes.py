"""Which route a request took: as the framework says, or else a template of its path.

A route is a label, so there must be few. What a framework says is bounded by its routes. A template of a
path is not, because any client can ask for any path. So there is none for paths under which nothing was
found, and no more than a hundred for one application.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, MutableMapping
from functools import lru_cache
from typing import Any

from otel_prom_bridge.recording.reports import failed, guarded, report
from otel_prom_bridge.rules import Rule

ROUTE = "otel_prom_bridge.http.route"
"""Where an application says the route, in a WSGI environ or an ASGI scope, if its framework does not."""

_MOST_TEMPLATES = 100
_REMEMBERED = 1024
_LONGEST = 2048  # characters of a path
# Nothing was found under the path, or it was not understood, so it is the client's own.
_NOT_FOUND = frozenset({400, 404, 405, 410, 414, 421, 501})
_OK = 200
_NOWHERE = "\n"  # is in no path
_PARAMETER = re.compile(r"\{([^{}:]+)(?::[^{}]*)?\}")


class Templates:
    """Templates of paths that no framework has a route for."""

    def __init__(self, template: Rule | None) -> None:
        # A template takes longer than all the rest of a request, and most requests are to few paths.
        self._template = None if template is None else lru_cache(maxsize=_REMEMBERED)(template)
        self._known: set[str] = set()

    def route(self, path: str, status: int | None) -> str | None:
        """The route of a path that was answered with this status."""
        if self._template is None or status is None or status in _NOT_FOUND:
            return None
        try:
            found = self._template(path[:_LONGEST])
        except Exception as error:
            failed("a template of a path", error)
            return None
        if found is None or found in self._known:
            return found
        if len(self._known) < _MOST_TEMPLATES:
            self._known.add(found)
            return found
        message = "requests to more than %d paths: others have no route"
        report(("templates", id(self)), message, len(self._known))
        return None


def asgi_route(scope: Mapping[str, Any], root: str) -> str | None:
    """The route that Starlette or FastAPI took, or the one that the application said.

    ``root`` is the root path that the request came with. A route knows its own part of the path only. What is
    before that comes from mounts and routers, and is found by its length.
    """
    said = scope.get(ROUTE)
    if said is not None:
        return str(said)
    tail = getattr(scope.get("route"), "path", None)
    if not isinstance(tail, str):
        return None
    path: str = scope["path"]
    path = path.removeprefix(root)
    parameters: Mapping[str, Any] = scope.get("path_params") or {}
    if tail == path or (not parameters and path.endswith(tail)):
        return path
    parts = _parts(tail)
    concrete = _filled(parts, parameters)
    if path == concrete:  # nothing is mounted, which is so for most
        return tail
    if path.endswith(concrete):
        head = path[: len(path) - len(concrete)]
    elif ":path}" in tail:
        return tail
    else:  # a value was converted: 007 is 7
        segments = path.split("/")
        head = "/".join(segments[: max(len(segments) - tail.count("/"), 0)])
    own = parts[1::2]
    others = {name: str(value) for name, value in parameters.items() if name not in own}
    return _with_names(head, others) + tail


@lru_cache(maxsize=_REMEMBERED)
def _parts(tail: str) -> tuple[str, ...]:
    """A path with parameters, taken apart: every second part is the name of one."""
    return tuple(_PARAMETER.split(tail))


def _filled(parts: tuple[str, ...], parameters: Mapping[str, Any]) -> str:
    filled = list(parts)
    for place in range(1, len(filled), 2):
        filled[place] = str(parameters.get(filled[place], _NOWHERE))
    return "".join(filled)


def _with_names(head: str, parameters: Mapping[str, str]) -> str:
    if not head or not parameters:
        return head
    by_value = {value: name for name, value in parameters.items()}
    segments = head.split("/")
    return "/".join(f"{{{by_value[part]}}}" if part in by_value else part for part in segments)


def wsgi_route(environ: Mapping[str, Any], root: str, templates: Templates) -> str | None:
    """The route that Flask took, or the one that the application said.

    ``root`` is the SCRIPT_NAME that the request came with. What is there more was put there by a dispatcher,
    before the rule of the application that it stands for. It may be a name, of a tenant for example.
    """
    said = environ.get(ROUTE)
    if said is not None:
        return str(said)
    rule = getattr(getattr(environ.get("werkzeug.request"), "url_rule", None), "rule", None)
    if not isinstance(rule, str):
        return None
    script: str = environ.get("SCRIPT_NAME", "")
    if script == root:
        return rule
    return (templates.route(script.removeprefix(root), _OK) or "") + rule


class DjangoRoute:
    """A middleware of Django that says which route a request took.

    It belongs into ``MIDDLEWARE``. Without it a template of the path is used.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[Any], Any]) -> None:
        self._get_response = get_response
        if inspect.iscoroutinefunction(get_response):
            # What Django asks of a class whose instances give something to be awaited.
            from asgiref.sync import markcoroutinefunction

            markcoroutinefunction(self)

    def __call__(self, request: Any) -> Any:
        """Pass a request on."""
        return self._get_response(request)

    def process_view(self, request: Any, view: Any, args: Any, options: Any) -> None:
        """Django has found the view."""
        with guarded("the route of a request"):
            route = getattr(request.resolver_match, "route", None)
            if isinstance(route, str):
                for place in (request.META, getattr(request, "scope", None)):
                    if isinstance(place, MutableMapping):
                        place[ROUTE] = f"/{route}"

"""The answers of guards that let nobody pass. They say what would, and nothing of what is behind."""

from __future__ import annotations

import math
from http import HTTPStatus

from otel_prom_bridge.endpoint.guards.networks import Address
from otel_prom_bridge.endpoint.messages import Response, refusal


def not_allowed(client: Address | None) -> Response:
    """To somebody outside of the allowed networks: the address that would have to be in them."""
    who = "a client whose address is not known" if client is None else str(client)
    return refusal(
        HTTPStatus.FORBIDDEN, f"this endpoint does not answer {who}: it is not in the allowed networks\n"
    )


def too_many(wait: float) -> Response:
    """To somebody who asks too often."""
    seconds = _seconds(wait)
    text = f"too many requests; the next one is answered in {seconds} s\n"
    return refusal(HTTPStatus.TOO_MANY_REQUESTS, text, ("Retry-After", str(seconds)))


def unauthorized(challenges: tuple[tuple[str, str], ...]) -> Response:
    """To somebody who has no credentials, or wrong ones: which it was is not said."""
    schemes = " or ".join(challenge.partition(" ")[0] for _, challenge in challenges)
    text = f"send valid credentials in an Authorization header: {schemes}\n"
    return refusal(HTTPStatus.UNAUTHORIZED, text, *challenges)


def failed() -> Response:
    """What a fault of a guard looks like: closed."""
    text = "a guard failed, so nothing is answered; the application's log says where\n"
    return refusal(HTTPStatus.INTERNAL_SERVER_ERROR, text)


def _seconds(wait: float) -> int:
    return max(1, math.ceil(min(wait, 1e9)))

"""Paths become templates: what names one thing goes, what a route is made of stays."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_prom_bridge.rules import PathTemplate

TEMPLATES = {
    # numbers, dates, addresses
    "/users/17": "/users/{number}",
    "/users/-1/x": "/users/{number}/x",
    "/geo/52.5163/13.3777": "/geo/{number}/{number}",
    "/on/2024-05-17/x": "/on/{date}/x",
    "/on/2024-05-17T10:30:00Z": "/on/{date}",
    "/on/2024-05-17T10%3A30%3A00%2B02%3A00": "/on/{date}",
    "/mail/ada@example.com": "/mail/{email}",
    "/mail/ada%40example.com": "/mail/{email}",
    "/hosts/10.0.0.1": "/hosts/{ip}",
    # UUIDs, hashes, ids
    "/u/550e8400-e29b-41d4-a716-446655440000/x": "/u/{uuid}/x",
    "/u/550E8400E29B41D4A716446655440000": "/u/{uuid}",
    "/u/%7B550e8400-e29b-41d4-a716-446655440000%7D": "/u/{uuid}",
    "/c/9f86d081884c7d659a2feaa0c55ad015a3bf4f1b": "/c/{hash}",
    "/c/9f86d081884c7d65": "/c/{hash}",
    "/c/a1b2c3d": "/c/{id}",
    "/t/01HQZXK3J5M8N9P2R4T6V8W0Y1": "/t/{id}",
    "/v1/threads/thread_abc123/messages/msg_01XFDUDYJgAACzvnptvVoYEL": "/v1/threads/{id}/messages/{id}",
    "/v1/responses/resp_67ccd2bed1ec8190b14f964abc054267": "/v1/responses/{id}",
    "/customers/cus_NffrFeUfNV2Hib": "/customers/{id}",
    "/customers/usr_8f3k2": "/customers/{id}",
    "/orders/order-12345": "/orders/{id}",
    "/blobs/dXNlcjpwYXNzd29yZA==": "/blobs/{id}",
    "/static/app.3f9d2c1b.js": "/static/{id}",
    "/posts/" + "why-" * 20: "/posts/{id}",
    # what is cut
    "/search?q=a#b": "/search",
    "/search#b?": "/search",
    "/shop;jsessionid=1F2E3D/cart;v=1": "/shop/cart",
    "https://api.example.com:443/v1/users/7?x=1": "/v1/users/{number}",
    "https://api.example.com": "/",
    "https://api.example.com?x=/1": "/",
    "//a///b/": "/a/b/",
    "/a/b/c/d/e/f/g/h/i/j/k/l/m": "/a/b/c/d/e/f/g/h/i/j/{more}",
}

ROUTES = [
    *(
        "",
        "/",
        "*",
        "/v1/chat/completions",
        "/chat-completions",
        "/api2/oauth2/token",
        "/v1beta1/v1p1beta1/x",
    ),
    *("/v1beta/models/gemini-1.5-pro:generateContent", "/openai/deployments/gpt-4o/chat/completions"),
    *("/models/llama-v3p1-70b-instruct", "/api/2.0/clusters/list", "/.well-known/openid-configuration"),
    *("/index.html", "/robots.txt", "/s3/k8s/i18n/utf8", "/hash/sha256", "/reports/report-2024"),
    *("/getUserByIdAndName", "/grpc.health.v1.Health/Check", "/google.pubsub.v1.Publisher/Publish", "/größe"),
    *("/users/{user_id}", "/users/<int:id>", "/users/:id", "/users/{number}/{uuid}/{more}", "users", "GET"),
]


@pytest.mark.parametrize(("value", "expected"), TEMPLATES.items())
def test_templates(value: str, expected: str) -> None:
    """Each part that names one thing among many is a placeholder, and nothing else is."""
    assert PathTemplate()(value) == expected


@pytest.mark.parametrize("value", ROUTES)
def test_routes_stay(value: str) -> None:
    """Versions, words, models and templates are what routes look like."""
    assert PathTemplate()(value) == value


@given(st.text(alphabet="abV1/.:;-_@%?#{}<>=0 \n"))
def test_a_template_stays(value: str) -> None:
    """A template of a template is the template."""
    template = PathTemplate(max_segments=3)(value)
    assert PathTemplate(max_segments=3)(template) == template


@given(st.text())
def test_segments_are_bounded(value: str) -> None:
    """However long the path is, it has so many segments and each so many characters."""
    segments = PathTemplate(max_segments=3)(value).removeprefix("/").split("/")
    assert len(segments) <= 5
    assert all(len(segment) <= 64 for segment in segments)


def test_patterns_first() -> None:
    """Patterns of the application are for whole segments, and come before ours."""
    template = PathTemplate([(r"\d+", "{user}"), (re.compile("T-[a-z]+", re.IGNORECASE), "{tenant}")])
    assert template("/t-acme/17/at-acme/17b") == "/{tenant}/{user}/at-acme/17b"

"""Paths become templates: what names one thing goes, what a route is made of stays."""

from __future__ import annotations

import re
import string
from itertools import islice
from random import Random

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
    "/orders/order-12345": "/orders/order-{id}",
    # numbers in longer segments
    "/x/1,2": "/x/{number}",
    "/x/1%2C2": "/x/{number}",
    "/items/1-2-3": "/items/{number}",
    "/at/12:30:45": "/at/{number}",
    "/sum/1_000": "/sum/{number}",
    "/img/123.png": "/img/{id}.png",
    "/img/12.tar.gz": "/img/{id}.tar.gz",
    "/items/item-123": "/items/item-{id}",
    "/items/item_12": "/items/item_{id}",
    "/items/item-123.json": "/items/item-{id}.json",
    "/items/item-12:cancel": "/items/item-{id}:cancel",
    "/items/order-123-lines": "/items/order-{id}-lines",
    "/items/123-a-title": "/items/{id}-a-title",
    "/items/item%20123": "/items/{id}",
    "/reports/report-2024": "/reports/report-{id}",
    "/reports/report-2024-05-17": "/reports/report-{id}",
    "/reports/page-1-2-3": "/reports/page-{id}",
    "/models/gpt-4-0613": "/models/gpt-4-{id}",
    "/models/claude-3-5-sonnet-20241022": "/models/claude-3-5-sonnet-{id}",
    # words only at a glance
    "/watch/rX2iob0DQ-y": "/watch/{id}",
    "/watch/Zk3_qWeR9tY": "/watch/{id}",
    "/watch/ejkc5bJFRop": "/watch/{id}",
    "/watch/riGp-58W": "/watch/{id}",
    "/watch/Jk3Vbn7Q.jpg": "/watch/{id}",
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
    *("/index.html", "/robots.txt", "/s3/k8s/i18n/utf8", "/hash/sha256", "/hash/sha-256"),
    *(
        "/api/v2.1",
        "/releases/1.10.3",
        "/python-3.11.tar.gz",
        "/calver-2024.1.0",
        "/step-1",
        "/img/1.png",
        "/u42",
    ),
    *("/models/gpt-35-turbo", "/models/claude-3-5-sonnet", "/dall-e-3", "/text/utf-16", "/mp3/h264/md5/ipv4"),
    *("/OAuth2Token", "/IPv6Address", "/EC2Instances", "/fetchTop10Users", "/listS3Objects", "/iPhone15Pro"),
    *("/uploadToS3", "/toBase64", "/getMp4Url", "/K8sClusters", "/UserV1Service", "/My-Page-2"),
    *("/Meta-Llama-3.1-70B-Instruct", "/Llama-3-8b-Instruct", "/README-v2.md", "/B2BCustomers"),
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


@pytest.mark.parametrize(
    ("make", "most"),
    [
        ("/img/{}.png", 11),
        ("/items/item-{}", 11),
        ("/items/item_{}.json", 11),
        ("/x/{0},{0}", 1),
        ("/x/{0}-{0}-{0}", 1),
        ("/a/{}-a-title", 101),
        ("/u/u{}", 101),
    ],
)
def test_a_thousand_numbers(make: str, most: int) -> None:
    """However many there are, only the shortest of them are taken for a part of a route."""
    assert len({PathTemplate()(make.format(number)) for number in range(1000)}) <= most


@pytest.mark.parametrize(("length", "most"), [(8, 80), (11, 50), (21, 5)])
def test_random_ids(length: int, most: int) -> None:
    """Of a thousand that have capitals, small letters and digits, few look like words."""
    random = Random(1)
    kinds = (string.ascii_lowercase, string.ascii_uppercase, string.digits)
    alphabet = "".join(kinds) + "-_"
    ids = ("".join(random.choices(alphabet, k=length)) for _ in iter(int, 1))
    mixed = (text for text in ids if all(set(text) & set(kind) for kind in kinds))
    missed = [text for text in islice(mixed, 1000) if PathTemplate()(text) == text]
    assert len(missed) <= most


@given(st.text(alphabet="abV12/.:;-_@%?#{}<>=0 \n"))
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

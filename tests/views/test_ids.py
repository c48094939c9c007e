"""Attributes whose values are ids are no labels, whatever their keys are; words, versions and dates are."""

from __future__ import annotations

import importlib
import logging
import pkgutil
import random
import string
import uuid

import opentelemetry.semconv._incubating.attributes as incubating
import opentelemetry.semconv.attributes as stable
import pytest
from bridges import families_of, running
from hypothesis import given, settings
from hypothesis import strategies as st
from properties import examples

from otel_prom_bridge import ExportView
from otel_prom_bridge.rules import is_identifier
from otel_prom_bridge.views.ids import Ids, looks_like_id, may_be_id

RANDOM = random.Random(17)


def _of(alphabet: str, length: int) -> str:
    return "".join(RANDOM.choice(alphabet) for _ in range(length))


KINDS = {
    "uuid": lambda: str(uuid.UUID(int=RANDOM.getrandbits(128), version=4)),
    "uuid without dashes": lambda: uuid.UUID(int=RANDOM.getrandbits(128), version=4).hex,
    "uuid in braces": lambda: f"{{{uuid.UUID(int=RANDOM.getrandbits(128))}}}".upper(),
    "uuid behind a word": lambda: f"worker-{uuid.UUID(int=RANDOM.getrandbits(128))}",
    "ulid": lambda: "01" + _of("0123456789ABCDEFGHJKMNPQRSTVWXYZ", 24),
    "hex": lambda: _of("0123456789abcdef", 16),
    "sha256": lambda: _of("0123456789ABCDEF", 64),
    "snowflake": lambda: _of("123456789", 18),
    "call": lambda: "call_" + _of(string.ascii_letters + string.digits, 24),
    "msg": lambda: "msg_" + _of(string.ascii_letters + string.digits, 24),
    "run": lambda: "run-" + _of(string.ascii_lowercase + string.digits, 20),
    "resp": lambda: "resp_" + _of("0123456789abcdef", 48),
    "nanoid": lambda: _of(string.ascii_letters + string.digits + "_-", 21),
    "span": lambda: f"00-{_of('0123456789abcdef', 32)}-{_of('0123456789abcdef', 16)}-01",
    "of X-Ray": lambda: f"1-{_of('0123456789abcdef', 8)}-{_of('0123456789abcdef', 24)}",
    "behind a word": lambda: "user:" + _of("0123456789abcdef", 24),
    "of pydantic-ai": lambda: f"pyd_ai_{uuid.UUID(int=RANDOM.getrandbits(128)).hex}",
    "of Bedrock": lambda: "tooluse_" + _of(string.ascii_letters + string.digits + "_-", 22),
    "base64": lambda: _of(string.ascii_letters + string.digits + "+/", 22) + "==",
    "ksuid": lambda: "2" + _of(string.ascii_letters + string.digits, 26),
    "cuid": lambda: "c" + _of(string.ascii_lowercase + string.digits, 24),
    "epoch in ns": lambda: str(1_732_860_884 * 10**9 + RANDOM.getrandbits(50)),
    "word": lambda: _of(string.ascii_lowercase + string.digits, 22),
    "word of letters": lambda: _of(string.ascii_lowercase, 24),
    "word of both cases": lambda: _of(string.ascii_letters, 22),
    "typeid": lambda: "run_01h" + _of("0123456789abcdefghjkmnpqrstvwxyz", 23),
    "address of an object": lambda: hex(0x7F0000000000 + RANDOM.getrandbits(40)),
    "object": lambda: f"<app.Session object at {hex(0x7F0000000000 + RANDOM.getrandbits(40))}>",
    "address of an object on Windows": lambda: f"0x{0x1F000000000 + RANDOM.getrandbits(36):016X}",
    "session": lambda: "ses_" + _of("0123456789abcdef", 8),
    "ULID behind a word": lambda: "order_01" + _of("0123456789ABCDEFGHJKMNPQRSTVWXYZ", 24),
}


@pytest.mark.parametrize("kind", KINDS)
def test_ids_are_found(kind: str) -> None:
    """Whatever attributes are called, at least 97 of 100 are known by their values."""
    found = 0
    for _ in range(300):
        ids, key = Ids(), "x" + _of(string.ascii_lowercase, 9)
        found += any(ids.is_id(key, KINDS[kind]()) for _ in range(12))
    assert found >= 291


WORDS = [
    *("gpt-4o-2024-08-06", "claude-sonnet-4-5-20250929", "meta-llama/Llama-3.1-8B-Instruct", "llama3.1:8b"),
    *("us.anthropic.claude-3-5-sonnet-20240620-v1:0", "text-embedding-3-small", "Qwen2.5-Coder-32B-Instruct"),
    *("/users/{id}/orders", "GET /v1/chat/completions", "checkout", "search_documents", "getUserById"),
    *("web-7f9c6d5b8-x2x4z", "ip-10-0-3-17.eu-west-1.compute.internal", "db01.example.org", "10.1.2.3"),
    *("1.45.2", "2.0.0-rc.1+build.5", "v20.11.1", "3.11.7", "2026-11-29", "2026-11-29T06:14:44Z", "20261129"),
    *("20261129T061444Z", "20261129061444", "eu-central-1", "RateLimitError", "openai.InternalServerError"),
    *("application/json; charset=utf-8", "Mozilla/5.0 (X11; Linux x86_64)", "run_tests", "call_center"),
    *("batch_small", "message_received", "file_upload_completed", "step_1", "event_loop", "tool_use", "POST"),
    # names that begin as ids do
    *("step_retrieve_documents2", "tool_weather_v2", "task_scheduler_v2", "event_order_created_v1"),
    *("step-10-of-200", "run_2026_11_29", "batch_20261129", "job_2026-11-29", "item_list_2024"),
    *("ws_connection1", "request_body_size_64k", "cycle_count_100", "call_back_url_v2", "span_limit_128"),
    *("trace_exporter_otlp4", "response_cache_64mb", "thread_main_12345", "rs_encoder_v2"),
    # machines and files
    *(
        "gke-cluster-1-default-pool-4ab3c2d1-0xyz",
        "aks-nodepool1-12345678-vmss000000",
        "coredns-668d6bf9bc-4xr2k",
    ),
    *("i-0abcd1234ef567890", "kube-proxy-gke-prod-pool-1-1a2b3c4d-xyz1", "main.3f4a5b6c.js"),
    *("model-00001-of-00030.safetensors", "IMG_20261129_061444.jpg", "backup-20261129T0614.tar.gz"),
    *("opentelemetry_sdk-1.45.2-py3-none-any.whl", "accounts/fireworks/models/llama-v3p1-405b-instruct"),
    # codes of errors, colours, masks, and names that begin with Amazon's SES
    *("0x80070005", "0xC0000005", "0xFF00FF", "0x1F", "0xffffffff", "error 0x8024402c", "1280x1024"),
    *("ses_template2", "ses_delivery_2024", "ses_20261129", "ses_notification_v2", "ses_templates_eu_west_1"),
    *("responsibilities", "internationalization", "ElasticLoadBalancing", "OAuth2AuthorizationCodeGrant"),
]


@pytest.mark.parametrize("text", WORDS)
def test_no_false_alarm(text: str) -> None:
    """Models, routes, hosts, versions, dates, errors and names of functions are no ids."""
    assert not looks_like_id(text)


@given(
    st.lists(
        st.one_of(
            st.from_regex(r"[a-z]{1,14}([-_.][a-z]{1,14}){0,4}", fullmatch=True),
            st.from_regex(r"v?[0-9]{1,3}(\.[0-9]{1,4}){1,3}(-(rc|beta)\.?[0-9]{1,2})?", fullmatch=True),
            st.datetimes().map(str),
            st.dates().map(str),
            st.ip_addresses().map(str),
            st.integers(-(10**9), 10**9).map(str),
            st.from_regex(r"(/[a-z]{2,9}|/\{[a-z]{2,9}\}){1,5}", fullmatch=True),
            st.sampled_from(WORDS),
        ),
        max_size=30,
    )
)
def test_ordinary_values_are_no_ids(values: list[str]) -> None:
    """However many values there are, an attribute of ordinary ones stays a label."""
    ids = Ids()
    assert not any(ids.is_id("x", value) for value in values)


@pytest.mark.parametrize(
    "words",
    [
        "internationalization telecommunications characteristically uncharacteristically",
        "Rechtsschutzversicherungen Donaudampfschifffahrt Geschwindigkeitsbegrenzung Verkehrsinfrastruktur",
        "getUserPreferencesById listWorkspaceMembers createKnowledgeBaseIndex retrieveDocumentChunks",
        "anticonstitutionnellement elektroenergetyczny verantwoordelijkheid huisvestingsvergunning",
    ],
)
def test_long_words_are_no_ids(words: str) -> None:
    """Words without a gap are long in many languages, and so are names of functions."""
    ids = Ids()
    assert not any(ids.is_id("x", word) for word in words.split())


@pytest.mark.parametrize(
    "end", ["ReviewWorkflow", "SurveyWorkflow", "QueryWorkflow", "KeywordQueryJob", "ForXQueryWorkflow"]
)
def test_names_in_camel_case_that_end_alike_are_no_ids(end: str) -> None:
    """Each of them has more rare letters than most words, as all of them have the same end."""
    ids = Ids()
    firsts = "Invoice Customer Payment Contract Keyword Backup Vendor Quality Workspace Kubernetes"
    for first in firsts.split():
        assert not ids.is_id("x", first + end)
        assert not ids.is_id("x", first.lower() + end)


def _semconv() -> list[str]:
    found = []
    for package in (incubating, stable):
        for module in pkgutil.iter_modules(package.__path__):
            names = vars(importlib.import_module(f"{package.__name__}.{module.name}"))
            found += [value for name, value in names.items() if name.isupper() and isinstance(value, str)]
    return found


def test_attributes_of_the_conventions_are_left_alone() -> None:
    """Their ids are known by their keys; no other one is watched."""
    keys = _semconv()
    assert len(keys) > 500
    assert [key for key in keys if may_be_id(key) and not is_identifier(key)] == []


@pytest.mark.parametrize(
    "key", ["tenant_uuid", "k8s.pod.uid", "gpu_uuid", "gitCommit", "customer.key", "host"]
)
def test_ids_that_labels_are_for(key: str) -> None:
    """Of these there are few, or each is a version."""
    ids = Ids()
    assert not any(ids.is_id(key, str(uuid.uuid4())) for _ in range(100))


@given(st.lists(st.tuples(st.text(max_size=20), st.text(max_size=300)), max_size=40))
@settings(max_examples=examples(200))
def test_whatever_is_said_is_no_error(points: list[tuple[str, str]]) -> None:
    """Hostile keys and values are looked at as any other."""
    ids = Ids()
    for key, value in points:
        ids.is_id(key, value)
        assert ids.settled.get(key) in (True, False, None)


def test_keys_without_end_take_no_room() -> None:
    """Whoever puts data into keys makes no more than a bounded number of them watched."""
    ids = Ids()
    for number in range(5000):
        ids.is_id(f"key{number}", str(uuid.uuid4()))
    assert len(ids._watched) + len(ids.settled) <= 1000


def test_runs_of_agents_make_no_series(caplog: pytest.LogCaptureFixture) -> None:
    """Of a hundred runs there are few series, the sum is right, one line says so, points are counted."""
    with caplog.at_level(logging.WARNING), running(self_metrics=True) as bridge:
        counter = bridge.meter_provider.get_meter("app").create_counter("loops")
        for number in range(100):
            counter.add(1, {"loop.token": str(uuid.uuid4()), "kind": "plan"})
            if number % 10 == 0:
                families_of(bridge)
        families = families_of(bridge)
    samples = [sample for sample in families["loops"].samples if sample.name == "loops_total"]
    assert sum(sample.value for sample in samples) == 100
    assert len(samples) <= 4
    assert {sample.labels["kind"] for sample in samples} == {"plan"}
    assert [record.message.count("look like ids") for record in caplog.records].count(1) == 1
    folded = {
        (s.labels["metric"], s.labels["label"], s.labels["rule"]): s.value
        for s in families["otel_prom_bridge_folded_points"].samples
        if s.name.endswith("_total")
    }
    assert folded[("loops_total", "loop.token", "values_like_ids")] >= 90


@pytest.mark.parametrize("how", ["keep", "id_labels", "rule"])
def test_who_wants_them_gets_them(how: str) -> None:
    """A view that names the attribute, a rule for its values, or the option: each keeps all series."""
    options = {
        "keep": {"views": [ExportView(instrument_name="loops", keep=["loop.token"])]},
        "rule": {"views": [ExportView(instrument_name="loops", rules={"loop.token": str.lower})]},
        "id_labels": {"id_labels": True},
    }[how]
    with running(**options) as bridge:
        counter = bridge.meter_provider.get_meter("app").create_counter("loops")
        for _ in range(20):
            counter.add(1, {"loop.token": str(uuid.uuid4())})
        family = families_of(bridge)["loops"]
    assert len([sample for sample in family.samples if sample.name == "loops_total"]) == 20


def test_current_values_stay_apart() -> None:
    """A gauge by ids shows each, since one series would show the newest of them only."""
    with running() as bridge:
        gauge = bridge.meter_provider.get_meter("app").create_gauge("load")
        for number in range(20):
            gauge.set(number, {"loop.token": str(uuid.uuid4())})
        family = families_of(bridge)["load"]
    assert len(family.samples) == 20

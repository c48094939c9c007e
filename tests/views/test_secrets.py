"""A key that somebody leaked into a label: it is shown nowhere, whatever else happens."""

from __future__ import annotations

import logging
import time

import pytest
from bridges import families_of, running
from exported import in_span
from hypothesis import given
from hypothesis import strategies as st
from oracles import OPENMETRICS

from otel_prom_bridge.genai import LLMRecorder
from otel_prom_bridge.rules.secrets import without_secrets

KEYS = [
    "sk-proj-4f9aK2mQx7LbT0cVn8RzYw3E",
    "sk-ant-api03-4f9aK2mQx7LbT0cVn8RzYw3E-AA",
    "ghp_4f9aK2mQx7LbT0cVn8RzYw3E4f9aK2mQx7Lb",
    "AKIAIOSFODNN7EXAMPLE",
    "AIzaSyA1234567890abcdefghijklmnopqrstuv",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w5N",
    "Bearer 4f9aK2mQx7LbT0cVn8RzYw3E",
    "hf_4f9aK2mQx7LbT0cVn8RzYw3E",
]
# What is long, and no key: names of models, routes, versions, errors, ids.
OTHERS = [
    *(
        "claude-sonnet-4-5-20250929-v1:0",
        "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
        "scikit-learn 1.7.2",
    ),
    *(
        "/api/v1/risk-assessments/{assessment_id}/results",
        "sk-estimators-of-all-kinds",
        "task_force_2024_0001",
    ),
    *("openai.RateLimitError", "langchain_openai.chat_models.base.OpenAIRateLimitError"),
    *("1ab76342-0ca9-41d5-886c-583068d2de47", "ip-10-0-12-34.eu-west-1.compute.internal"),
    *("meta-llama/Llama-3.3-70B-Instruct-Turbo", "text-embedding-3-small", "bearer of bad news and more"),
    *("registry.example.com/team/service@sha256:0123456789abcdef", "kubernetes-pod-7d9f8b6c5d-x2x4z"),
]


@pytest.mark.parametrize("key", KEYS)
def test_keys_are_found(key: str) -> None:
    """Alone, and in a sentence."""
    assert without_secrets(key) == "{key}"
    assert without_secrets(f"Incorrect key provided: {key}.") in (
        "Incorrect key provided: {key}.",
        "Incorrect key provided: {key}",
    )


@pytest.mark.parametrize("text", OTHERS)
def test_other_values_stay(text: str) -> None:
    """Long names are no keys."""
    assert without_secrets(text) is None


@given(st.text(max_size=300))
def test_any_text_does(text: str) -> None:
    """It ends, and what is found is not found again."""
    found = without_secrets(text)
    assert found is None or without_secrets(found) is None


@pytest.mark.clocked
@pytest.mark.parametrize("part", ["sk-", "eyJ", "bearer ", "sk-a", "-----BEGIN ", "xox", "a"])
def test_no_text_takes_long(part: str) -> None:
    """A value is searched once for each new attribute set, however long it is."""
    start = time.process_time()
    without_secrets(part * (100_000 // len(part)))
    assert time.process_time() - start < 0.2


def test_a_service_with_many_models_tenants_and_a_key(caplog: pytest.LogCaptureFixture) -> None:
    """50 models and 20 tenants are told apart; a key is in no label, no exemplar and no line of the log."""
    with caplog.at_level(logging.WARNING), running(profile="llmdevops") as bridge, in_span(0xABC):
        llm = LLMRecorder(bridge.meter_provider)
        for number in range(1000):
            llm.record_request(
                model=f"model-{number % 50}",
                provider="openai",
                duration=1,
                input_tokens=7,
                output_tokens=3,
                error_type=f"the key {KEYS[0]} is wrong" if number == 999 else None,
                attributes={"tenant.id": f"tenant-{number % 20}", "api_key": KEYS[1]},
            )
        meter = bridge.meter_provider.get_meter("app")
        for key in KEYS:
            leaked = {"team": "a", "credential": key, "gen_ai.request.model": key}
            meter.create_counter("app.calls").add(1, leaked)
        body = bridge.reader.expose(OPENMETRICS).body.decode()
        families = families_of(bridge)
    requests = families["llmdevops_llm_requests"].samples
    assert {sample.labels["model"] for sample in requests} == {f"model-{number}" for number in range(50)}
    assert sum(sample.value for sample in requests if sample.name.endswith("_total")) == 1000
    tokens = families["llmdevops_llm_tokens"].samples
    assert sum(sample.value for sample in tokens if sample.name.endswith("_total")) == 10_000
    calls = [sample.value for sample in families["app_calls"].samples if sample.name.endswith("_total")]
    assert sum(calls) == len(KEYS)
    said = [record.getMessage() for record in caplog.records]
    for key in KEYS:
        assert key not in body
        assert not [line for line in said if key in line]
    about = [line for line in said if "key of an API" in line]
    assert about
    assert len(about) == len(set(about))

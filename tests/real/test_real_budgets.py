"""The first costs of a series in a budget: the rule that is written, evaluated by a real Prometheus 3."""

from __future__ import annotations

from pathlib import Path

import pytest
from bridges import running
from servers import newer, prometheus, wait_for

from otel_prom_bridge.dashboards import read_dashboard
from otel_prom_bridge.genai import LLMRecorder, Price, PriceTable
from otel_prom_bridge.profiles import load_profile

pytestmark = [pytest.mark.real_server, pytest.mark.slow, pytest.mark.timeout(120)]

BUDGET = 'extends = "llmdevops"\nbudget = { amount = 288, period = "1d", by = "model" }'
TABLE = PriceTable("test", {"first": Price(1_000_000), "second": Price(1_000_000)})  # a dollar for a token


def ask(recorder: LLMRecorder, model: str, tokens: int) -> None:
    """A call that costs as many dollars."""
    recorder.record_request(model=model, provider="p", duration=1, input_tokens=tokens)


@pytest.mark.parametrize("how", ["rule", "created-timestamp-zero-ingestion"])
def test_the_first_call_of_a_model_is_spent(tmp_path: Path, how: str) -> None:
    """By the rule, which knows that the process was scraped before; and by Prometheus, if it is told to."""
    file = tmp_path / "budget.toml"
    file.write_text(BUDGET)
    rules = read_dashboard(load_profile(file)).recording_rules
    (rule,) = (rule.expr for rule in rules if rule.record.endswith(":increase"))
    assert "[5m]" in rule
    assert "time() - 300)" in rule
    features = () if how == "rule" else (how,)
    with running(profile=str(file), prices=TABLE) as bridge:
        recorder = LLMRecorder(bridge.meter_provider)
        target = {"app": f"127.0.0.1:{bridge.server.port}"}
        executable = newer("sid", "prometheus")
        with prometheus(executable, tmp_path, target, features=features) as api:
            ask(recorder, "first", 100)
            wait_for(lambda: api.query("llmdevops_llm_cost_usd_total"), seconds=30, what="a scrape")
            old = float(api.query("time()")[1])
            wait_for(lambda: float(api.query("time()")[1]) > old + 7, seconds=30, what="some seconds")
            ask(recorder, "second", 7)
            wait_for(
                lambda: api.query('llmdevops_llm_cost_usd_total{model="second"}'), seconds=30, what="the call"
            )
            asked = rule.replace("5m", "6s").replace("- 300", "- 6")
            if how != "rule":
                asked = "sum by (model) (increase(llmdevops_llm_cost_usd_total[6s]))"
            spent = {it["metric"]["model"]: float(it["value"][1]) for it in api.query(asked)}
    assert spent["first"] == 0  # Prometheus saw it long ago, and it was not scraped before that
    assert spent["second"] == pytest.approx(7, rel=0 if how == "rule" else 0.5)

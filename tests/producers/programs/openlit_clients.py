"""OpenLIT, with the clients of OpenAI and Anthropic."""

import json
import tempfile

import anthropic
import openai
import openlit
from clients import CLAUDE, EMBEDDING, MODEL, anthropic_calls, openai_calls

# OpenLIT loads its prices from the internet, unless it is given a file. These are per thousand tokens.
PRICES = {
    "chat": {
        MODEL: {"promptPrice": 0.0025, "completionPrice": 0.01, "cacheReadPrice": 0.00125},
        CLAUDE: {"promptPrice": 0.003, "completionPrice": 0.015, "cacheReadPrice": 0.0003},
    },
    "embeddings": {EMBEDDING: 0.00002},
}


def instrument() -> None:
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(PRICES, file)
        file.flush()
        openlit.init(application_name="app", environment="test", disable_events=True, pricing_json=file.name)


def work(run) -> None:
    openai_calls(run, openai)
    anthropic_calls(run, anthropic)

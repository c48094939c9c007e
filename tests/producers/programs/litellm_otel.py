"""litellm's newer integration."""

import os

os.environ["LITELLM_OTEL_V2"] = "true"  # read when litellm is imported

import litellms

litellm = litellms.litellm


def instrument() -> None:
    os.environ["LITELLM_OTEL_INTEGRATION_ENABLE_METRICS"] = "true"
    litellm.callbacks = ["otel"]


work = litellms.work

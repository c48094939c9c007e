"""litellm's callback `otel`, as it is by default."""

import os

import litellms

litellm = litellms.litellm


def instrument() -> None:
    os.environ["LITELLM_OTEL_INTEGRATION_ENABLE_METRICS"] = "true"
    litellm.callbacks = ["otel"]


work = litellms.work

"""The words of the semantic conventions: attribute keys, their values, and bucket boundaries."""

from __future__ import annotations

# Attribute keys.
OPERATION = "gen_ai.operation.name"
PROVIDER = "gen_ai.provider.name"
REQUEST_MODEL = "gen_ai.request.model"
RESPONSE_MODEL = "gen_ai.response.model"
TOKEN_TYPE = "gen_ai.token.type"
TOKEN_MODALITY = "gen_ai.token.modality"
AGENT_NAME = "gen_ai.agent.name"
TOOL_NAME = "gen_ai.tool.name"
TOOL_TYPE = "gen_ai.tool.type"
WORKFLOW_NAME = "gen_ai.workflow.name"
SERVER_ADDRESS = "server.address"
SERVER_PORT = "server.port"
EVALUATION_NAME = "gen_ai.evaluation.name"
EVALUATION_LABEL = "gen_ai.evaluation.score.label"
EVALUATION_SCORE = "gen_ai.evaluation.score.value"
EVALUATION_EVENT = "gen_ai.evaluation.result"
# OpenLLMetry's key for one of the conventions' `gen_ai.response.finish_reasons`, in a metric.
FINISH_REASON = "gen_ai.response.finish_reason"
# The conventions have no keys for these, so the names are ours.
STEP_TYPE = "gen_ai.agent.step.type"
STEP_NUMBER = "gen_ai.agent.step.number"
RATE_LIMIT_TYPE = "gen_ai.client.rate_limit.type"
GUARDRAIL_NAME = "gen_ai.guardrail.name"
GUARDRAIL_RESULT = "gen_ai.guardrail.result"
PRICE_TABLE_VERSION = "price_table.version"
CURRENCY = "currency"

# Values of gen_ai.operation.name.
INFERENCE = frozenset({"chat", "generate_content", "text_completion"})
EMBEDDINGS = frozenset({"embeddings"})
AGENT = frozenset({"create_agent", "invoke_agent", "plan"})
TOOL = frozenset({"execute_tool"})
WORKFLOW = frozenset({"invoke_workflow"})

TOKEN_TYPES = ("input", "output")

# Bucket boundaries: of times in seconds, of numbers of tokens, and of numbers of calls.
SECONDS = tuple(0.01 * 2**step for step in range(14))
AGENT_SECONDS = tuple(0.1 * 2**step for step in range(13))
WORKFLOW_SECONDS = (1, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200)
MCP_SECONDS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120, 300)
TOKENS = tuple(4**step for step in range(14))
CALLS = tuple(2**step for step in range(8))
TOKEN_SECONDS = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5)
# Scores are shares, or marks of up to five, ten or a hundred.
SCORES = (0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 25, 50, 75, 100)

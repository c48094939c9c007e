"""Which attribute keys identify one user, session or request, so that each makes a series of its own.

A key is split into words at ``.``, ``_``, ``-`` and where a capital letter follows a small one. The last word
has to be ``id`` (or ``uid``, ``uuid``, ``guid``), and the word before it one of :data:`SUBJECTS`. This is a
rule and not a list of keys, because every convention and application spells them in its own way.
"""

from __future__ import annotations

import re
from functools import lru_cache

# Things of which a new one comes with every user, session or call. Agents, services, hosts, deployments,
# accounts and customers are not here: there are few of them, and their ids are what such labels are for.
SUBJECTS = frozenset(
    {
        *("user", "enduser", "session", "conversation", "thread"),
        *("request", "response", "trace", "span", "call"),
        # What agents and their frameworks count through: strands' tool_use_id, LangGraph's checkpoint_id.
        *("run", "cycle", "checkpoint", "message", "batch", "file", "invocation", "use"),
    }
)
_IDS = frozenset({"id", "uid", "uuid", "guid"})
# Words that may stand between subject and id: session.previous_id, enduser.pseudo.id.
_QUALIFIERS = frozenset({"previous", "pseudo"})
# Subject and id in one word: sessionid, toolcallid. Nobody writes useid for another id than a tool's.
_FUSED = frozenset(f"{subject}{word}" for subject in (*SUBJECTS, "toolcall", "tooluse") for word in _IDS)

# The boundaries between words in userId, sessionID and HTTPRequestId. There is none in ID itself.
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_SEPARATORS = re.compile(r"[^a-z0-9]+")
# Only the end of a key is looked at: it decides, and some producers put data into keys.
_LONGEST = 256


@lru_cache(maxsize=4096)
def is_identifier(key: str) -> bool:
    """Whether an attribute of this key has a new value with every user, session or request.

    >>> [is_identifier(key) for key in ("session.id", "userId", "x-request-id", "gen_ai.agent.id", "valid")]
    [True, True, True, False, False]
    """
    words = [word for word in _SEPARATORS.split(_CAMEL.sub("_", key[-_LONGEST:]).lower()) if word]
    last = words.pop() if words else ""
    if last not in _IDS:
        return last in _FUSED
    while words and words[-1] in _QUALIFIERS:
        words.pop()
    return bool(words) and words[-1] in SUBJECTS

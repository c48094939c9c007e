"""Keys of attribute sets are equal where the sets are, in whatever order, and nowhere else."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from otel_prom_bridge.points import AttributeSet
from otel_prom_bridge.store.keys import as_set, set_key
from otel_prom_bridge.translate.labels import attribute_identity

SCALARS = st.one_of(
    st.sampled_from(["", "a", "b", 0, 1, True, False, 0.0, -0.0, 1.0, float("nan"), None, b"a"]),
    st.text(max_size=2),
)
VALUES = st.one_of(
    SCALARS, st.lists(SCALARS, max_size=2), st.lists(SCALARS, max_size=2).map(tuple), st.just(set())
)
SETS = st.dictionaries(st.sampled_from(["", "a", "b", "c"]), VALUES, max_size=3)


@given(SETS, SETS)
def test_keys_are_equal_for_equal_sets_only(one: dict[str, Any], other: dict[str, Any]) -> None:
    """As a text of all names and values says it."""
    assert (set_key(one) == set_key(other)) == (attribute_identity(one) == attribute_identity(other))
    assert set_key(one) == set_key(dict(reversed(one.items())))


@given(SETS)
def test_what_is_kept_by_a_key(attributes: dict[str, Any]) -> None:
    """All of the attributes, of their types, and found by the same key again."""
    key = set_key(attributes)
    kept = as_set(attributes, key)
    assert set_key(kept) == key
    assert repr(sorted(kept.items(), key=lambda item: item[0])) == repr(sorted(attributes.items()))
    if isinstance(kept, AttributeSet):
        assert set_key(kept) is kept.key

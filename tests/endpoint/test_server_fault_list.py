"""Which test shows each of the 46 faults of the research, and where the common postcondition cannot be seen.

The postcondition is ``wire.unharmed`` (for a host in a process of its own, ``unharmed_host``): the host's
thread goes on, the next scrape is a 200 within a second, threads, descriptors and memory are back, stderr is
silent.
"""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
FAULTS = range(1, 47)
POSTCONDITIONS = {"unharmed", "unharmed_host"}

CLIENTS, COLLECTIONS, GUARDS = "server_faults", "server_collection_faults", "server_guard_faults"
HOSTS, ENDINGS, LIFECYCLE = "server_hosts", "server_endings", "server_lifecycle"

# With the postcondition, through a server of ours.
SHOWN: dict[int, tuple[str, ...]] = {
    1: (f"{CLIENTS}:test_1_half_requests",),
    2: (f"{CLIENTS}:test_2_silence",),
    3: (f"{CLIENTS}:test_3_trickling", f"{GUARDS}:test_3_a_trickled_handshake"),
    4: (f"{CLIENTS}:test_4_more_connections_than_there_may_be",),
    5: (f"{HOSTS}:test_5_clients_take_all_descriptors",),
    6: (
        f"{CLIENTS}:test_6_readers_that_do_not_read",
        f"{GUARDS}:test_6_readers_that_do_not_read_over_tls",
    ),
    7: (f"{CLIENTS}:test_7_resets", f"{GUARDS}:test_7_resets_over_tls"),
    8: (f"{GUARDS}:test_8_silence",),
    9: (f"{GUARDS}:test_9_what_is_no_tls",),
    10: (f"{GUARDS}:test_10_an_old_client",),
    11: (f"{GUARDS}:test_11_clients_without_the_right_certificate",),
    12: (f"{GUARDS}:test_12_certificates_that_change",),
    13: (f"{CLIENTS}:test_13_bursts",),
    14: (f"{COLLECTIONS}:test_14_scrapers_share_a_collection",),
    15: (
        f"{COLLECTIONS}:test_15_a_callback_that_raises",
        f"{COLLECTIONS}:test_15_a_collector_that_raises",
    ),
    16: (f"{COLLECTIONS}:test_16_a_callback_that_hangs",),
    17: (
        f"{COLLECTIONS}:test_17_the_scrapers_timeout",
        f"{COLLECTIONS}:test_17_timeouts_that_make_no_sense",
    ),
    18: (f"{CLIENTS}:test_odd_requests_get_one_answer",),
    19: (f"{CLIENTS}:test_odd_requests_get_one_answer",),
    20: (f"{ENDINGS}:test_20_methods", f"{CLIENTS}:test_odd_requests_get_one_answer"),
    21: (f"{CLIENTS}:test_odd_requests_get_one_answer", "server_fuzz:test_the_server_survives_them"),
    22: (f"{CLIENTS}:test_22_pipelining",),
    23: (f"{CLIENTS}:test_odd_requests_get_one_answer",),
    24: (f"{COLLECTIONS}:test_24_odd_accept_headers",),
    25: (f"{COLLECTIONS}:test_25_encodings",),
    26: (f"{COLLECTIONS}:test_26_no_memory_to_compress",),
    27: (f"{GUARDS}:test_27_a_thousand_wrong_passwords",),
    28: (f"{GUARDS}:test_28_the_cache_is_not_confused",),
    29: (f"{GUARDS}:test_29_odd_authorization_headers",),
    30: (f"{GUARDS}:test_30_secrets_stay_secret",),
    31: (f"{GUARDS}:test_31_more_than_the_rate", f"{GUARDS}:test_31_peers_without_number"),
    32: (
        f"{GUARDS}:test_32_outside_of_the_allowed_networks",
        f"{GUARDS}:test_32_behind_a_proxy",
        f"{GUARDS}:test_32_mapped_addresses",
    ),
    33: (f"{ENDINGS}:test_33_a_taken_port",),
    34: (f"{HOSTS}:test_34_a_fork",),
    35: (f"{HOSTS}:test_35_a_pool_of_forked_workers",),
    36: (f"{HOSTS}:test_36_gevent",),
    37: (f"{HOSTS}:test_37_a_busy_host",),
    38: (f"{ENDINGS}:test_38_starts_and_stops",),
    40: (f"{COLLECTIONS}:test_40_the_wall_clock_jumps",),
    41: (
        f"{COLLECTIONS}:test_41_what_is_kept_for_whom",
        f"{COLLECTIONS}:test_41_a_stampede_when_an_answer_expires",
        f"{COLLECTIONS}:test_41_failures_are_not_kept",
    ),
    42: (
        f"{HOSTS}:test_42_a_process_that_was_stopped",
        f"{ENDINGS}:test_42_a_selector_that_hears_only_of_time",
    ),
    43: (f"{COLLECTIONS}:test_43_a_scraper_whose_interval_is_the_idle_timeout",),
    44: (f"{CLIENTS}:test_44_ten_thousand_scrapes",),
    45: (f"{ENDINGS}:test_45_unix_sockets",),
    46: (f"{ENDINGS}:test_46_a_stop_in_the_middle_of_a_response",),
}

# Without it, and why.
BESIDES: dict[int, tuple[str, tuple[str, ...]]] = {
    16: ("the process is over", (f"{HOSTS}:test_16_the_interpreter_does_not_wait_for_a_callback",)),
    32: ("nothing is served", (f"{GUARDS}:test_32_what_is_no_network",)),
    34: ("the process is over", (f"{LIFECYCLE}:test_34_after_a_fork",)),
    35: (
        "threads and descriptors are those of gunicorn and uvicorn; Celery is not installed here, "
        "and a pool of multiprocessing forks as it does",
        (
            f"{HOSTS}:test_35_web_servers_as_hosts",
            "frameworks:test_an_endpoint_for_each_worker",
        ),
    ),
    38: (
        "the server or the process is over",
        (f"{LIFECYCLE}:test_38_stops_in_a_signal_handler", f"{LIFECYCLE}:test_38_stops_from_all_sides"),
    ),
    39: ("the process is over", (f"{LIFECYCLE}:test_39_the_interpreter_does_not_wait",)),
    43: ("the scrapers are processes of their own", ("real_secure:test_43_no_scrape_is_lost",)),
}


@cache
def functions(module: str) -> dict[str, set[str]]:
    """The test functions of a file, and which names they use."""
    (path,) = TESTS.rglob(f"test_{module}.py")
    tree = ast.parse(path.read_text())
    return {
        node.name: {name.id for name in ast.walk(node) if isinstance(name, ast.Name)}
        for node in tree.body
        if isinstance(node, ast.FunctionDef)
    }


@pytest.mark.parametrize("number", FAULTS)
def test_each_fault_is_shown(number: int) -> None:
    """By tests that exist, with the postcondition or with a reason for its absence."""
    reason, others = BESIDES.get(number, ("", ()))
    shown = SHOWN.get(number, ())
    assert shown or reason
    for test in (*shown, *others):
        module, _, name = test.partition(":")
        assert name in functions(module), test
        digits = name.split("_")[1]
        assert digits == str(number) or not digits.isdigit(), test
    for test in shown:
        module, _, name = test.partition(":")
        assert functions(module)[name] & POSTCONDITIONS, test


def test_no_numbered_test_is_left_out() -> None:
    """Every test of these files that has the number of a fault is in the list."""
    listed = {test for tests in SHOWN.values() for test in tests}
    listed |= {test for _, tests in BESIDES.values() for test in tests}
    for module in (COLLECTIONS, GUARDS, HOSTS, ENDINGS, "real_secure"):
        for name in functions(module):
            if name.startswith("test_") and name[5].isdigit():
                assert f"{module}:{name}" in listed

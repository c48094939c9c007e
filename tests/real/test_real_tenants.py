"""examples/tenants: a Prometheus for each tenant sees what is the tenant's own, and is refused elsewhere."""

from __future__ import annotations

import urllib.error
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import pytest
from machines import EXAMPLES, here, path_with_scripts
from pages import DOCS, blocks
from servers import Prometheus, free_port, free_ports, get, newer, running, serving, wait_for

pytestmark = [pytest.mark.real_server, pytest.mark.slow, pytest.mark.timeout(120)]
TENANTS = ("acme", "globex")


def test_tenants_see_their_own(tmp_path: Path) -> None:
    """Each has its orders, without a label of the tenant; another one's token gets 401, also of probes."""
    first = free_ports(2)
    ports = dict(zip(TENANTS, (first, first + 1), strict=True))
    (script,) = (block.text for block in blocks(DOCS / "ha.md") if block.language == "sh")
    app = "examples/tenants/app.py tokens"
    assert app in script
    script = f"cd {tmp_path}\n{script.replace(app, f'{EXAMPLES}/tenants/app.py tokens {first}')}"
    with ExitStack() as stack:
        shell = ["sh", "-euc", script.replace("\npython ", "\nexec python -W error ")]
        variables = {"PATH": path_with_scripts()}
        found = stack.enter_context(running(shell, log=tmp_path / "app.log", env=variables))
        found.until("globex: ", 20)
        for path in ("/metrics", "/health"):
            with pytest.raises(urllib.error.HTTPError, match="401") as refused:
                get(f"http://127.0.0.1:{ports['acme']}{path}")
            refused.value.close()
        databases = {
            (owner, token): stack.enter_context(_prometheus(tmp_path, owner, token, ports[owner]))
            for owner, token in (("acme", "acme"), ("globex", "globex"), ("acme", "globex"))
        }
        wait_for(lambda: all(each.has_scraped() for each in databases.values()), seconds=30, what="scrapes")
        for tenant in TENANTS:
            api = databases[tenant, tenant]
            wait_for(lambda api=api: api.query("orders_total > 0"), seconds=20, what=tenant)  # type: ignore[misc]
            (series,) = api.query("orders_total")
            assert series["metric"]["job"] == "shop"
            assert not any(other in str(api.query('{job="shop"}')) for other in TENANTS)
        (target,) = databases["acme", "globex"].targets()
        assert "401" in target["lastError"]


def _prometheus(folder: Path, owner: str, token: str, port: int) -> AbstractContextManager[Prometheus]:
    """The Prometheus of a tenant, which has somebody's token."""
    own = folder / f"{owner}-{token}"
    own.mkdir()
    places = {
        "/etc/prometheus/acme-token": str(folder / "tokens" / token),
        '"shop-1.internal:9464", "shop-2.internal:9464"': f'"127.0.0.1:{port}"',
        "{tenant: acme}": f"{{tenant: {owner}}}",
        "15s": "1s",
    }
    config = here(own, "tenants/prometheus.yml", places)
    address = f"127.0.0.1:{free_port()}"
    command = [
        newer("sid", "prometheus", required=True),
        f"--config.file={config}",
        f"--storage.tsdb.path={own / 'data'}",
        f"--web.listen-address={address}",
        "--log.level=warn",
    ]
    return serving(command, own, address)

"""A real Prometheus, with the settings of deploy/monitoring, scrapes a real aggregator."""

import json
import re
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.prometheus import find_programs
from tests.watched import SECONDS, one_round, watched

MONITORING = Path(__file__).parents[2] / "deploy" / "monitoring"

pytestmark = pytest.mark.skipif(
    find_programs() is None, reason="prometheus is not on the PATH: make watch-test gets it and runs this"
)


def get(url: str) -> object:
    """What Prometheus's API answers; None while it does not."""
    try:
        with urllib.request.urlopen(url, timeout=SECONDS) as answer:
            return json.load(answer)["data"]
    except (urllib.error.URLError, ConnectionError):
        return None


@contextmanager
def prometheus(folder: Path, *, target: str) -> Iterator[str]:
    """A running server with the settings of deploy/monitoring, quicker, over this target; its address."""
    programs = find_programs()
    assert programs is not None
    text = (MONITORING / "prometheus.yml").read_text().replace("127.0.0.1:9464", target)
    (folder / "prometheus.yml").write_text(re.sub(r"_interval: \w+", "_interval: 1s", text))
    (folder / "alerts.yml").write_text((MONITORING / "alerts.yml").read_text())
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    options = [f"--web.listen-address={address}", f"--storage.tsdb.path={folder / 'data'}"]
    command = [str(programs.prometheus), f"--config.file={folder / 'prometheus.yml'}", *options]
    with (folder / "prometheus.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        yield f"http://{address}/api/v1"
    finally:
        process.terminate()
        process.wait()


def asked(api: str, query: str) -> list[dict[str, object]]:
    """The answer to a query, once there is one."""
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        found = get(f"{api}/query?query={urllib.parse.quote(query)}")
        if isinstance(found, dict) and found["result"]:
            return list(found["result"])
        time.sleep(0.2)
    raise AssertionError(f"no answer to {query}")


def test_prometheus_scrapes_the_aggregator(tmp_path: Path) -> None:
    """The target is up, the round is the open one, every rule and every query of the dashboard is evaluated."""
    (tmp_path / "aggregator").mkdir()
    with watched(tmp_path / "aggregator") as watching:
        one_round(watching)
        with prometheus(tmp_path, target=f"127.0.0.1:{watching.port}") as api:
            assert [one["value"][1] for one in asked(api, 'up{job="isthmus"} == 1')] == ["1"]
            (one,) = asked(api, 'max by (federation) (isthmus_round{federation="harbour"})')
            phase = asked(api, 'isthmus_round_phase{federation="harbour"} == 1')
            time.sleep(2.5)
            rules = [rule for group in get(f"{api}/rules")["groups"] for rule in group["rules"]]
            for panel in json.loads((MONITORING / "dashboard.json").read_text())["panels"]:
                for target in panel["targets"]:
                    query = target["expr"].replace("$federation", ".*")
                    assert get(f"{api}/query?query={urllib.parse.quote(query)}") is not None, query

    assert (one["metric"], one["value"][1]) == ({"federation": "harbour"}, "2")
    assert [found["metric"]["phase"] for found in phase] == ["collecting"]
    assert len(rules) > 10
    assert {rule["health"] for rule in rules} == {"ok"}
    assert [rule["name"] for rule in rules if rule["state"] == "firing"] == []

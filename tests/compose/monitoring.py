"""Prometheus and Grafana of the profile `monitoring`, asked over their own APIs for what a person would look at."""

import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import yaml

from tests.compose.engine import ROOT, CommandFailed, Composition, has_image

PROMETHEUS, GRAFANA = "http://127.0.0.1:9090", "http://127.0.0.1:3000"
SCREENS = ("prometheus", "grafana")
SOURCE = "prometheus"
"""The uid that deploy/compose/grafana/datasource.yaml gives Grafana's source."""

ANSWER_SECONDS = 60.0

Found = TypeVar("Found")

DASHBOARD = json.loads((ROOT / "deploy" / "monitoring" / "dashboard.json").read_text(encoding="utf-8"))
ALERTS = {
    rule["alert"]
    for group in yaml.safe_load((ROOT / "deploy" / "monitoring" / "alerts.yml").read_text(encoding="utf-8"))["groups"]
    for rule in group["rules"]
}
QUERIES = [
    (panel["title"], target["expr"].replace("$federation", ".*"))
    for panel in DASHBOARD["panels"]
    for target in panel["targets"]
]

EMPTY_WHILE_ALL_IS_WELL = {
    "Silos waited for",
    "Quarantined silos",
    "Deltas refused, by reason",
    "Calls that failed, by reason",
    "Store errors",
}
"""Panels that have nothing to show after a federation in which nothing went wrong."""


def start(composition: Composition) -> list[str]:
    """Starts the screens whose images are here or can be pulled; which those are."""
    services = composition.config()["services"]
    there = [name for name in SCREENS if has_image(services[name]["image"])]
    if there:
        composition.compose("--profile", "monitoring", "up", "--detach", "--no-deps", *there)
    return there


def problems(composition: Composition, screens: list[str]) -> Iterator[str]:
    """Whatever the screens that are started do not show, in sentences."""
    if "prometheus" in screens:
        yield from prometheus_problems(len(composition.containers("aggregator")))
    if "grafana" in screens:
        yield from grafana_problems()


def prometheus_problems(replicas: int) -> Iterator[str]:
    """Every replica is scraped, every alert is loaded and silent, and every panel has its data."""
    targets = eventually(up_targets, wanted=lambda found: len(found) == replicas)
    if len(targets) != replicas:
        yield f"Prometheus finds {len(targets)} replicas up, and there are {replicas}."
    rules = [rule for group in asked("/api/v1/rules")["groups"] for rule in group["rules"]]
    if {rule["name"] for rule in rules} != ALERTS:
        yield f"Prometheus has the alerts {sorted(rule['name'] for rule in rules)}."
    yield from (f"Prometheus says of {rule['name']}: {rule['lastError']}" for rule in rules if rule.get("lastError"))
    yield from (
        f"{rule['name']} is {rule['state']}, and nothing is wrong." for rule in rules if rule["state"] == "firing"
    )
    shown = {title for title, query in QUERIES if asked("/api/v1/query", query=query)["result"]}
    empty = {title for title, _ in QUERIES} - shown - EMPTY_WHILE_ALL_IS_WELL
    yield from (f"The panel {title!r} has no data." for title in sorted(empty))


def up_targets() -> list[Any]:
    """What Prometheus scrapes, and gets an answer from."""
    return [one for one in asked("/api/v1/targets", state="active")["activeTargets"] if one["health"] == "up"]


def grafana_problems() -> Iterator[str]:
    """Grafana is well, has the dashboard out of its file, and gets an answer to every panel's query."""
    eventually(lambda: fetched(f"{GRAFANA}/api/health"), wanted=lambda found: found.get("database") == "ok")
    told = fetched(f"{GRAFANA}/api/dashboards/uid/{DASHBOARD['uid']}")
    if not told["meta"]["provisioned"] or len(told["dashboard"]["panels"]) != len(DASHBOARD["panels"]):
        yield f"Grafana's dashboard is not the file's: {told['meta']}."
    for title, query in QUERIES:
        one = {"refId": "A", "expr": query, "instant": True, "datasource": {"uid": SOURCE}}
        result = fetched(f"{GRAFANA}/api/ds/query", {"queries": [one], "from": "now-1h", "to": "now"})["results"]["A"]
        if result.get("error") or result["status"] != 200:
            yield f"Grafana's panel {title!r} says {result.get('error')}."


def asked(path: str, **parameters: str) -> Any:
    """The data of an answer of Prometheus's API.

    Raises:
        CommandFailed: It does not answer, or with an error.
    """
    told = fetched(f"{PROMETHEUS}{path}?{urllib.parse.urlencode(parameters)}")
    if told.get("status") != "success":
        raise CommandFailed(f"Prometheus answers {path} {parameters} with {told}.")
    return told["data"]


def fetched(url: str, body: Any = None) -> Any:
    """JSON that an address answers a GET with, or a POST where there is a body.

    Raises:
        CommandFailed: It answers with an error, or not within `ANSWER_SECONDS`.
    """
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    end = time.monotonic() + ANSWER_SECONDS
    while True:
        try:
            with urllib.request.urlopen(request, timeout=ANSWER_SECONDS) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise CommandFailed(f"{url} answers {error.code}: {error.read()[:500].decode()}") from error
        except OSError as error:
            if time.monotonic() > end:
                raise CommandFailed(f"{url} does not answer: {error}") from error
            time.sleep(0.5)


def eventually(call: Callable[[], Found], *, wanted: Callable[[Found], bool]) -> Found:
    """What a call gives once it is as wanted, or after `ANSWER_SECONDS`."""
    end = time.monotonic() + ANSWER_SECONDS
    while not wanted(found := call()) and time.monotonic() < end:
        time.sleep(1.0)
    return found

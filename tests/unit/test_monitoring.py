"""deploy/monitoring is true: what it asks for exists, its alerts fire when they must, and each has its runbook."""

import json
import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml

import aggregator.__main__
from aggregator.metrics import labels
from isthmus.cli import build_parser
from tests.prometheus import find_programs

ROOT = Path(__file__).parents[2]
MONITORING = ROOT / "deploy" / "monitoring"
ALERTS = [
    rule for group in yaml.safe_load((MONITORING / "alerts.yml").read_text())["groups"] for rule in group["rules"]
]
DASHBOARD = json.loads((MONITORING / "dashboard.json").read_text())
QUERIES = [(panel["title"], target["expr"]) for panel in DASHBOARD["panels"] for target in panel["targets"]]
WATCHING = (ROOT / "docs" / "watching.md").read_text(encoding="utf-8")
RUNBOOKS = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8").split("\n## Alerts\n")[1]
TOLD = dict(re.findall(r"^\| `(isthmus_\w+)` \| ([\w, ]*)\|", WATCHING, flags=re.MULTILINE))
FROM_LIBRARY = {"up", "process_resident_memory_bytes", "process_cpu_seconds_total"}

needs_promtool = pytest.mark.skipif(
    find_programs() is None, reason="promtool is not on the PATH: make watch-test gets it and runs this"
)


def metrics_in(query: str) -> set[str]:
    """The metrics that a query names, histograms by their own name."""
    names = re.findall(r"\b(up|isthmus_\w+|process_\w+)\b(?=[{\s\[)]|$)", query)
    return {re.sub(r"_(bucket|sum|count)$", "", name) for name in names}


@pytest.mark.parametrize(("title", "query"), QUERIES)
def test_dashboard_asks_for_what_is_told(title: str, query: str) -> None:
    """Every metric of the dashboard is one that docs/watching.md has."""
    assert metrics_in(query)
    assert metrics_in(query) <= TOLD.keys() | FROM_LIBRARY


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_alert_asks_for_what_is_told(alert: dict[str, str]) -> None:
    """Every metric of an alert is one that docs/watching.md has, and every value of a label is one that there is."""
    assert metrics_in(alert["expr"])
    assert metrics_in(alert["expr"]) <= TOLD.keys() | FROM_LIBRARY
    for name, known in (("reason", labels.REASONS), ("phase", labels.PHASES), ("verb", labels.VERBS)):
        assert set(re.findall(rf'\b{name}="([^"]+)"', alert["expr"])) <= set(known)


def test_every_alert_has_a_runbook_and_a_test() -> None:
    """Each alert's link leads to a heading of docs/operations.md, and promtool's tests have each one."""
    headings = re.findall(r"^### (\w+)$", RUNBOOKS, flags=re.MULTILINE)
    tested = [case["name"] for case in yaml.safe_load((MONITORING / "alerts.test.yml").read_text())["tests"]]

    assert headings == [alert["alert"] for alert in ALERTS] == tested
    assert [alert["annotations"]["runbook"] for alert in ALERTS] == [
        f"docs/operations.md#{name.lower()}" for name in headings
    ]


@pytest.mark.parametrize("command", re.findall(r"`((?:isthmus|python -m aggregator) [^`]+)`", RUNBOOKS))
def test_runbooks_commands_parse(command: str) -> None:
    """Every command of a runbook is understood."""
    words = shlex.split(command)
    if words[0] == "python":
        aggregator.__main__.build_parser().parse_args(words[3:])
    else:
        build_parser({"ISTHMUS_AGGREGATOR": "a:1", "ISTHMUS_CREDENTIALS": "a.pem"}).parse_args(words[1:])


def promtool(*arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
    """What promtool says."""
    programs = find_programs()
    assert programs is not None
    command = [str(programs.promtool), *arguments]
    return subprocess.run(command, cwd=MONITORING, input=text, capture_output=True, text=True, check=False, timeout=60)


@needs_promtool
def test_rules_fire_when_they_must() -> None:
    """The tests of promtool pass: each alert is silent while all is well, and fires when it is not."""
    done = promtool("test", "rules", "alerts.test.yml")

    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
def test_settings_are_valid() -> None:
    """Prometheus understands its settings and the rules that they name."""
    done = promtool("check", "config", "prometheus.yml")

    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
def test_dashboards_queries_parse(tmp_path: Path) -> None:
    """Every query of the dashboard is PromQL, as Prometheus reads it."""
    rules = [
        {"record": f"panel:{number}", "expr": query.replace("$federation", ".*")}
        for number, (_, query) in enumerate(QUERIES)
    ]
    file = tmp_path / "queries.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))

    done = promtool("check", "rules", str(file))

    assert (done.returncode, f"{len(QUERIES)} rules found" in done.stdout) == (0, True), done.stdout + done.stderr

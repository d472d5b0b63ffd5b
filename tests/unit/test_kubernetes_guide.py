"""docs/kubernetes.md is true: commands, Secrets, overlays, and the test of each thing that it calls hardened."""

import re
import shlex
from pathlib import Path

import pytest

from deploy.manifests.objects import Name, of_kind
from isthmus.cli import build_parser
from tests import rendered
from tests.rendered import EVERY, MADE_ELSEWHERE

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "kubernetes.md").read_text(encoding="utf-8")
COMMANDS = [
    shlex.split(line, comments=True)
    for block in re.findall(r"```sh\n(.*?)```", GUIDE, flags=re.DOTALL)
    for line in block.splitlines()
]


def named(program: str) -> list[list[str]]:
    """The arguments of every command that begins with this word."""
    return [command[1:] for command in COMMANDS if command[:1] == [program]]


def volumes_of_sites() -> set[str]:
    """Claims that the manifests name and do not make."""
    return MADE_ELSEWHERE["PersistentVolumeClaim"]


@pytest.mark.parametrize("arguments", named("isthmus"), ids=" ".join)
def test_operator_commands_parse(arguments: list[str]) -> None:
    """Every `isthmus ...` of the guide is understood."""
    build_parser({}).parse_args(arguments)


def test_guide_makes_every_secret() -> None:
    """The guide's commands make each Secret that a manifest mounts, and no other, in its namespace."""
    made = {}
    for command in named("kubectl"):
        if command[2:4] == ["create", "secret"]:
            made[command[5]] = command[1]
    mounted = {}
    for rendering in EVERY:
        for volume in rendered.pod(rendering)["volumes"]:
            names = [part["secret"]["name"] for part in volume.get("projected", {}).get("sources", ())]
            names += [volume["secret"]["secretName"]] if "secret" in volume else []
            mounted |= dict.fromkeys(names, rendered.owner(rendering)["metadata"]["namespace"])

    assert made == mounted
    assert set(made) == MADE_ELSEWHERE["Secret"]


def test_guide_names_every_volume_of_a_site() -> None:
    """What a site brings is named where its commands are."""
    assert [name for name in volumes_of_sites() if f"`{name}`" not in GUIDE] == []


def test_paths_of_commands_exist() -> None:
    """Every overlay, chart and Dockerfile of a command is there."""
    words = {word for command in COMMANDS for word in command if word.startswith("deploy/")}

    assert len(words) >= 5
    assert sorted(word for word in words if not (ROOT / word).exists()) == []


def test_overlays_are_all_told() -> None:
    """The guide's first table has every overlay and every chart."""
    overlays = {path.name for path in (ROOT / "deploy" / "k8s" / "overlays").iterdir()}
    charts = {path.name for path in (ROOT / "deploy" / "helm").iterdir()}
    table = GUIDE.split("| overlay | chart |", 1)[1].split("\n\n", 1)[0]

    assert overlays <= set(re.findall(r"^\| `([a-z-]+)`", table, flags=re.MULTILINE))
    assert charts <= set(re.findall(r"`([a-z-]+)`", table))


def test_forwarded_ports_are_the_services() -> None:
    """The ports that the guide forwards are those of the Service that it names."""
    (forward,) = [command for command in named("kubectl") if "port-forward" in command]
    service = rendered.objects("local")[Name("Service", forward[3].partition("/")[2])]

    assert [int(port) for port in forward[4:]] == [port["port"] for port in service["spec"]["ports"]]


def test_namespaces_labels_are_the_policies() -> None:
    """The labels that the guide gives namespaces are those that the network policies let in."""
    given = [tuple(command[-1].split("=")) for command in named("kubectl") if command[0] == "label"]
    policies = of_kind(rendered.objects("production"), "NetworkPolicy")
    rules = [rule for policy in policies for rule in policy["spec"].get("ingress", ())]
    wanted = [pair for rule in rules for pair in rule["from"][0]["namespaceSelector"]["matchLabels"].items()]

    assert sorted(given) == sorted(wanted) == [("isthmus-callers", "true"), ("isthmus-scrapers", "true")]


def test_every_hardening_has_its_test() -> None:
    """Each row of the table of what is hardened names tests, and each of them exists."""
    table = GUIDE.split("| what | how | test |", 1)[1].split("\n\n", 1)[0]
    rows = [row.split("|")[3] for row in table.splitlines()[2:]]
    wanted = [re.findall(r"`(test_\w+)`", row) for row in rows]
    defined = {
        name
        for file in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"^def (test_\w+)", file.read_text(encoding="utf-8"), flags=re.MULTILINE)
    }

    assert len(rows) >= 15
    assert all(wanted)
    assert sorted({name for row in wanted for name in row} - defined) == []

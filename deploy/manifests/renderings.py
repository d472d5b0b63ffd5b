"""What is rendered: each overlay by kustomize, each chart by helm, into deploy/k8s/rendered, which is committed.

So that who has neither tool can read, apply and test what they make. The first line of each file has the SHA-256 of its
sources and of the rest: a test sees, without tools, when either changed and nobody rendered it anew.
"""

import hashlib
import subprocess  # nosec B404  # judged at each call
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

DEPLOY = Path(__file__).parents[1]
FOLDER = DEPLOY / "k8s" / "rendered"
HEADER = "# Written by `make k8s-render`: change its sources, not this. SHA-256 of them, and of what follows: "


class Rendering(NamedTuple):
    """One file of deploy/k8s/rendered.

    Attributes:
        tool: What renders it.
        source: The overlay's or the chart's folder, below deploy/.
        namespace: Where it is installed.
        values: What is set beside the chart's defaults.
        twin: The rendering that must have the same objects; empty: none.
        only: The one template of the chart that is rendered; empty: all.
    """

    tool: str
    source: str
    namespace: str = "isthmus"
    values: tuple[str, ...] = ()
    twin: str = ""
    only: str = ""


RENDERINGS: Mapping[str, Rendering] = {
    "local": Rendering("kubectl", "k8s/overlays/local"),
    "production": Rendering("kubectl", "k8s/overlays/production"),
    "production-ingress": Rendering("kubectl", "k8s/overlays/production-ingress"),
    "pod-monitor": Rendering("kubectl", "k8s/overlays/pod-monitor"),
    "silo": Rendering("kubectl", "k8s/overlays/silo", "isthmus-silo"),
    "silo-job": Rendering("kubectl", "k8s/overlays/silo-job", "isthmus-silo"),
    "helm-production": Rendering("helm", "helm/isthmus-aggregator", twin="production"),
    "helm-production-ingress": Rendering(
        "helm", "helm/isthmus-aggregator", values=("exposure.kind=ingress",), twin="production-ingress"
    ),
    "helm-pod-monitor": Rendering(
        "helm",
        "helm/isthmus-aggregator",
        values=("metrics.podMonitor.enabled=true",),
        twin="pod-monitor",
        only="templates/pod-monitor.yaml",
    ),
    "helm-silo": Rendering("helm", "helm/isthmus-silo", "isthmus-silo", twin="silo"),
    "helm-silo-job": Rendering("helm", "helm/isthmus-silo", "isthmus-silo", ("kind=job",), "silo-job"),
}


class RenderingFailed(Exception):
    """A tool could not render; carries its words."""


def render(name: str, tools: Mapping[str, Path]) -> str:
    """The text that a file of deploy/k8s/rendered must have.

    Args:
        name: Of `RENDERINGS`.
        tools: Where kubectl and helm are.

    Raises:
        RenderingFailed: The tool says why.
    """
    one = RENDERINGS[name]
    source = str(DEPLOY / one.source)
    if one.tool == "kubectl":
        made = said_by([str(tools["kubectl"]), "kustomize", source])
    else:
        sets = [argument for value in one.values for argument in ("--set", value)]
        sets += ["--show-only", one.only] if one.only else []
        made = said_by([str(tools["helm"]), "template", "isthmus", source, "--namespace", one.namespace, *sets])
    return f"{header(name, made)}\n{made}"


def header(name: str, made: str) -> str:
    """The first line of a rendering of which the rest is `made`."""
    return f"{HEADER}{digest_of_sources(name)} {hashlib.sha256(made.encode()).hexdigest()}"


def said_by(command: list[str]) -> str:
    """What a tool writes to its standard output.

    Raises:
        RenderingFailed: It ended with an error.
    """
    done = subprocess.run(  # nosec B603  # no shell; the arguments are our own
        command, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RenderingFailed(done.stderr.strip())
    return done.stdout


def digest_of_sources(name: str) -> str:
    """Hex SHA-256 over every file that a rendering is made of, and over how it is made."""
    digest = hashlib.sha256(repr(RENDERINGS[name]).encode())
    for file in sorted(set(sources(name))):
        digest.update(f"{file.relative_to(DEPLOY)}\0".encode() + hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def sources(name: str) -> Iterator[Path]:
    """Every file that a rendering may be made of: a chart's folder, or all of kustomize's but what is rendered."""
    one = RENDERINGS[name]
    top = DEPLOY / (one.source if one.tool == "helm" else "k8s")
    for file in top.rglob("*"):
        if file.is_file() and FOLDER not in file.parents and file.name != "waivers.toml":
            yield file

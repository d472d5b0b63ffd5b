"""What tools say of a rendering: schemas of Kubernetes, types of what CRDs define, a policy linter and its waivers."""

import json
import subprocess  # nosec B404  # judged at each call
import tempfile
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from deploy.manifests.objects import Name, Object
from deploy.manifests.renderings import DEPLOY

VERSIONS = ("1.30", "1.37")
"""Of Kubernetes: the oldest that the charts allow, and the newest whose schemas there are."""

MODELS: Mapping[str, str] = {
    "gateway.networking.k8s.io/v1": "@kubernetes-models/gateway-api/gateway.networking.k8s.io/v1",
    "cert-manager.io/v1": "@kubernetes-models/cert-manager/cert-manager.io/v1",
    "monitoring.coreos.com/v1": "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1",
}
"""Where the types of an API's kinds are; kubernetes-validate knows the others."""

WAIVERS = DEPLOY / "k8s" / "waivers.toml"

CANARY: Object = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "canary"},
    "spec": {"replicas": "three", "selector": {}, "template": {}, "nosuchkey": 1},
}
ROUTE_CANARY: Object = {
    "apiVersion": "gateway.networking.k8s.io/v1",
    "kind": "TLSRoute",
    "metadata": {"name": "canary"},
    "spec": {"hostnames": ["a.example"], "rules": [{"backendRefs": [{"name": "a", "port": 1, "nosuchkey": 1}]}]},
}
"""What is wrong for certain: a judge that says nothing against it judges nothing."""

_COMPILING = ("--noEmit", "--strict", "--skipLibCheck", "--preserveSymlinks", "--target", "es2022")


class Waiver(NamedTuple):
    """One check of the linter that is not followed for one object.

    Attributes:
        check: Its id.
        object: Such as "Deployment/isthmus-silo".
        reason: Why not.
    """

    check: str
    object: str
    reason: str


def load_waivers(file: Path = WAIVERS) -> list[Waiver]:
    """Every waiver, one for each object that it names."""
    found = tomllib.loads(file.read_text(encoding="utf-8"))["waiver"]
    return [Waiver(one["check"], name, one["reason"].strip()) for one in found for name in one["objects"]]


def wrong_by_schema(program: Path, file: Path, *, version: str) -> list[str]:
    """What kubernetes-validate says against a rendering; unknown keys are wrong, CRDs' kinds are `wrong_by_type`'s."""
    ran = _run([program, "--kubernetes-version", version, "--strict", "--quiet", file])
    said = [line for line in (ran.stdout + ran.stderr).splitlines() if line.strip()]
    known = [line for line in said if not any(f"with api version {api} " in line for api in MODELS)]
    return known or (["it failed and does not say why"] if ran.returncode and not said else [])


def wrong_by_type(node: Path, modules: Mapping[str, Path], objects: Mapping[Name, Object]) -> list[str]:
    """What is wrong with objects that CRDs define: unknown keys, missing ones, wrong types and words."""
    judged = [found for found in objects.values() if found["apiVersion"] in MODELS]
    if not judged:
        return []
    with tempfile.TemporaryDirectory(prefix="isthmus-types-") as folder:
        for name, path in modules.items():
            link = Path(folder) / "node_modules" / name
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(path)
        source = Path(folder) / "objects.mts"
        source.write_text("".join(_typescript(judged)), encoding="utf-8")
        compiler = modules["typescript"] / "bin" / "tsc"
        ran = _run([node, compiler, *_COMPILING, "--module", "nodenext", "--moduleResolution", "nodenext", source])
    return [line for line in ran.stdout.splitlines() if line.strip()]


def _typescript(objects: Iterable[Object]) -> Iterator[str]:
    for number, found in enumerate(objects):
        kind = found["kind"]
        yield f'import {{ I{kind} as Kind{number} }} from "{MODELS[found["apiVersion"]]}";\n'
        yield f"export const object{number}: Kind{number} = {json.dumps(found)};\n"


def asleep(validate: Path, node: Path, modules: Mapping[str, Path]) -> list[str]:
    """Judges that say nothing against the canaries."""
    with tempfile.TemporaryDirectory(prefix="isthmus-canary-") as folder:
        file = Path(folder) / "canary.yaml"
        file.write_text(json.dumps(CANARY), encoding="utf-8")
        silent = [version for version in VERSIONS if not wrong_by_schema(validate, file, version=version)]
    if not wrong_by_type(node, modules, {Name("TLSRoute", "canary"): ROUTE_CANARY}):
        silent.append("CRD types")
    return silent


def failed_checks(checkov: Path, files: Sequence[Path]) -> dict[tuple[str, str], str]:
    """What the linter says against renderings: its words, by the check's id and the object's name.

    Raises:
        SystemExit: It judged nothing.
    """
    named = [argument for file in files for argument in ("--file", file)]
    quiet = ("--framework", "kubernetes", "--output", "json", "--skip-download", "--quiet")
    ran = _run([checkov, *named, *quiet])
    try:
        report: dict[str, Any] = json.loads(ran.stdout)
        assert report["summary"]["passed"] > 0  # nosec B101  # told below
    except (ValueError, KeyError, AssertionError, TypeError):
        raise SystemExit(f"k8s-test: checkov judged nothing; it says: {ran.stderr.strip()[-500:]}") from None
    failed = report["results"]["failed_checks"]
    return {(one["check_id"], _short(one["resource"])): one["check_name"] for one in failed}


def _short(resource: str) -> str:
    """Kind/name of what checkov calls Kind.namespace.name."""
    kind, _, name = resource.split(".", 2)
    return f"{kind}/{name}"


def against_waivers(failed: Mapping[tuple[str, str], str], waivers: Iterable[Waiver]) -> list[str]:
    """What is not waived, what is waived in vain, and what is waived without a reason."""
    waived = {(one.check, one.object): one.reason for one in waivers}
    return [
        *(f"{check} {name}: {failed[check, name]}" for check, name in sorted(set(failed) - set(waived))),
        *(f"{check} {name}: waived, but nothing fails" for check, name in sorted(set(waived) - set(failed))),
        *(f"{check} {name}: waived without a reason" for (check, name), reason in waived.items() if not reason),
    ]


def _run(command: Sequence[str | Path]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(  # nosec B603  # no shell; the arguments are our own
        [str(part) for part in command], capture_output=True, text=True, check=False
    )

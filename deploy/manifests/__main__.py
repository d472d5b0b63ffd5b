"""python -m deploy.manifests render | test: writes deploy/k8s/rendered anew, or judges what is there, as a table.

`test` exits with 1 when anything is wrong: a rendering that is not what its sources make, a schema, a type, the
restricted profile, the linter without a waiver. No cluster is asked: what only an API server computes is not judged.
"""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from deploy.manifests.charts import CHARTS, REFUSALS, VARIANTS
from deploy.manifests.judges import (
    VERSIONS,
    against_waivers,
    asleep,
    failed_checks,
    load_waivers,
    wrong_by_schema,
    wrong_by_type,
)
from deploy.manifests.objects import comparable, pods, read
from deploy.manifests.renderings import DEPLOY, FOLDER, RENDERINGS, RenderingFailed, render, said_by
from deploy.manifests.restricted import violations
from deploy.manifests.tools import Tools, find_tools
from isthmus.errors import IsthmusError

ROOT = DEPLOY.parent
ENVIRONMENT = ROOT / ".venv-k8s"


def main() -> int:
    """Does what the command line says; the exit code."""
    if sys.argv[1:] not in (["render"], ["test"]):
        print("usage: python -m deploy.manifests render | test", file=sys.stderr)
        return 2
    try:
        tools = find_tools(ROOT, environment=ENVIRONMENT, say=print)
        return write_all(tools) if sys.argv[1] == "render" else judge_all(tools)
    except (IsthmusError, RenderingFailed) as error:
        print(f"k8s-{sys.argv[1]}: {error}", file=sys.stderr)
        return 1


def write_all(tools: Tools) -> int:
    """Renders everything into deploy/k8s/rendered."""
    FOLDER.mkdir(exist_ok=True)
    for name in RENDERINGS:
        (FOLDER / f"{name}.yaml").write_text(render(name, tools.programs), encoding="utf-8")
        print(f"deploy/k8s/rendered/{name}.yaml")
    return 0


def judge_all(tools: Tools) -> int:
    """Judges every rendering and prints a table, then what is wrong."""
    columns = ("fresh", *(f"schemas {version}" for version in VERSIONS), "CRD types", "restricted", "twin")
    print(f"| {'rendering':24} | objects | {' | '.join(columns)} |\n|---|---|{'---|' * len(columns)}")
    programs = tools.programs
    silent = asleep(programs["kubernetes-validate"], programs["node"], tools.modules)
    found = [f"{one} finds nothing wrong with what is wrong for certain" for one in silent]
    for name in RENDERINGS:
        judged = judge(name, tools)
        cells = [
            ("well" if not wrong else f"{len(wrong)} wrong").ljust(len(column)) for column, wrong in judged.items()
        ]
        objects = read((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))
        print(f"| {name:24} | {len(objects):7} | {' | '.join(cells)} |")
        found += [f"{name}, {column}: {line}" for column, wrong in judged.items() for line in wrong]
    of_charts = list(wrong_with_charts(tools))
    print(f"charts: {len(REFUSALS)} refusals, {len(VARIANTS)} variants, helm lint --strict; {len(of_charts)} wrong")
    found += of_charts
    failed = failed_checks(programs["checkov"], [FOLDER / f"{name}.yaml" for name in RENDERINGS])
    waivers = load_waivers()
    unwaived = against_waivers(failed, waivers)
    print(f"checkov: {len(failed)} checks not followed, {len(waivers)} waived with a reason, {len(unwaived)} wrong")
    found += [f"checkov: {line}" for line in unwaived]
    print("".join(f"WRONG {line}\n" for line in found), end="")
    return 1 if found else 0


def judge(name: str, tools: Tools) -> dict[str, list[str]]:
    """What each judge says against a rendering, by the table's column."""
    file = FOLDER / f"{name}.yaml"
    text, twin = file.read_text(encoding="utf-8"), RENDERINGS[name].twin
    objects = read(text)
    validate = tools.programs["kubernetes-validate"]
    return {
        "fresh": [] if text == render(name, tools.programs) else ["its sources make another: make k8s-render"],
        **{f"schemas {version}": wrong_by_schema(validate, file, version=version) for version in VERSIONS},
        "CRD types": wrong_by_type(tools.programs["node"], tools.modules, objects),
        "restricted": [f"{owner}: {line}" for owner, pod in pods(objects) for line in violations(pod)],
        "twin": unlike(text, FOLDER / f"{twin}.yaml") if twin else [],
    }


def wrong_with_charts(tools: Tools) -> Iterator[str]:
    """What helm lints, what the charts let pass that they must refuse, and what their variants come to."""
    helm, folder = str(tools.programs["helm"]), DEPLOY / "helm"
    for chart in CHARTS:
        said_by([helm, "lint", "--strict", "--quiet", str(folder / chart)])
    for chart, values, words in REFUSALS:
        try:
            templated(helm, folder / chart, values)
        except RenderingFailed as refused:
            if words not in str(refused):
                yield f"{chart} with {values} is refused, but not in the words {words!r}: {refused}"
        else:
            yield f"{chart} takes {values}"
    for chart, values in VARIANTS:
        yield from wrong_with_variant(templated(helm, folder / chart, values), tools)


def templated(helm: str, chart: Path, values: tuple[str, ...]) -> str:
    """What a chart renders.

    Raises:
        RenderingFailed: It refuses; says why.
    """
    sets = [argument for value in values for argument in ("--set", value)]
    return said_by([helm, "template", "isthmus", str(chart), "--namespace", "isthmus", *sets])


def wrong_with_variant(text: str, tools: Tools) -> Iterator[str]:
    """What each judge says against a text that is in no file."""
    objects = read(text)
    with tempfile.TemporaryDirectory(prefix="isthmus-variant-") as folder:
        file = Path(folder) / "variant.yaml"
        file.write_text(text, encoding="utf-8")
        for version in VERSIONS:
            yield from wrong_by_schema(tools.programs["kubernetes-validate"], file, version=version)
    yield from wrong_by_type(tools.programs["node"], tools.modules, objects)
    yield from (f"{owner}: {line}" for owner, pod in pods(objects) for line in violations(pod))


def unlike(text: str, twin: Path) -> list[str]:
    """Objects in which a rendering differs from its twin."""
    ours, theirs = comparable(text), comparable(twin.read_text(encoding="utf-8"))
    return [str(name) for name in sorted(set(ours) | set(theirs)) if ours.get(name) != theirs.get(name)]


if __name__ == "__main__":
    sys.exit(main())

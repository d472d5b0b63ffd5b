"""What each lock is asked to hold, told from pyproject.toml. Values only."""

from collections.abc import Mapping, Sequence
from typing import Any

from packaging.requirements import Requirement

OWN = "isthmus"
WITHOUT_TORCH = ("aggregator", "ray", "traces")
"""Only the SDK needs torch; neither what runs the aggregator nor what adds to it (docs/adr/0009)."""

Wanted = dict[str, list[str]]


def wanted(pyproject: Mapping[str, Any]) -> Wanted:
    """The requirements of every lock: one for each extra and dependency group, and one to build our own wheel with."""
    project, extras = pyproject["project"], pyproject["project"]["optional-dependencies"]
    installed = {extra: [*project["dependencies"], *_flat(extras, extra)] for extra in extras}
    for extra in WITHOUT_TORCH:
        installed[extra] = [line for line in installed[extra] if Requirement(line).name != "torch"]
    return {**installed, **pyproject["dependency-groups"], "build": pyproject["build-system"]["requires"]}


def _flat(extras: Mapping[str, Sequence[str]], extra: str) -> list[str]:
    """An extra's requirements, with those of the extras that it names in their place."""
    lines: list[str] = []
    for line in extras[extra]:
        requirement = Requirement(line)
        if requirement.name == OWN:
            lines.extend(inner for name in sorted(requirement.extras) for inner in _flat(extras, name))
        else:
            lines.append(line)
    return lines

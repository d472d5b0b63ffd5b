"""The objects of a rendering: read, named, and made comparable. Values only."""

import re
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import yaml

Object = dict[str, Any]

PODS = ("Deployment", "Job")
"""Kinds that make pods here."""

_HASHED = re.compile(r"\b(isthmus-(?:aggregator|silo)-(?:config|site))-[0-9a-z]{10}\b")
_WHOSE = ("app.kubernetes.io/managed-by", "helm.sh/chart", "app.kubernetes.io/name", "app.kubernetes.io/component")


class Name(NamedTuple):
    """What tells one object of a namespace from another."""

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.name}"


def read(text: str) -> dict[Name, Object]:
    """Every object of a rendering by its name."""
    objects = [found for found in yaml.safe_load_all(text) if found]
    named = {Name(found["kind"], found["metadata"]["name"]): found for found in objects}
    assert len(named) == len(objects), "two objects of one name"  # nosec B101  # kustomize and helm refuse them, too
    return named


def of_kind(objects: Mapping[Name, Object], kind: str) -> list[Object]:
    """All objects of a kind."""
    return [found for name, found in objects.items() if name.kind == kind]


def pods(objects: Mapping[Name, Object]) -> Iterator[tuple[Name, Object]]:
    """Every pod's spec, by what makes the pod."""
    for name, found in objects.items():
        if name.kind in PODS:
            yield name, found["spec"]["template"]["spec"]


def containers(pod: Object) -> list[Object]:
    """All containers of a pod, those that run before it included."""
    return [*pod.get("initContainers", ()), *pod["containers"]]


def comparable(text: str) -> dict[Name, Object]:
    """The objects without what kustomize and helm do each in their own way.

    That is: the namespace itself, which helm does not make; hashes in names and checksums in annotations, each of which
    rolls the pods after a change of the settings; labels of whose an object is; comments in settings.
    """
    found = {name: one for name, one in read(_HASHED.sub(r"\1", text)).items() if name.kind != "Namespace"}
    for one in found.values():
        labels = one["metadata"].get("labels", {})
        one["metadata"]["labels"] = {key: value for key, value in labels.items() if key not in _WHOSE}
        template = one["spec"].get("template", {}) if one["kind"] in PODS else {}
        template.get("metadata", {}).pop("annotations", None)
        for key, value in one.get("data", {}).items():
            one["data"][key] = tomllib.loads(value) if key.endswith(".toml") else value
    return found

"""The charts: every value is in the schema and the other way round, versions are the project's, defaults are told."""

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.manifests.charts import CHARTS, REFUSALS

ROOT = Path(__file__).parents[2]
CHART_FOLDERS = ROOT / "deploy" / "helm"


def loaded(chart: str, file: str) -> dict[str, Any]:
    """A file of a chart."""
    return dict(yaml.safe_load((CHART_FOLDERS / chart / file).read_text(encoding="utf-8")))


def keys_of_values(values: dict[str, Any], schema: dict[str, Any], above: str = "") -> Iterator[str]:
    """The dotted path of every value, down to where the schema leaves the keys to whoever sets them."""
    for key, value in values.items():
        below = schema.get("properties", {}).get(key, {})
        if isinstance(value, dict) and "properties" in below:
            yield from keys_of_values(value, below, f"{above}{key}.")
        else:
            yield f"{above}{key}"


def keys_of_schema(schema: dict[str, Any], above: str = "") -> Iterator[str]:
    """The dotted path of every property that has none below it."""
    for key, below in schema["properties"].items():
        if "properties" in below:
            yield from keys_of_schema(below, f"{above}{key}.")
        else:
            yield f"{above}{key}"


def objects_of(schema: object) -> Iterator[dict[str, Any]]:
    """Every part of a schema that has properties."""
    if isinstance(schema, dict):
        if "properties" in schema:
            yield schema
        for below in schema.values():
            yield from objects_of(below)


@pytest.mark.parametrize("chart", CHARTS)
def test_schema_has_every_value(chart: str) -> None:
    """values.yaml and values.schema.json have the same keys, and the schema lets no other pass."""
    schema = json.loads((CHART_FOLDERS / chart / "values.schema.json").read_text(encoding="utf-8"))
    known = set(keys_of_schema(schema)) - {"global"}  # helm's own

    assert set(keys_of_values(loaded(chart, "values.yaml"), schema)) == known
    assert [part for part in objects_of(schema) if part.get("additionalProperties") is not False] == []


@pytest.mark.parametrize("chart", CHARTS)
def test_versions_are_the_projects(chart: str) -> None:
    """Chart, images and project have one version."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    named = loaded(chart, "Chart.yaml")

    assert (named["version"], named["appVersion"]) == (version, version)
    for file in (ROOT / "deploy" / "k8s").rglob("kustomization.yaml"):
        tags = [image.get("newTag", version) for image in yaml.safe_load(file.read_text()).get("images", ())]
        assert set(tags) <= {version}, file


def test_charts_are_those_that_are_judged() -> None:
    """Every chart is linted, and has values that it must refuse."""
    assert sorted(path.name for path in CHART_FOLDERS.iterdir()) == sorted(CHARTS)
    assert {refusal.chart for refusal in REFUSALS} == set(CHARTS)

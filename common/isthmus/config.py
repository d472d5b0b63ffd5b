"""Settings of a process: one TOML file, then environment variables, then `--set`; the later wins.

Knows how the three are merged and how a wrong key is told. The keys themselves stand in a pydantic model.
"""

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, ValidationInfo

from isthmus.errors import ConfigInvalid
from isthmus.tables import explain

Settings = TypeVar("Settings", bound=BaseModel)


class TracesTable(BaseModel):
    """[traces] of a process: where its spans go. Absent: where OpenTelemetry's own variables say, or nowhere."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    endpoint: str = Field(default="", pattern=r"^(https?://\S+)?$")
    """OTLP over gRPC: "http://host:4317", or https; "": what OTEL_EXPORTER_OTLP_ENDPOINT names, if anything."""
    share: float = Field(default=1.0, gt=0.0, le=1.0)
    """Of all traces; which ones follows from their ids, so processes with one share keep the same."""


def load_settings(
    model: type[Settings], file: Path, *, prefix: str, environment: Mapping[str, str], assignments: Sequence[str] = ()
) -> Settings:
    """The settings in the file, overridden by the environment, overridden by assignments.

    Args:
        model: Forbids unknown keys.
        file: TOML. Relative paths in it are relative to its folder, see `FilePath`.
        prefix: `PREFIX__A__B=value` in the environment sets a.b.
        environment: Environment variables of the process.
        assignments: "a.b=value", as given with `--set`. A value is read as TOML where it is TOML, else as plain text.

    Raises:
        ConfigInvalid: The file cannot be read or is no TOML, or a key is unknown, missing or out of range; names it.
    """
    tree = _read(file)
    for name in sorted(environment):
        if name.startswith(f"{prefix}__"):
            _assign(tree, name.removeprefix(f"{prefix}__").lower().split("__"), environment[name])
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if not equals:
            raise ConfigInvalid(f"--set {assignment} has no value; write --set key=value.")
        _assign(tree, key.strip().split("."), value)
    try:
        return model.model_validate(tree, context={"folder": file.absolute().parent})
    except ValidationError as error:
        raise ConfigInvalid(f"The configuration {file} is wrong: {explain(error)}") from error


def _beside_the_file(path: Path, info: ValidationInfo) -> Path:
    return Path((info.context or {}).get("folder", "")) / path.expanduser()


FilePath = Annotated[Path, AfterValidator(_beside_the_file)]
"""A path in a settings file; a relative one starts at the folder of that file."""


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigInvalid(f"The configuration {file} cannot be read: {error.strerror}. Correct --config.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigInvalid(f"The configuration {file} is not valid TOML: {error}.") from error


def _assign(tree: dict[str, Any], path: Sequence[str], text: str) -> None:
    *parents, last = path
    for part in parents:
        branch = tree.setdefault(part, {})
        if not isinstance(branch, dict):
            raise ConfigInvalid(f"{'.'.join(path)} cannot be set: {part} is a value, not a table.")
        tree = branch
    tree[last] = _value(text)


def _value(text: str) -> object:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text

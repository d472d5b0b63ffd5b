"""Bills of materials of the images, as CycloneDX JSON: python -m deploy.supply.sbom, into reports/sbom.

Names, versions and hashes come from the locks that the images install from, licences from what the packages in this
environment say of themselves, and from requirements/licences.toml for those that are not in it.
"""

import importlib.metadata
import json
import sys
import tomllib
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any

from packaging.utils import canonicalize_name

from deploy.supply.locks import CUDA, FOLDER, Pin, load_lock

IMAGES = {"aggregator": ("aggregator", "traces"), "silo": ("silo", "traces", CUDA)}
"""Each image, and the locks that it installs from; the silo's takes the CUDA build of torch where the index has it."""

LONGEST_LICENCE = 200
"""Characters: some packages put the whole text where the name belongs."""

Document = dict[str, Any]


def main() -> int:
    """Writes one document for each image."""
    folder = FOLDER.parent / "reports" / "sbom"
    folder.mkdir(parents=True, exist_ok=True)
    project = tomllib.loads((FOLDER.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    stated = tomllib.loads((FOLDER / "licences.toml").read_text(encoding="utf-8"))
    for image, locks in IMAGES.items():
        pins = shipped(locks)
        made = bill(image, pins, version=project["version"], licence=lambda name: licence_of(name, stated))
        (folder / f"{image}.cdx.json").write_text(json.dumps(made, indent=2) + "\n", encoding="utf-8")
        sys.stdout.write(f"reports/sbom/{image}.cdx.json: {len(pins)} components\n")
    return 0


def shipped(locks: Iterable[str]) -> list[Pin]:
    """What an image has of these locks, each package once."""
    return list({pin.name: pin for lock in locks for pin in load_lock(lock) if is_shipped(pin)}.values())


def is_shipped(pin: Pin) -> bool:
    """Whether an image, which is Linux and CPython, has it."""
    return not any(elsewhere in pin.marker for elsewhere in ("'win32'", "== 'emscripten'"))


def bill(image: str, pins: Iterable[Pin], *, version: str, licence: Callable[[str], Document]) -> Document:
    """The CycloneDX 1.6 document of an image; the same bytes for the same locks.

    Args:
        image: What the image is called, without the project's name.
        pins: Everything that it installs beside our own packages.
        version: Of our own packages.
        licence: The licence of a package by its name, as an entry of `licenses`.
    """
    own = f"pkg:pypi/isthmus@{version}"
    components = [component(pin, licence(pin.name)) for pin in sorted(pins, key=lambda pin: pin.name)]
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {
                "type": "container",
                "bom-ref": own,
                "name": f"isthmus-{image}",
                "version": version,
                "purl": own,
                "licenses": [{"license": {"id": "Apache-2.0"}}],
            }
        },
        "components": components,
        "dependencies": [{"ref": own, "dependsOn": [part["bom-ref"] for part in components]}],
    }


def component(pin: Pin, licence: Document) -> Document:
    """One package. It has a file for each platform: the hashes are those of all that may be installed as it."""
    purl = f"pkg:pypi/{pin.name}@{pin.version}"
    hashes = [{"alg": "SHA-256", "content": content} for content in pin.hashes]
    return {
        "type": "library",
        "bom-ref": purl,
        "name": pin.name,
        "version": pin.version,
        "purl": purl,
        "licenses": [licence],
        "externalReferences": [{"type": "distribution", "url": purl, "hashes": hashes}],
    }


def licence_of(name: str, stated: Mapping[str, str]) -> Document:
    """A package's licence: as its own metadata say; else as `stated` does.

    Raises:
        SystemExit: Neither says any.
    """
    found = installed()
    said = stated_licence(found[name]) if name in found else None
    if said is None and name not in stated:
        raise SystemExit(
            f"sbom: no licence of {name} is known. Put what its metadata say into requirements/licences.toml."
        )
    return said or {"license": {"name": stated[name]}}


@cache
def installed() -> dict[str, Any]:
    """The metadata of every package in this environment, by name."""
    return {canonicalize_name(d.metadata["Name"]): d.metadata for d in importlib.metadata.distributions()}


def stated_licence(metadata: Any) -> Document | None:  # noqa: ANN401  # importlib.metadata exports no type for it
    """What a package's metadata say: an SPDX expression, a name, or classifiers, in that order."""
    if expression := metadata.get("License-Expression"):
        return {"expression": expression}
    licence = metadata.get("License") or ""
    if licence.strip() and len(licence) <= LONGEST_LICENCE and "\n" not in licence.strip():
        return {"license": {"name": licence.strip()}}
    classified = [c for c in metadata.get_all("Classifier") or [] if c.startswith("License :: ")]
    return {"license": {"name": classified[0].rpartition(" :: ")[2]}} if classified else None


if __name__ == "__main__":
    sys.exit(main())

"""The audit never takes silence for an answer; bills of materials name everything; bandit skips nothing as a whole."""

import re
import tomllib
from email.message import Message
from pathlib import Path
from typing import Any

import pytest

from deploy.supply.audit import CANARY, CLEAN, NOT_MADE, VULNERABLE, apart, judge
from deploy.supply.locks import CUDA, FOLDER, Pin, load_lock
from deploy.supply.sbom import IMAGES, bill, licence_of, shipped, stated_licence

ROOT = Path(__file__).parents[2]
PIN = Pin("numpy", "2.4.6", "", ("a" * 64,))
STATED = tomllib.loads((FOLDER / "licences.toml").read_text(encoding="utf-8"))


def answer(pin: Pin, *vulnerabilities: str) -> dict[str, Any]:
    """What pip-audit says of an entry that its service knows."""
    vulns = [{"id": name, "fix_versions": ["9.9"]} for name in vulnerabilities]
    return {"name": pin.name, "version": pin.version, "vulns": vulns}


KNOWN = answer(CANARY, "PYSEC-0")
SKIPPED = {"name": PIN.name, "version": PIN.version, "skip_reason": "not found"}


@pytest.mark.parametrize(
    ("answers", "code"),
    [
        ([answer(PIN), KNOWN], CLEAN),
        ([answer(PIN, "PYSEC-1"), KNOWN], VULNERABLE),
        ([SKIPPED, KNOWN], NOT_MADE),
        ([], NOT_MADE),
        ([answer(PIN), answer(CANARY)], NOT_MADE),
        ([answer(PIN, "PYSEC-1")], VULNERABLE),
    ],
    ids=["clean", "vulnerable", "unknown entry", "no answer", "service that knows nothing", "enough is known"],
)
def test_audit_tells_silence_from_clean(answers: list[dict[str, Any]], code: int) -> None:
    """Only a service that knows every entry, and knows a vulnerable one for what it is, can call the locks clean."""
    assert judge([PIN], answers, "").code == code


def test_audit_says_what_is_wrong() -> None:
    """What is known against an entry is told with what mends it; why an audit was not made, in its client's words."""
    assert "numpy 2.4.6: PYSEC-1; fixed in 9.9." in judge([PIN], [answer(PIN, "PYSEC-1")], "").lines
    assert "ERROR:unreachable" in judge([PIN], [], "WARNING:x\nERROR:unreachable").lines


def test_audit_asks_about_all() -> None:
    """Two versions of one package are both asked about, in lists that name it once each."""
    other = Pin("numpy", "1.0", "", ())

    assert apart([PIN, other, CANARY]) == [[PIN, CANARY], [other]]


@pytest.mark.parametrize("image", sorted(IMAGES))
def test_bill_names_everything(image: str) -> None:
    """An image's bill has each package of its locks, with version, licence and every hash that may be installed."""
    pins = shipped(IMAGES[image])

    made = bill(image, pins, version="1", licence=lambda name: licence_of(name, STATED))

    by_name = {part["name"]: part for part in made["components"]}
    assert sorted(by_name) == sorted(pin.name for pin in pins)
    for pin in pins:
        part = by_name[pin.name]
        hashes = [entry["content"] for entry in part["externalReferences"][0]["hashes"]]
        assert (part["version"], tuple(hashes), len(part["licenses"])) == (pin.version, pin.hashes, 1)


def test_bill_is_of_what_the_images_install() -> None:
    """Each image's Dockerfile installs from the locks of its bill."""
    for image, locks in IMAGES.items():
        wanted = " ".join(lock for lock in locks if lock != CUDA)  # that one is taken where it is needed
        text = (ROOT / "deploy" / f"{image}.Dockerfile").read_text(encoding="utf-8")

        assert f"requirements/install /opt/isthmus/bin/python {wanted}" in text


def test_licences_are_stated_where_nothing_says_them() -> None:
    """Every package of the CUDA build has its licence on record: most machines do not have it to ask."""
    assert set(STATED) == {pin.name for pin in load_lock(CUDA)}


def test_no_licence_is_no_bill() -> None:
    """A package whose licence nobody says ends the bill with what to do."""
    with pytest.raises(SystemExit, match="no licence of no-such-package is known"):
        licence_of("no-such-package", {})


def test_whole_texts_are_no_names() -> None:
    """A package that puts its licence's text where the name belongs is asked for its classifiers."""
    metadata = Message()
    metadata["License"] = "x" * 1000
    metadata["Classifier"] = "License :: OSI Approved :: MIT License"

    assert stated_licence(metadata) == {"license": {"name": "MIT License"}}


def test_bandit_skips_nothing_as_a_whole() -> None:
    """Its settings leave out no test and no folder."""
    assert tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["bandit"] == {"skips": []}


def test_every_exception_for_bandit_has_its_id_and_reason() -> None:
    """A line that bandit must pass says which of its tests is meant, and why."""
    files = [
        file for folder in ("aggregator", "common", "deploy", "silo_agent") for file in (ROOT / folder).rglob("*.py")
    ]
    lines = [line for file in files for line in file.read_text(encoding="utf-8").splitlines() if "# nosec" in line]

    assert lines
    assert [line for line in lines if not re.search(r"# nosec B\d{3}  # \w.{4,}$", line)] == []


def test_make_runs_bandit_over_all_that_ships() -> None:
    """`make security` names every folder of code that is installed or copied into an image."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")

    assert "--configfile pyproject.toml aggregator common deploy silo_agent\n" in makefile

"""Captioned pictures out of the unpacked packages: one concept drawn by three vendors, concepts grouped by topic.

Each silo gets one topic, drawn by the training vendors. The held-out pictures show the same concepts as another vendor
drew them, whom no silo has ever seen.
"""

import json
import random
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from deploy.demo.packages import FLUENT, NAMES, NOTO, TWEMOJI
from isthmus.errors import ConfigInvalid

TOPICS = {"animals": 3, "food": 4, "travel": 5, "objects": 7}
"""The demo's topics, one per silo, and their numbers in emojibase's data."""

PLAIN_NAME = re.compile(r"[a-z]+( [a-z]+){0,2}")
"""Names of one to three plain words: no dates, brands, numbers or quotation marks."""

AWKWARD_WORDS = frozenset({"not", "oncoming"})
"""Words of names that tell two drawings of one thing apart, and make no caption."""

SINGULAR_ENDINGS = ("ss", "us", "is")
"""Of words that end in s and yet are one thing: compass, hibiscus, tennis."""


class Vendor(NamedTuple):
    """Whose drawings: the name in file names, the name shown, the package, and where its pictures lie in it."""

    name: str
    title: str
    package: str
    folder: str
    suffix: str


TRAINING_VENDORS = (
    Vendor("noto", "Noto", NOTO.name, "package/img/google/64", ".png"),
    Vendor("fluent", "Fluent 3D", FLUENT.name, "package/assets", ".webp"),
)
HELD_OUT_VENDOR = Vendor("twemoji", "Twemoji", TWEMOJI.name, "package/img/twitter/64", ".png")


class Concept(NamedTuple):
    """One thing that every vendor drew."""

    topic: str
    caption: str
    drawings: Mapping[str, Path]


@dataclass(frozen=True, slots=True)
class Picture:
    """One captioned picture on disk."""

    path: Path
    caption: str
    topic: str


@dataclass(frozen=True, slots=True)
class Collection:
    """What a demo trains and tests on.

    Attributes:
        silos: Data folder of each silo (imagefolder with metadata.jsonl), by its topic, which is its name.
        held_out: Pictures that no silo has, of all topics, as many of each.
    """

    silos: dict[str, Path]
    held_out: tuple[Picture, ...]


def concepts(folders: Mapping[str, Path], *, topics: Mapping[str, int] = TOPICS) -> list[Concept]:
    """Every plainly named concept of these topics that all three vendors drew, in the order of the names' data.

    Args:
        folders: Of the unpacked packages, by package name.
        topics: Each with its number in emojibase's data.

    Raises:
        ConfigInvalid: The names' data cannot be read.
    """
    file = folders[NAMES.name] / "package/en/data.json"
    try:
        rows = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigInvalid(f"{file} cannot be read: {error}. Delete its folder in the cache and retry.") from error
    names = {number: topic for topic, number in topics.items()}
    found = []
    for row in rows:
        topic, name = names.get(row.get("group")), row["label"]
        drawings = _drawings(row["hexcode"].lower(), folders)
        if topic and drawings and PLAIN_NAME.fullmatch(name) and AWKWARD_WORDS.isdisjoint(name.split()):
            found.append(Concept(topic, caption_of(name), drawings))
    return found


def caption_of(name: str) -> str:
    """A sentence of it: "red apple" to "A red apple.", "hourglass" to "An hourglass.", "grapes" to "Grapes."."""
    if name.endswith("s") and not name.endswith(SINGULAR_ENDINGS):
        return f"{name.capitalize()}."
    return f"{'An' if name.startswith(('a', 'e', 'i', 'o', 'u', 'hour')) else 'A'} {name}."


def lay_out(
    available: Sequence[Concept], folder: Path, *, concepts_per_silo: int, held_out_per_topic: int, seed: int
) -> Collection:
    """Draws concepts of each topic by the seed and copies their pictures into one data folder per topic: a silo.

    Args:
        available: To draw from.
        folder: New or empty; gets silos/<topic> and held-out/.
        concepts_per_silo: Each gives as many pictures as there are training vendors.
        held_out_per_topic: Of the same concepts, drawn by the vendor that nobody trains on.
        seed: Which concepts.

    Raises:
        ConfigInvalid: There are fewer concepts than asked for.
    """
    silos: dict[str, Path] = {}
    held_out: list[Picture] = []
    for topic in dict.fromkeys(concept.topic for concept in available):
        mine = sorted((concept for concept in available if concept.topic == topic), key=lambda one: one.caption)
        if len(mine) < max(concepts_per_silo, held_out_per_topic):
            raise ConfigInvalid(f"The topic {topic} has {len(mine)} concepts; {concepts_per_silo} were asked for.")
        chosen = random.Random(f"{seed} {topic}").sample(mine, concepts_per_silo)  # nosec B311  # must repeat
        silos[topic] = folder / "silos" / topic / "data"
        _write_imagefolder(chosen, silos[topic])
        held_out += _copy_held_out(chosen[:held_out_per_topic], folder / "held-out", topic=topic)
    return Collection(silos, tuple(held_out))


def _write_imagefolder(chosen: Sequence[Concept], folder: Path) -> None:
    folder.mkdir(parents=True)
    rows = []
    for concept in chosen:
        for vendor in TRAINING_VENDORS:
            name = _copy(concept, vendor, folder)
            rows.append(json.dumps({"file_name": name, "text": concept.caption}) + "\n")
    (folder / "metadata.jsonl").write_text("".join(rows), encoding="utf-8")


def _copy_held_out(chosen: Sequence[Concept], folder: Path, *, topic: str) -> list[Picture]:
    folder.mkdir(parents=True, exist_ok=True)
    return [Picture(folder / _copy(concept, HELD_OUT_VENDOR, folder), concept.caption, topic) for concept in chosen]


def _copy(concept: Concept, vendor: Vendor, folder: Path) -> str:
    drawing = concept.drawings[vendor.name]
    name = f"{concept.caption.rstrip('.').lower().replace(' ', '-')}-{vendor.name}{vendor.suffix}"
    shutil.copyfile(drawing, folder / name)
    return name


def _drawings(code: str, folders: Mapping[str, Path]) -> dict[str, Path]:
    """Each vendor's drawing of a code point sequence; empty when one vendor has none.

    Vendors disagree on whether the invisible "show as picture" mark fe0f belongs into a file's name.
    """
    found: dict[str, Path] = {}
    for vendor in (*TRAINING_VENDORS, HELD_OUT_VENDOR):
        folder = folders[vendor.package] / vendor.folder
        spellings = (code, f"{code}-fe0f", code.replace("-fe0f", ""), code.lstrip("0"))
        file = next((path for path in (folder / f"{one}{vendor.suffix}" for one in spellings) if path.is_file()), None)
        if file is None:
            return {}
        found[vendor.name] = file
    return found

"""The demo's pictures: which concepts are taken, and that no silo ever has a held-out drawing."""

import hashlib
import json
from pathlib import Path

import pytest

from deploy.demo.packages import FLUENT, NAMES, NOTO, TWEMOJI
from deploy.demo.pictures import HELD_OUT_VENDOR, TRAINING_VENDORS, Concept, caption_of, concepts, lay_out
from isthmus.errors import ConfigInvalid


def test_captions_are_sentences() -> None:
    """A name becomes a sentence with the right article, or none for several things."""
    assert caption_of("red apple") == "A red apple."
    assert caption_of("otter") == "An otter."
    assert caption_of("hourglass") == "An hourglass."
    assert caption_of("grapes") == "Grapes."
    assert caption_of("compass") == "A compass."


def unpacked(folder: Path, rows: list[dict[str, object]], drawn: dict[str, list[str]]) -> dict[str, Path]:
    """Packages as they are unpacked: the names' data, and a file per vendor's drawing."""
    folders = {package.name: folder / package.folder for package in (NAMES, NOTO, FLUENT, TWEMOJI)}
    data = folders[NAMES.name] / "package/en/data.json"
    data.parent.mkdir(parents=True)
    data.write_text(json.dumps(rows))
    for vendor in (*TRAINING_VENDORS, HELD_OUT_VENDOR):
        place = folders[vendor.package] / vendor.folder
        place.mkdir(parents=True)
        for code in drawn[vendor.name]:
            (place / f"{code}{vendor.suffix}").write_bytes(f"{vendor.name} {code}".encode())
    return folders


def test_concepts_are_drawn_by_every_vendor(tmp_path: Path) -> None:
    """A concept counts when all vendors drew it, whatever they call its file, in one of the topics, by a plain name."""
    rows: list[dict[str, object]] = [
        {"label": "fox", "hexcode": "1F98A", "group": 3},
        {"label": "spider", "hexcode": "1F577-FE0F", "group": 3},
        {"label": "ladder", "hexcode": "1FA9C", "group": 7},
        {"label": "hourglass not done", "hexcode": "1F001", "group": 5},
        {"label": "2nd place medal", "hexcode": "1F002", "group": 7},
        {"label": "grinning face", "hexcode": "1F600", "group": 0},
        {"label": "regional indicator", "hexcode": "1F1E6"},
    ]
    everything = ["1f98a", "1f577", "1fa9c", "1f001", "1f002", "1f600", "1f1e6"]
    drawn = {
        "noto": everything,
        "fluent": [*everything, "1f577-fe0f"],
        "twemoji": [c for c in everything if c != "1fa9c"],
    }

    found = concepts(unpacked(tmp_path, rows, drawn))

    assert [(one.topic, one.caption) for one in found] == [("animals", "A fox."), ("animals", "A spider.")]
    assert sorted(found[0].drawings) == ["fluent", "noto", "twemoji"]


@pytest.fixture
def available(tmp_path: Path) -> list[Concept]:
    """Six concepts of two topics."""
    made = []
    for topic, names in {"animals": ("fox", "bear", "owl"), "food": ("pear", "egg", "pie")}.items():
        for name in names:
            drawings = {}
            for vendor in (*TRAINING_VENDORS, HELD_OUT_VENDOR):
                drawings[vendor.name] = tmp_path / f"{name}-{vendor.name}"
                drawings[vendor.name].write_text(f"{name} by {vendor.name}")
            made.append(Concept(topic, caption_of(name), drawings))
    return made


def test_no_silo_has_a_held_out_drawing(available: list[Concept], tmp_path: Path) -> None:
    """Silos hold their own topic by the training vendors; the held-out pictures are another vendor's of the same."""
    found = lay_out(available, tmp_path / "out", concepts_per_silo=2, held_out_per_topic=1, seed=0)

    assert list(found.silos) == ["animals", "food"]
    trained = {}
    for silo, folder in found.silos.items():
        rows = [json.loads(line) for line in (folder / "metadata.jsonl").read_text().splitlines()]
        assert len(rows) == 4
        assert sorted(path.name for path in folder.iterdir()) == sorted(
            ["metadata.jsonl", *(r["file_name"] for r in rows)]
        )
        trained[silo] = {row["text"] for row in rows}
    silo_bytes = {digest(path) for folder in found.silos.values() for path in folder.iterdir()}
    assert [picture.topic for picture in found.held_out] == ["animals", "food"]
    for picture in found.held_out:
        assert picture.caption in trained[picture.topic]
        assert picture.path.read_text().endswith("by twemoji")
        assert digest(picture.path) not in silo_bytes


def digest(path: Path) -> bytes:
    """Of a file's bytes."""
    return hashlib.sha256(path.read_bytes()).digest()


def test_seed_decides_the_pictures(available: list[Concept], tmp_path: Path) -> None:
    """The same seed draws the same concepts, in whatever order they come; another seed draws others."""
    captions = []
    for number, (order, seed) in enumerate(((available, 1), (available[::-1], 1), (available, 2))):
        found = lay_out(order, tmp_path / str(number), concepts_per_silo=1, held_out_per_topic=1, seed=seed)
        captions.append(sorted(picture.caption for picture in found.held_out))

    assert captions[0] == captions[1]
    assert captions[0] != captions[2]


def test_too_few_concepts_are_told(available: list[Concept], tmp_path: Path) -> None:
    """A topic with fewer concepts than asked for is named, with both numbers."""
    with pytest.raises(ConfigInvalid, match="topic animals has 3 concepts; 4 were asked for"):
        lay_out(available, tmp_path / "out", concepts_per_silo=4, held_out_per_topic=1, seed=0)

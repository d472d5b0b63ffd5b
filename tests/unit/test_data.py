"""The silo's pairs: what is a sample, what is skipped and why, in both formats."""

import json
from pathlib import Path

import pytest
from PIL import Image

from isthmus.errors import ConfigInvalid
from silo_agent.config import DataConfig
from silo_agent.data import Samples, load_samples
from silo_agent.pictures import Flaw
from tests.silo_data import COLOURS, write_imagefolder


def load_rows(folder: Path, rows: list[object], *, max_pixels: int = 10_000) -> Samples:
    """Loads an imagefolder whose metadata.jsonl has these rows; text stands as it is."""
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    (folder / "metadata.jsonl").write_text("\n".join(lines))
    return load_samples(DataConfig(folder=folder, max_pixels=max_pixels), cache=folder / "cache")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data folder with one good picture, one that is none, and a large one."""
    data = tmp_path / "data"
    (data / "sub").mkdir(parents=True)
    Image.new("RGB", (8, 8), "red").save(data / "sub" / "red.png")
    Image.new("RGB", (200, 200)).save(data / "large.png")
    (data / "text.png").write_text("no picture")
    return data


GOOD = {"file_name": "sub/red.png", "text": "  a red\n square. "}


def test_good_rows_become_samples(tmp_path: Path) -> None:
    """Every pair of a well-kept folder is a sample, in its order, with its caption's white space made plain."""
    samples = load_samples(DataConfig(folder=write_imagefolder(tmp_path)), cache=tmp_path / "cache")

    assert [sample.caption for sample in samples.items] == list(COLOURS.values())
    assert samples.summary() == "8 samples, 0 rows skipped."


def test_text_may_hold_any_line_separator_of_unicode(folder: Path) -> None:
    """Only a newline ends a row: JSON allows other separators within a text, unescaped."""
    text = "a red\u2028square\u0085or\u2029so"

    assert 1 == len(load_rows(folder, [json.dumps({**GOOD, "text": text}, ensure_ascii=False)]).items)


@pytest.mark.parametrize(
    ("row", "flaw"),
    [
        ("{no json", Flaw.BAD_ROW),
        ("[1, 2]", Flaw.BAD_ROW),
        ("[" * 100_000, Flaw.BAD_ROW),
        ({"text": "no name"}, Flaw.BAD_ROW),
        ({"file_name": 3, "text": "x"}, Flaw.BAD_ROW),
        ({"file_name": "sub/red.png", "text": 3}, Flaw.BAD_ROW),
        ({"file_name": "", "text": "x"}, Flaw.NO_PICTURE),
        ({"file_name": "sub/red.png"}, Flaw.EMPTY_CAPTION),
        ({"file_name": "sub/red.png", "text": " \n"}, Flaw.EMPTY_CAPTION),
        ({"file_name": "none.png", "text": "x"}, Flaw.MISSING),
        ({"file_name": "sub", "text": "x"}, Flaw.MISSING),
        ({"file_name": "../data/sub/red.png", "text": "x"}, Flaw.OUTSIDE),
        ({"file_name": "/etc/hostname", "text": "x"}, Flaw.OUTSIDE),
        ({"file_name": "text.png", "text": "x"}, Flaw.UNDECODABLE),
        ({"file_name": "large.png", "text": "x"}, Flaw.TOO_LARGE),
    ],
)
def test_bad_rows_are_skipped_counted_and_named(folder: Path, row: object, flaw: Flaw) -> None:
    """A row that is no sample leaves the others alone, and is told with its number and reason."""
    samples = load_rows(folder, [GOOD, row])

    assert [sample.caption for sample in samples.items] == ["a red square."]
    assert [(skipped.row, skipped.flaw) for skipped in samples.skipped] == [(2, flaw)]
    assert samples.flaws == {flaw.value: 1}
    assert samples.summary() == f"1 samples, 1 rows skipped (1: {flaw.value})."


def test_keys_follow_content_alone(folder: Path) -> None:
    """A sample's key stays when its file moves or rows change places; equal pairs have keys of their own."""
    (folder / "moved.png").write_bytes((folder / "sub" / "red.png").read_bytes())
    moved = {**GOOD, "file_name": "moved.png"}
    other = {**GOOD, "text": "another caption"}

    first = load_rows(folder, [GOOD, other])
    later = load_rows(folder, [other, moved])
    twice = load_rows(folder, [GOOD, moved])

    assert {sample.key for sample in first.items} == {sample.key for sample in later.items}
    assert first.items[0].key == twice.items[0].key != twice.items[1].key


def test_no_usable_sample_is_refused_with_the_counts(folder: Path) -> None:
    """A folder without any sample stops the agent, and the counts say why."""
    with pytest.raises(ConfigInvalid, match=r"no usable sample: 0 samples, 1 rows skipped \(1: the picture does not e"):
        load_rows(folder, [{"file_name": "none.png", "text": "x"}])


def test_missing_folder_and_list_are_named(tmp_path: Path) -> None:
    """A missing data folder, and one without its list of captions, are named with the key to correct."""
    with pytest.raises(ConfigInvalid, match=r"none does not exist\. Correct data\.folder"):
        load_samples(DataConfig(folder=tmp_path / "none"), cache=tmp_path)
    with pytest.raises(ConfigInvalid, match=r"metadata\.jsonl cannot be read: No such file"):
        load_samples(DataConfig(folder=tmp_path), cache=tmp_path)


def load_llava(folder: Path, content: str) -> Samples:
    """Loads a LLaVA JSON file with this text."""
    (folder / "chat.json").write_text(content)
    config = DataConfig(format="llava", folder=folder, annotations=folder / "chat.json")
    return load_samples(config, cache=folder / "cache")


def test_llava_rows_give_the_first_answer(folder: Path) -> None:
    """A LLaVA conversation becomes a sample whose caption is the first answer; others are skipped with a reason."""
    question = {"from": "human", "value": "<image>\nWhat is this?"}
    answers = [{"from": "gpt", "value": "A red square."}, {"from": "gpt", "value": "Yes."}]
    rows = [
        {"id": "1", "image": "sub/red.png", "conversations": [question, *answers]},
        {"id": "2", "conversations": [question, *answers]},
        {"id": "3", "image": "sub/red.png", "conversations": [question]},
        {"id": "4", "image": "sub/red.png", "conversations": "none"},
        "row",
    ]

    samples = load_llava(folder, json.dumps(rows))

    assert [sample.caption for sample in samples.items] == ["A red square."]
    flaws = [skipped.flaw for skipped in samples.skipped]
    assert flaws == [Flaw.NO_PICTURE, Flaw.EMPTY_CAPTION, Flaw.BAD_ROW, Flaw.BAD_ROW]


@pytest.mark.parametrize(("content", "words"), [("{", "is not valid JSON"), ("{}", "holds no list of samples")])
def test_broken_llava_file_is_refused(folder: Path, content: str, words: str) -> None:
    """A LLaVA file that is no JSON, or no list, stops the agent by the file's name."""
    with pytest.raises(ConfigInvalid, match=words):
        load_llava(folder, content)


def test_llava_needs_annotations(folder: Path) -> None:
    """The LLaVA format without its file is refused by the key that is missing."""
    with pytest.raises(ConfigInvalid, match=r"data\.annotations is missing"):
        load_samples(DataConfig(format="llava", folder=folder), cache=folder)

"""Private data in Parquet files: the same samples as in a folder, row by row, and nobody else is asked."""

import io
import os
import subprocess
import sys
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from isthmus.errors import ConfigInvalid
from silo_agent.config import DataConfig
from silo_agent.data import Samples, load_samples
from silo_agent.pictures import Flaw, read_picture
from tests.plans import PLAN
from tests.real_aggregator import ENVIRONMENT
from tests.silo_data import COLOURS, colour_samples
from tests.tiny_trainers import CASES, build_case, with_tiny_encoder

STORED = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def png(colour: str = "red", size: int = 8) -> bytes:
    """A plain picture's bytes."""
    file = io.BytesIO()
    Image.new("RGB", (size, size), colour).save(file, "png")
    return file.getvalue()


def write(file: Path, rows: list[tuple[bytes | None, str | None]], **options: object) -> Path:
    """Writes rows of picture and caption as a Parquet file; gives its folder."""
    file.parent.mkdir(exist_ok=True)
    stored = [{"bytes": content, "path": f"{number}.png"} for number, (content, _) in enumerate(rows)]
    columns = {"image": pa.array(stored, STORED), "text": pa.array([caption for _, caption in rows], pa.string())}
    pq.write_table(pa.table({**columns, "licence": ["x"] * len(rows)}), file, **options)
    return file.parent


def load(folder: Path, **options: object) -> Samples:
    """The samples of a folder of Parquet files."""
    config = DataConfig.model_validate({"format": "parquet", "folder": folder, "max_pixels": 10_000, **options})
    return load_samples(config, cache=folder.parent / "cache")


def test_rows_become_the_samples_of_a_folder(tmp_path: Path) -> None:
    """Files of `datasets` give the very samples of an imagefolder: the same keys, captions and pictures, in order."""
    expected = colour_samples(tmp_path)
    contents = [{"bytes": (tmp_path / "pictures" / f"{colour}.png").read_bytes(), "path": None} for colour in COLOURS]
    rows = datasets.Dataset.from_dict({"image": contents, "text": list(COLOURS.values())})
    rows = rows.cast_column("image", datasets.Image())
    (tmp_path / "data").mkdir()
    for number in (0, 1):
        rows.shard(2, number, contiguous=True).to_parquet(tmp_path / "data" / f"train-{number}.parquet")

    found = load(tmp_path / "data")

    assert found.summary() == "8 samples, 0 rows skipped."
    for sample, other in zip(found.items, expected.items, strict=True):
        assert sample._replace(picture=None) == other._replace(picture=None)  # type: ignore[arg-type]
        assert read_picture(sample.picture, max_pixels=200) == read_picture(other.picture, max_pixels=200)


@pytest.mark.parametrize("name", ["composed", "transformers-llava"])
def test_training_gives_the_same_projector(name: str, tmp_path: Path) -> None:
    """A trainer gives bit for bit the same local projector from a folder and from a Parquet file of its pictures."""
    with_tiny_encoder()
    case = CASES[name](tmp_path)
    contents = {(tmp_path / "pictures" / f"{colour}.png"): caption for colour, caption in COLOURS.items()}
    expected = colour_samples(tmp_path)
    folder = write(tmp_path / "data" / "a.parquet", [(file.read_bytes(), text) for file, text in contents.items()])

    results = []
    for samples in (expected, load(folder)):
        results.append(build_case(case, tmp_path, samples).train(case.projector, PLAN, round_number=1))
        for shard in (tmp_path / "cache").glob("features-*/*"):
            shard.unlink()

    assert results[0].num_examples == results[1].num_examples == 8
    assert results[0].metrics == results[1].metrics
    assert all(torch.equal(tensor, results[1].tensors[key]) for key, tensor in results[0].tensors.items())


@pytest.mark.parametrize(
    ("content", "caption", "flaw"),
    [
        (None, "x", Flaw.NO_PICTURE),
        (b"", "x", Flaw.NO_PICTURE),
        (b"no picture", "x", Flaw.UNDECODABLE),
        (png()[:-40], "x", Flaw.UNDECODABLE),
        (png(size=200), "x", Flaw.TOO_LARGE),
        (png(), None, Flaw.EMPTY_CAPTION),
        (png(), " \n", Flaw.EMPTY_CAPTION),
    ],
)
def test_bad_rows_are_skipped_counted_and_told(
    tmp_path: Path, content: bytes | None, caption: str | None, flaw: Flaw
) -> None:
    """A row that is no sample leaves the others alone, and is told with its number and reason like in other formats."""
    folder = write(tmp_path / "data" / "a.parquet", [(png(), "  a red\n square. "), (content, caption)])
    write(folder / "b.parquet", [(png("blue"), "blue.")])

    samples = load(folder)

    assert [sample.caption for sample in samples.items] == ["a red square.", "blue."]
    assert [(skipped.row, skipped.flaw) for skipped in samples.skipped] == [(2, flaw)]
    assert samples.summary() == f"2 samples, 1 rows skipped (1: {flaw.value})."


def test_row_without_a_picture_is_skipped(tmp_path: Path) -> None:
    """A null in the place of the picture is a row without one."""
    (tmp_path / "data").mkdir()
    stored = pa.array([{"bytes": png(), "path": None}, None], STORED)
    pq.write_table(pa.table({"image": stored, "text": ["a", "b"]}), tmp_path / "data" / "a.parquet")

    samples = load(tmp_path / "data")

    assert samples.flaws == {Flaw.NO_PICTURE.value: 1}
    assert [sample.caption for sample in samples.items] == ["a"]


@pytest.mark.parametrize(
    "pictures",
    [
        pa.array([png()], pa.binary()),
        pa.array([png()], pa.large_binary()),
        pa.array([{"path": "a.png", "bytes": png()}], pa.struct([("path", pa.string()), ("bytes", pa.large_binary())])),
        pa.array([{"bytes": png()}], pa.struct([("bytes", pa.binary())])),
    ],
)
def test_other_forms_of_the_same_columns(tmp_path: Path, pictures: pa.Array) -> None:
    """Columns of other names, bare bytes and large types are read too; letters that are none do not stop the agent."""
    (tmp_path / "data").mkdir()
    captions = pa.array([b"caf\xe9"], pa.large_binary()).view(pa.large_string())
    pq.write_table(pa.table({"x-ray": pictures, "caption": captions}), tmp_path / "data" / "a.parquet")

    samples = load(tmp_path / "data", image_column="x-ray", text_column="caption")

    assert [sample.caption for sample in samples.items] == ["caf\N{REPLACEMENT CHARACTER}"]
    assert isinstance(read_picture(samples.items[0].picture, max_pixels=64), Image.Image)


def test_empty_folder_and_empty_files_are_told(tmp_path: Path) -> None:
    """A folder without Parquet files, and files without rows, stop the agent with what to correct."""
    (tmp_path / "data").mkdir()
    with pytest.raises(ConfigInvalid, match=r"data holds no file that ends in \.parquet\. Correct data\.folder"):
        load(tmp_path / "data")

    with pytest.raises(ConfigInvalid, match=r"has no usable sample: 0 samples, 0 rows skipped\."):
        load(write(tmp_path / "data" / "a.parquet", []))


def test_file_that_is_no_parquet_is_named(tmp_path: Path) -> None:
    """A file that is no Parquet, or is cut short, is named in one line with what to do."""
    folder = write(tmp_path / "data" / "a.parquet", [(png(), "x")])
    whole = (folder / "a.parquet").read_bytes()

    for content in (b"", b"no parquet", whole[:-10]):
        (folder / "b.parquet").write_bytes(content)
        with pytest.raises(
            ConfigInvalid, match=r"^.*b\.parquet cannot be read as Parquet: .*move it out of data\.fold"
        ):
            load(folder)


def test_damaged_pages_are_told(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A file whose end is whole and whose pages are not stops the agent with one sentence, and nothing beside it."""
    folder = write(tmp_path / "data" / "a.parquet", [(png(), "x")] * 50, write_page_checksum=True)
    content = bytearray((folder / "a.parquet").read_bytes())
    content[4 : len(content) // 3] = bytes(len(content) // 3 - 4)
    (folder / "a.parquet").write_bytes(content)

    with pytest.raises(ConfigInvalid, match=r"Parquet files in .*data cannot be unpacked into .*: .*damaged file"):
        load(folder)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            {"text_column": "caption"},
            r"has no column 'caption'; it has image, text, licence\. Correct data\.text_column",
        ),
        ({"image_column": "img"}, r"has no column 'img'; it has .*\. Correct data\.image_column"),
        (
            {"image_column": "text"},
            r"'text' of .*a\.parquet holds string, not pictures' bytes\. Correct data\.image_co",
        ),
        ({"text_column": "image"}, r"'image' of .*a\.parquet holds struct<.*>, not text\. Correct data\.text_column"),
    ],
)
def test_wrong_columns_are_named(tmp_path: Path, options: dict[str, str], words: str) -> None:
    """A column that is not there, or holds something else, is named with its file and the key to correct."""
    folder = write(tmp_path / "data" / "a.parquet", [(png(), "x")])

    with pytest.raises(ConfigInvalid, match=words):
        load(folder, **options)


def test_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """Where nothing can be unpacked, the folder is named."""
    folder = write(tmp_path / "data" / "a.parquet", [(png(), "x")])
    (tmp_path / "cache").write_text("")

    with pytest.raises(ConfigInvalid, match=r"cannot be unpacked into .*cache.parquet: .* free space there"):
        load(folder)


def test_files_that_changed_replace_what_was_unpacked(tmp_path: Path) -> None:
    """A folder that changed is read anew, and its earlier pictures do not stay in the cache."""
    folder = write(tmp_path / "[d]ata*" / "a.parquet", [(png(), "x")])
    first = load(folder)
    write(folder / "b.parquet", [(png("blue"), "y")])

    second = load(folder)

    assert (len(first.items), len(second.items)) == (1, 2)
    assert len(list((tmp_path / "cache" / "parquet").iterdir())) == 1
    assert isinstance(read_picture(first.items[0].picture, max_pixels=64), Image.Image)


def test_nothing_is_asked_or_written_elsewhere(tmp_path: Path) -> None:
    """Without a network the data is read, nothing is printed, and nothing is written outside the agent's cache."""
    write(tmp_path / "data" / "a.parquet", [(png(), "a red square.")] * 3)
    (tmp_path / "home").mkdir()
    code = (
        "import json, socket, sys\n"
        "calls = ('socket.connect', 'socket.getaddrinfo', 'socket.sendto')\n"
        "sys.addaudithook(lambda event, _: sys.exit(event) if event in calls else None)\n"
        "from pathlib import Path\n"
        "from silo_agent.config import DataConfig\nfrom silo_agent.data import load_samples\n"
        "config = DataConfig(format='parquet', folder=Path('data'))\n"
        "print(json.dumps(len(load_samples(config, cache=Path('state/cache')).items)))\n"
    )
    elsewhere = {name: str(tmp_path / "home") for name in ("HOME", "TMPDIR", "XDG_CACHE_HOME", "HF_HOME")}

    ended = subprocess.run(
        [sys.executable, "-c", code],
        env={**ENVIRONMENT, **elsewhere},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (ended.stdout, ended.stderr) == ("3\n", "")
    assert not list((tmp_path / "home").iterdir())
    assert sorted(os.listdir(tmp_path)) == ["data", "home", "state"]

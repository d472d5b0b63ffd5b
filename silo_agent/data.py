"""The silo's private picture-caption pairs: which there are, and which rows are none and why.

Lists of captions are read here and not through `datasets`: one malformed line ends the reading of its whole file there,
while a silo skips, counts and reports such a row. Parquet goes through it. Pictures are not kept in memory.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from isthmus.errors import ConfigInvalid
from silo_agent.config import DataConfig
from silo_agent.pictures import Decodable, Flaw, Picture


class Sample(NamedTuple):
    """One picture with its caption.

    Attributes:
        key: SHA-256 of the picture's bytes, the caption, and how many equal pairs came before: 64 hex digits. It stays
            the same wherever the picture is moved, so a one-pass order survives a folder that is tidied or grows.
        picture: Where the picture lies; not its bytes.
        picture_digest: SHA-256 of its bytes, 64 hex digits.
        caption: Not empty, without white space at its ends.
    """

    key: str
    picture: Picture
    picture_digest: str
    caption: str


class Skipped(NamedTuple):
    """A row that is no sample: where it stands (from 1), the picture it names if any, and why."""

    row: int
    name: str
    flaw: Flaw


@dataclass(frozen=True, slots=True)
class Samples:
    """What one data folder holds."""

    items: tuple[Sample, ...]
    skipped: tuple[Skipped, ...] = ()

    @property
    def flaws(self) -> dict[str, int]:
        """How many rows were skipped, by reason in words."""
        return {flaw.value: count for flaw, count in sorted(Counter(row.flaw for row in self.skipped).items())}

    def summary(self) -> str:
        """The counts in one sentence, without any name."""
        skipped = "; ".join(f"{count}: {words}" for words, count in self.flaws.items())
        return f"{len(self.items)} samples, {len(self.skipped)} rows skipped" + (f" ({skipped})." if skipped else ".")


class _Row(NamedTuple):
    """A row as it was read, before its picture was looked at."""

    name: str
    caption: str
    picture: Picture | None = None
    """None: it is the file of that name in the data folder."""


def load_samples(config: DataConfig, *, cache: Path) -> Samples:
    """Every usable pair of the data folder, in the order of its rows; looks at every picture once.

    Args:
        config: Which folder, and in which format.
        cache: Remembers which pictures decode, so that a restart is quicker.

    Raises:
        ConfigInvalid: The folder or its list of captions is missing or unreadable, or no row is usable.
    """
    if not config.folder.is_dir():
        raise ConfigInvalid(f"The data folder {config.folder} does not exist. Correct data.folder.")
    decodable = Decodable(cache / "decodable.txt")
    samples = _judge(_rows(config, cache), config, decodable)
    decodable.save()
    if not samples.items:
        raise ConfigInvalid(f"The data folder {config.folder} has no usable sample: {samples.summary()}")
    return samples


def _rows(config: DataConfig, cache: Path) -> Iterable[_Row | Flaw]:
    match config.format:
        case "imagefolder":
            return _imagefolder_rows(config.folder)
        case "llava":
            return _llava_rows(config)
        case "parquet":
            return _parquet_rows(config, cache)


def _judge(rows: Iterable[_Row | Flaw], config: DataConfig, decodable: Decodable) -> Samples:
    items: list[Sample] = []
    skipped: list[Skipped] = []
    copies: Counter[str] = Counter()
    for number, row in enumerate(rows, start=1):
        found = row if isinstance(row, Flaw) else _sample(row, config, decodable)
        if isinstance(found, Flaw):
            skipped.append(Skipped(number, row.name if isinstance(row, _Row) else "", found))
            continue
        items.append(found._replace(key=_digest(f"{found.key}\n{copies[found.key]}".encode())))
        copies[found.key] += 1
    return Samples(tuple(items), tuple(skipped))


def _sample(row: _Row, config: DataConfig, decodable: Decodable) -> Sample | Flaw:
    """The row's sample, its key not yet counting equal pairs."""
    picture = row.picture or _picture_in(config.folder, row.name)
    if isinstance(picture, Flaw):
        return picture
    if not row.caption:
        return Flaw.EMPTY_CAPTION
    try:
        with picture.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return Flaw.MISSING
    flaw = decodable.flaw(picture, digest, max_pixels=config.max_pixels)
    return flaw or Sample(_digest(f"{digest}\n{row.caption}".encode()), picture, digest, row.caption)


def _picture_in(folder: Path, name: str) -> Path | Flaw:
    path = PurePosixPath(name)
    if not name:
        return Flaw.NO_PICTURE
    return Flaw.OUTSIDE if path.is_absolute() or ".." in path.parts else folder / path


def _imagefolder_rows(folder: Path) -> Iterator[_Row | Flaw]:
    """Rows of metadata.jsonl: {"file_name": ..., "text": ...}; empty lines are no rows."""
    for line in _text(folder / "metadata.jsonl").split("\n"):  # JSON allows other line separators in texts
        if line.strip():
            yield _imagefolder_row(line)


def _imagefolder_row(line: str) -> _Row | Flaw:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return Flaw.BAD_ROW
    if not isinstance(row, dict) or not isinstance(row.get("file_name"), str):
        return Flaw.BAD_ROW
    return _with_caption(row["file_name"], row.get("text"))


def _llava_rows(config: DataConfig) -> Iterator[_Row | Flaw]:
    """Rows of a LLaVA JSON file: {"image": ..., "conversations": [{"from": "gpt", "value": ...}, ...]}.

    The caption is the first answer. The question is dropped, as LLaVA's own pre-training of the projector does.
    """
    if config.annotations is None:
        raise ConfigInvalid('data.annotations is missing; for data.format = "llava" it names the JSON file.')
    try:
        rows = json.loads(_text(config.annotations))
    except (ValueError, RecursionError) as error:
        raise ConfigInvalid(f"{config.annotations} is not valid JSON: {error}.") from error
    if not isinstance(rows, list):
        raise ConfigInvalid(f"{config.annotations} is no LLaVA file: it holds no list of samples.")
    return (_llava_row(row) for row in rows)


def _llava_row(row: object) -> _Row | Flaw:
    if not isinstance(row, dict) or not isinstance(row.get("conversations"), list):
        return Flaw.BAD_ROW
    if not isinstance(row.get("image"), str):
        return Flaw.NO_PICTURE
    turns = [turn for turn in row["conversations"] if isinstance(turn, dict) and turn.get("from") == "gpt"]
    return _with_caption(row["image"], turns[0].get("value") if turns else None)


def _parquet_rows(config: DataConfig, cache: Path) -> Iterator[_Row | Flaw]:
    from silo_agent.parquet import read_pairs  # `datasets` takes seconds to load

    for pair in read_pairs(config, cache=cache):
        yield _Row(pair.name, _plain(pair.caption), pair.picture) if pair.picture else Flaw.NO_PICTURE


def _with_caption(name: str, text: object) -> _Row | Flaw:
    if text is not None and not isinstance(text, str):
        return Flaw.BAD_ROW
    return _Row(name, _plain(text or ""))


def _plain(text: str) -> str:
    return " ".join(text.split())


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig", errors="replace")
    except OSError as error:
        raise ConfigInvalid(
            f"{file} cannot be read: {error.strerror}. It lists the captions of the data folder; see data.format."
        ) from error


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()

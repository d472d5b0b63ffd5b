"""Picture-caption pairs in Parquet files, read through `datasets`.

It unpacks them once into the silo's cache, from where rows are mapped into memory one by one: a Parquet file itself can
only be read by whole row groups. No hub is asked, and nothing is written outside the cache.
"""

import glob
import hashlib
import io
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import datasets
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq

from isthmus.errors import ConfigInvalid
from silo_agent.config import DataConfig

BATCH_ROWS = 32
"""Rows that are unpacked at a time."""


@dataclass(frozen=True, slots=True)
class RowPicture:
    """The picture in one row, counted from 0; its bytes are read when it is opened."""

    rows: Any  # datasets.Dataset in the format "arrow"; untyped upstream
    column: str
    number: int

    def open(self, mode: Literal["rb"] = "rb") -> io.BytesIO:
        """The picture as a binary file."""
        return io.BytesIO(_bytes(self.rows[self.number][self.column][0]))


class Pair(NamedTuple):
    """A row: the file name that the picture once had, its caption as it stands, and the picture if there is one."""

    name: str
    caption: str
    picture: RowPicture | None


def read_pairs(config: DataConfig, *, cache: Path) -> Iterator[Pair]:
    """Every row of the folder's Parquet files, in the order of the files' names; one is in memory at a time.

    Args:
        config: Its folder holds the files, its columns the pictures and captions.
        cache: Of all caches; the unpacked rows take as much space there as the files, and replace older ones.

    Raises:
        ConfigInvalid: There is no file, or one is no Parquet, damaged, or lacks a column; or the cache is full.
    """
    files = sorted(file for file in config.folder.glob("*.parquet") if file.is_file())
    if not files:
        raise ConfigInvalid(
            f"The data folder {config.folder} holds no file that ends in .parquet. Correct data.folder or data.format."
        )
    num_rows = sum(_num_rows(file, config) for file in files)
    if num_rows == 0:
        return
    rows = _unpacked(files, config, cache / "parquet")
    for number in range(num_rows):
        row = rows[number]
        stored = row[config.image_column][0]
        picture = RowPicture(rows, config.image_column, number) if _bytes(stored) else None
        yield Pair(_text(stored["path"]) if stored.is_valid else "", _text(row[config.text_column][0]), picture)


def _num_rows(file: Path, config: DataConfig) -> int:
    """The rows of a file that has both columns."""
    try:
        with pq.ParquetFile(file) as content:
            schema, num_rows = content.schema_arrow, int(content.metadata.num_rows)
    except (OSError, pa.ArrowException) as error:
        raise ConfigInvalid(
            f"{file} cannot be read as Parquet: {_first_line(error)} Replace it, or move it out of data.folder."
        ) from error
    for key, column, fits, content in (
        ("image_column", config.image_column, _is_picture, "pictures' bytes"),
        ("text_column", config.text_column, _is_text, "text"),
    ):
        index = schema.get_field_index(column)
        if index < 0:
            raise ConfigInvalid(
                f"{file} has no column {column!r}; it has {', '.join(schema.names)}. Correct data.{key}."
            )
        if not fits(schema.field(index).type):
            raise ConfigInvalid(
                f"The column {column!r} of {file} holds {schema.field(index).type}, not {content}. Correct data.{key}."
            )
    return num_rows


def _unpacked(files: Sequence[Path], config: DataConfig, folder: Path) -> Any:  # noqa: ANN401  untyped upstream
    """The rows, mapped into memory; what an earlier state of the files left in `folder` is deleted."""
    states = [(str(file.absolute()), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    digest = hashlib.sha256(repr((states, config.image_column, config.text_column)).encode()).hexdigest()[:16]
    for other in folder.glob("*"):
        if other.name != digest:
            shutil.rmtree(other, ignore_errors=True)
    datasets.disable_progress_bars()
    datasets.logging.set_verbosity(datasets.logging.CRITICAL)  # what goes wrong is told once, below
    columns = {config.image_column: datasets.Image(decode=False), config.text_column: datasets.Value("string")}
    try:
        return datasets.Dataset.from_parquet(
            [glob.escape(str(file)) for file in files],
            split=datasets.Split.TRAIN,
            features=datasets.Features(columns),
            columns=list(columns),
            cache_dir=str(folder / digest),
            batch_size=BATCH_ROWS,
            # Without it, many row groups are read ahead.
            fragment_scan_options=pa.dataset.ParquetFragmentScanOptions(pre_buffer=False, use_buffered_stream=True),
        ).with_format("arrow")
    except (OSError, ValueError, pa.ArrowException, datasets.exceptions.DatasetsError) as error:
        raise ConfigInvalid(
            f"The Parquet files in {config.folder} cannot be unpacked into {folder}: "
            f"{_first_line(error.__cause__ or error)} Replace a damaged file, or free space there."
        ) from error


def _is_picture(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        index = kind.get_field_index("bytes")
        return index >= 0 and _is_binary(kind.field(index).type)
    return _is_binary(kind)


def _is_binary(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _bytes(stored: pa.StructScalar) -> bytes:
    """The picture's bytes; empty where there are none."""
    return (stored["bytes"].as_py() or b"") if stored.is_valid else b""


def _text(value: pa.StringScalar) -> str:
    """The text, whatever its bytes are; empty where there is none."""
    return value.as_buffer().to_pybytes().decode("utf-8", errors="replace") if value.is_valid else ""


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0].rstrip(".") + "."

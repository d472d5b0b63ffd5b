"""Pictures of a silo's disk as RGB, never larger than allowed; and the memory of which of them decode."""

import enum
import io
import os
import warnings
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from PIL import Image, ImageOps

from isthmus.errors import ConfigInvalid

GREY_BITS = (8, 10, 12, 14, 16)
"""What a grey of a 16-bit file may use: scanners of 12 bits write such files, and no header says so. The fewest that
hold a picture's largest value are taken, as its upper 8 of 16 would leave it nearly black."""


class Picture(Protocol):
    """Where a picture's bytes lie: a path, or a row of a table."""

    def open(self, mode: Literal["rb"]) -> io.BufferedReader | io.BytesIO:
        """The bytes as a file."""
        ...


class Flaw(enum.StrEnum):
    """Why a row of the data is no sample; the words are what people read."""

    BAD_ROW = "the row is not a JSON object with a file name and a text"
    NO_PICTURE = "the row has no picture"
    OUTSIDE = "the picture's name leads out of the data folder"
    MISSING = "the picture does not exist"
    EMPTY_CAPTION = "the caption is empty"
    TOO_LARGE = "the picture has more pixels than data.max_pixels"
    UNDECODABLE = "the picture does not decode"


def read_picture(source: Picture, *, max_pixels: int) -> Image.Image | Flaw:
    """The first frame of the picture, upright, as RGB on white; or why it cannot be had.

    The size in the picture's header is judged before anything is decoded: a small file can unfold to gigabytes.
    Greys of more than 8 bits, usual in medicine, keep the upper 8 of the bits that they use, see `GREY_BITS`.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's own limit on pixels warns; ours decides
            with source.open("rb") as file, Image.open(file) as picture:
                if picture.width * picture.height > max_pixels:
                    return Flaw.TOO_LARGE
                return _rgb(ImageOps.exif_transpose(picture))
    except Image.DecompressionBombError:
        return Flaw.TOO_LARGE
    except FileNotFoundError:
        return Flaw.MISSING
    except Exception:  # bytes that nobody vouches for make Pillow's decoders raise almost anything
        return Flaw.UNDECODABLE


def require_picture(source: Picture, *, max_pixels: int) -> Image.Image:
    """A picture that was found to decode when the data was read.

    Raises:
        ConfigInvalid: It changed since. Does not name it: the text may leave the silo in a log.
    """
    picture = read_picture(source, max_pixels=max_pixels)
    if isinstance(picture, Flaw):
        raise ConfigInvalid(
            f"A picture changed after the data folder was read: {picture.value}. Start the agent again."
        )
    return picture


def _rgb(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith("I"):
        grey = np.asarray(picture).astype(np.int64)
        bits = next((bits for bits in GREY_BITS if grey.max() < 1 << bits), GREY_BITS[-1])
        return Image.fromarray((grey >> (bits - 8)).clip(0, 255).astype(np.uint8)).convert("RGB")
    if picture.mode in ("RGB", "L") and "transparency" not in picture.info:
        return picture.convert("RGB")
    opaque = Image.new("RGBA", picture.size, "white")
    opaque.alpha_composite(picture.convert("RGBA"))
    return opaque.convert("RGB")


class Decodable:
    """Digests of pictures that were seen to decode, and their pixels: a restart need not decode them all again.

    A text file that is only ever appended to. Deleting it, or a line cut off by a crash, costs time and nothing else.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._pixels = _parse(file)
        self._fresh: list[str] = []

    def flaw(self, source: Picture, digest: str, *, max_pixels: int) -> Flaw | None:
        """What is wrong with this picture; None: it decodes."""
        if self._pixels.get(digest, max_pixels + 1) <= max_pixels:
            return None
        picture = read_picture(source, max_pixels=max_pixels)
        if isinstance(picture, Flaw):
            return picture
        pixels = picture.width * picture.height
        self._pixels[digest] = pixels
        self._fresh.append(f"{digest} {pixels}\n")
        return None

    def save(self) -> None:
        """Appends what was learned; a folder that cannot be written is no error, as this is a cache."""
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with self._file.open("a", encoding="ascii") as file:
                file.write(("" if _ends_whole(self._file) else "\n") + "".join(self._fresh))
        except OSError:
            return
        self._fresh.clear()


def _parse(file: Path) -> dict[str, int]:
    try:
        lines = file.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return {}
    rows = (line.split(" ") for line in lines)
    return {row[0]: int(row[1]) for row in rows if len(row) == 2 and len(row[0]) == 64 and row[1].isdecimal()}


def _ends_whole(file: Path) -> bool:
    size = file.stat().st_size
    if size == 0:
        return True
    with file.open("rb") as content:
        content.seek(-1, os.SEEK_END)
        return content.read(1) == b"\n"

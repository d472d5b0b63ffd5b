"""Pictures from disk: as RGB on white, upright, never larger than allowed, whatever their bytes are."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from isthmus.errors import ConfigInvalid
from silo_agent.pictures import Decodable, Flaw, read_picture, require_picture


def colour_of(path: Path) -> object:
    """The first pixel of a picture."""
    picture = read_picture(path, max_pixels=1000)
    assert isinstance(picture, Image.Image)
    assert picture.mode == "RGB"
    return picture.getpixel((0, 0))


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims this size and has no pixels."""
    content = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [b"IHDR" + content, b"IDAT"]
    parts = [struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) for chunk in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def test_transparency_becomes_white(tmp_path: Path) -> None:
    """Where a picture is transparent the paper shows, with an alpha channel or a palette's transparent colour."""
    Image.new("RGBA", (2, 2), (255, 0, 0, 0)).save(tmp_path / "alpha.png")
    palette = Image.new("P", (2, 2), 0)
    palette.save(tmp_path / "palette.gif", transparency=0)

    assert colour_of(tmp_path / "alpha.png") == (255, 255, 255)
    assert colour_of(tmp_path / "palette.gif") == (255, 255, 255)


def test_sixteen_bit_greys_keep_their_upper_bits(tmp_path: Path) -> None:
    """A 16-bit grey picture is not washed out to white, as Pillow's own conversion would make it."""
    Image.fromarray(np.full((2, 2), 0x40FF, dtype=np.uint16)).save(tmp_path / "grey.png")

    assert colour_of(tmp_path / "grey.png") == (0x40, 0x40, 0x40)


@pytest.mark.parametrize(("bits", "most"), [(8, 255), (10, 1023), (12, 4095), (14, 16383), (16, 65535)])
def test_greys_of_fewer_bits_are_as_bright_as_others(tmp_path: Path, bits: int, most: int) -> None:
    """White is white and a quarter of it a quarter, whichever bit depth a scanner wrote into its 16-bit file."""
    Image.fromarray(np.array([[most // 4, most]], dtype=np.uint16)).save(tmp_path / "grey.png")

    picture = read_picture(tmp_path / "grey.png", max_pixels=10)

    assert isinstance(picture, Image.Image)
    assert [(63,) * 3, (255,) * 3] == [picture.getpixel((0, 0)), picture.getpixel((1, 0))]


def test_pictures_are_upright(tmp_path: Path) -> None:
    """A photograph that says it lies on its side is turned."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (4, 2)).save(tmp_path / "side.jpg", exif=exif)

    picture = read_picture(tmp_path / "side.jpg", max_pixels=100)

    assert isinstance(picture, Image.Image)
    assert picture.size == (2, 4)


@pytest.mark.parametrize(
    ("content", "flaw"),
    [
        (b"", Flaw.UNDECODABLE),
        (b"no picture", Flaw.UNDECODABLE),
        (png_header(5, 5), Flaw.UNDECODABLE),
        (png_header(20, 20), Flaw.TOO_LARGE),
        (png_header(60_000, 60_000), Flaw.TOO_LARGE),
        (png_header(2**31 - 1, 2**31 - 1), Flaw.TOO_LARGE),
    ],
)
def test_bad_bytes_are_told_apart(tmp_path: Path, content: bytes, flaw: Flaw) -> None:
    """What does not decode, and what would unfold to more pixels than allowed, is a value and never an error."""
    (tmp_path / "bad.png").write_bytes(content)

    assert read_picture(tmp_path / "bad.png", max_pixels=399) == flaw


def test_missing_picture_is_a_flaw(tmp_path: Path) -> None:
    """A picture that is not there is told as that."""
    assert read_picture(tmp_path / "none.png", max_pixels=1) == Flaw.MISSING


def test_picture_that_went_bad_stops_the_agent(tmp_path: Path) -> None:
    """A picture that changed after the data was read ends training in words that do not name it."""
    with pytest.raises(ConfigInvalid, match="changed after the data folder was read") as refused:
        require_picture(tmp_path / "secret.png", max_pixels=1)

    assert "secret" not in str(refused.value)


def test_decodable_pictures_are_remembered(tmp_path: Path) -> None:
    """A picture that decoded once is not decoded again after a restart, unless fewer pixels are allowed now."""
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    first = Decodable(tmp_path / "cache" / "decodable.txt")
    assert first.flaw(tmp_path / "a.png", "0" * 64, max_pixels=16) is None
    first.save()
    (tmp_path / "a.png").unlink()

    again = Decodable(tmp_path / "cache" / "decodable.txt")

    assert again.flaw(tmp_path / "a.png", "0" * 64, max_pixels=16) is None
    assert again.flaw(tmp_path / "a.png", "0" * 64, max_pixels=15) == Flaw.MISSING


def test_memory_survives_a_torn_line(tmp_path: Path) -> None:
    """A line that a crash cut off is forgotten, and what is learned next does not stick to it."""
    file = tmp_path / "decodable.txt"
    file.write_text(f"{'0' * 64} 16\n{'1' * 30}")
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    memory = Decodable(file)
    assert memory.flaw(tmp_path / "none.png", "0" * 64, max_pixels=16) is None
    assert memory.flaw(tmp_path / "a.png", "2" * 64, max_pixels=16) is None
    memory.save()

    assert Decodable(file).flaw(tmp_path / "none.png", "2" * 64, max_pixels=16) is None

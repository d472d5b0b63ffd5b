"""Small private data folders, as a silo has them."""

import json
from collections.abc import Mapping
from pathlib import Path

from PIL import Image

from silo_agent.config import DataConfig
from silo_agent.data import Samples, load_samples

COLOURS = {
    "red": "a red square.",
    "green": "a green square.",
    "blue": "a blue square.",
    "yellow": "a yellow one.",
    "white": "a white one.",
    "black": "black.",
    "orange": "an orange square.",
    "purple": "a purple square.",
}


def write_imagefolder(folder: Path, captions: Mapping[str, str] = COLOURS) -> Path:
    """A folder with one plain picture per colour and its metadata.jsonl; gives the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [{"file_name": f"{colour}.png", "text": text} for colour, text in captions.items()]
    for colour in captions:
        Image.new("RGB", (12, 9), colour).save(folder / f"{colour}.png")
    (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def colour_samples(folder: Path, num_samples: int = len(COLOURS)) -> Samples:
    """The first samples of such a folder."""
    captions = dict(list(COLOURS.items())[:num_samples])
    config = DataConfig(folder=write_imagefolder(folder / "pictures", captions))
    return load_samples(config, cache=folder / "cache")

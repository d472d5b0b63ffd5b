"""`python -m tests.e2e.tiny_demo FOLDER`: the demo's own entry point over tiny random models and painted pictures."""

import sys
from pathlib import Path

import torch
from PIL import Image

from deploy.demo.__main__ import main
from deploy.demo.display import Display
from deploy.demo.federate import Models
from deploy.demo.packages import PACKAGES
from deploy.demo.pictures import HELD_OUT_VENDOR, TRAINING_VENDORS, Concept, caption_of
from deploy.demo.recipe import Recipe
from deploy.demo.run import Ingredients
from silo_agent.llms import unpack_gguf
from tests.tiny_models import random_lite0, random_llama, write_gguf

NAMES = {"animals": ("fox", "bear", "owl"), "food": ("pear", "egg", "pie")}

RECIPE = Recipe(
    concepts_per_silo=3,
    silo_held_out=0.3,
    held_out_per_topic=2,
    candidates=3,
    retrieval_per_topic=1,
    described_per_topic=1,
    rounds=2,
    batch_size=3,
    hidden_features=16,
)


def ingredients(folder: Path) -> Ingredients:
    """Random models and one-coloured pictures, written into the folder."""
    folder.mkdir(parents=True)
    torch.save(random_lite0(), folder / "encoder.pth")
    llm = unpack_gguf(write_gguf(random_llama(), folder / "llm.gguf"), folder)
    concepts = []
    for topic, names in NAMES.items():
        for number, name in enumerate(names):
            drawings = {}
            for vendor in (*TRAINING_VENDORS, HELD_OUT_VENDOR):
                drawings[vendor.name] = folder / f"{name}-{vendor.name}{vendor.suffix}"
                colour = (80 * number, 200 if topic == "food" else 40, 60 * len(vendor.name) % 256)
                Image.new("RGB", (24, 24), colour).save(drawings[vendor.name])
            concepts.append(Concept(topic, caption_of(name), drawings))
    return Ingredients(Models(folder / "encoder.pth", llm), concepts, PACKAGES)


def bring_into(folder: Path) -> int:
    """Runs the demo with its report in `folder`; the exit code."""

    def bring(display: Display) -> Ingredients:
        return ingredients(folder / "ingredients")

    return main(["--out", str(folder / "report"), "--seed", "3"], ingredients=bring, recipe=RECIPE)


if __name__ == "__main__":
    sys.exit(bring_into(Path(sys.argv[1])))

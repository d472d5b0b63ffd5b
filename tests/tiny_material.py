"""A few captioned pictures of three vendors under tiny models: what `benchmarks.quality` runs on in seconds."""

from pathlib import Path

from PIL import Image

from benchmarks.quality.material import VENDORS, Item, Material, material_of
from silo_agent.composed import ComposedOptions
from tests.tiny_trainers import composed_case, with_tiny_encoder

TOPICS = ("animals", "food", "travel")
CONCEPTS_PER_TOPIC = 16


def tiny_items(folder: Path) -> tuple[Item, ...]:
    """Concepts whose colour says the topic, and whose shade says the caption."""
    found = []
    for topic_number, topic in enumerate(TOPICS):
        for number in range(CONCEPTS_PER_TOPIC):
            for vendor_number, vendor in enumerate(VENDORS):
                colour = [40 + 13 * number, 60, 60]
                colour = [colour[(place + topic_number) % 3] for place in range(3)]
                path = folder / f"{topic}-{number}-{vendor}.png"
                Image.new("RGB", (14, 14), tuple(shade + 5 * vendor_number for shade in colour)).save(path)
                found.append(Item(path, f"{topic[:3]} {'abcdefghijklmnop'[number]}.", topic, vendor))
    return tuple(found)


def tiny_material(folder: Path) -> Material:
    """Everything the benchmark needs, in the folder."""
    with_tiny_encoder()
    case = composed_case(folder)
    options = ComposedOptions.model_validate(case.choice.options, context={"folder": folder})
    return material_of(tiny_items(folder), options, cache=folder / "cache")

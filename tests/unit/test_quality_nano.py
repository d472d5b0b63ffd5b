"""The nano language model repeats, and has learned that hints tell what a caption is about."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from benchmarks.quality.nano import Name, NanoRecipe, names_in, nano_llm
from silo_agent.captioner import open_llm

RECIPE = NanoRecipe(width=32, layers=1, heads=2, steps=60, batch_size=32, learning_rate=1e-2)
FRUIT = ("apple", "pear", "plum", "grape", "lemon", "melon", "cherry", "peach")


@pytest.fixture
def names(tmp_path: Path) -> list[Name]:
    """Eight fruit with two tags each, and a name that is not plain, as emojibase's data has them."""
    rows = [{"label": fruit, "tags": [f"{fruit}-tree", "fruit"]} for fruit in FRUIT]
    file = tmp_path / "data.json"
    file.write_text(json.dumps([*rows, {"label": "flag: Peru"}]), encoding="utf-8")
    return names_in(file)


def test_names_are_plain_and_come_with_their_hints(names: list[Name]) -> None:
    """A concept gives its caption, and its name's words and tags as hints; names with marks are left out."""
    assert len(names) == len(FRUIT)
    assert names[0] == Name("An apple.", ("apple", "apple-tree", "fruit"))


def test_training_repeats_and_hints_are_believed(names: list[Name], tmp_path: Path) -> None:
    """The same names and recipe give the same weights; a caption is likelier after its own hint."""
    first, again = (nano_llm(names, tmp_path / where, recipe=RECIPE) for where in ("first", "again"))

    weights, others = (load_file(folder / "model.safetensors") for folder in (first, again))
    assert all(torch.equal(weights[name], others[name]) for name in weights)
    assert nano_llm(names, tmp_path / "first", recipe=RECIPE) == first
    llm = open_llm(first, cache=tmp_path, dtype=torch.float32)
    caption = llm.token_ids("An apple.", limit=16)
    right, wrong = (llm.embeddings[llm.token_ids(hint, limit=1)][None] for hint in ("apple", "lemon"))
    with torch.no_grad():
        assert llm.token_losses(right, [caption]).sum() < llm.token_losses(wrong, [caption]).sum()

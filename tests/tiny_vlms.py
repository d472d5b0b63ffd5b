"""Tiny, randomly initialised vision-language models of several families, made from configs alone."""

from functools import cache

import torch
from transformers import AutoConfig, AutoModelForImageTextToText, PreTrainedModel

_LLAMA = {
    "model_type": "llama",
    "hidden_size": 24,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "vocab_size": 64,
}
_QWEN2_VL_TEXT = {
    **{key: value for key, value in _LLAMA.items() if key != "model_type"},
    "rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0, "mrope_section": [1, 1, 1]},
}

TINY_VLMS: dict[str, dict[str, object]] = {
    "llava": {
        "text_config": _LLAMA,
        "vision_config": {
            "model_type": "clip_vision_model",
            "hidden_size": 16,
            "intermediate_size": 24,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": 16,
            "patch_size": 8,
        },
        "image_token_id": 63,
    },
    "idefics3": {
        "text_config": _LLAMA,
        "vision_config": {
            "hidden_size": 16,
            "intermediate_size": 24,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": 16,
            "patch_size": 4,
        },
        "scale_factor": 2,
        "image_token_id": 63,
        "pad_token_id": 0,
    },
    "qwen2_vl": {
        "text_config": _QWEN2_VL_TEXT,
        "vision_config": {
            "depth": 2,
            "embed_dim": 16,
            "hidden_size": 24,
            "num_heads": 2,
            "mlp_ratio": 2,
            "patch_size": 4,
            "spatial_merge_size": 2,
        },
    },
}


@cache
def tiny_vlm(family: str) -> PreTrainedModel:
    """A tiny random model of the family; the same object for every caller of one process."""
    torch.manual_seed(0)
    return AutoModelForImageTextToText.from_config(AutoConfig.for_model(family, **TINY_VLMS[family]))

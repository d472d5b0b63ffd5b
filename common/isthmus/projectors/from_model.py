"""The initial projector for the vision-language model whose `config.json` lies in a folder.

Builds the model without memory (on torch's meta device) and gives only its projector real tensors, so a laptop can
start a federation for a model it could never load. Weights in the folder are not read: pre-training starts anew.
"""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from isthmus.delta import num_not_finite
from isthmus.errors import ConfigInvalid
from isthmus.projectors.families import find_projector

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def projector_from_config(folder: Path, *, seed: int = 0) -> nn.Module:
    """The projector of the folder's model, freshly initialised from the seed as its family does: float32, on the CPU.

    Args:
        folder: Holds the model's `config.json`; nothing is downloaded, no code in it is run.
        seed: Of the initial values.

    Raises:
        ConfigInvalid: transformers is not installed, the folder holds no usable config, or its family is unknown.
    """
    model = _empty_model(folder)
    projector = find_projector(model).to_empty(device="cpu").to(torch.float32)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        for values in projector.state_dict().values():
            values.fill_(math.nan)  # so that a tensor which nobody initialises is noticed, not left to chance
        # Children first, as transformers does: a family's own _init_weights of a parent may overwrite its children's.
        for module in reversed(list(projector.modules())):
            model._init_weights(module)
    for name, values in projector.state_dict().items():
        if num_not_finite(values):
            raise ConfigInvalid(
                f"transformers does not say how tensor {name} of {folder}'s projector starts; "
                "write the projector to a safetensors file yourself and give it with --projector."
            )
    return projector


def _empty_model(folder: Path) -> "PreTrainedModel":
    try:
        import transformers
    except ImportError as error:
        raise ConfigInvalid("--model-config needs transformers; install it with: pip install transformers") from error
    if not (folder / "config.json").is_file():
        raise ConfigInvalid(f"{folder} holds no config.json; name the folder of a transformers model.")
    try:
        auto_model: Any = transformers.AutoModelForImageTextToText  # untyped upstream
        config = transformers.AutoConfig.from_pretrained(  # nosec B615  # a folder on disk
            folder, local_files_only=True, trust_remote_code=False
        )
        with torch.device("meta"):
            model: PreTrainedModel = auto_model.from_config(config, trust_remote_code=False)
        return model
    except (ValueError, OSError, KeyError) as error:
        raise ConfigInvalid(f"{folder / 'config.json'} describes no vision-language model: {error}") from error

"""What a language model's head is given to multiply."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def head_inputs(model: Any) -> Iterator[list[torch.Tensor]]:  # transformers' models are untyped
    """Collects the inputs of the model's head until the block ends.

    Rows that do not lie side by side make its product a small one per sample, each with a copy of the head's weights.
    """
    inputs: list[torch.Tensor] = []
    hook = model.get_output_embeddings().register_forward_pre_hook(lambda _, args: inputs.append(args[0]))
    try:
        yield inputs
    finally:
        hook.remove()

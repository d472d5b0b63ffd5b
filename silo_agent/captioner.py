"""A frozen causal language model as a captioner: the loss of a caption, and a caption, given image tokens.

Sequence per sample: document start, T image tokens, caption, end of text. The document start comes first because a
language model rests much of its attention on position 0; an image token there would be drowned by it.

Shapes: B samples, T image tokens, L tokens of the longest caption, E width of the embeddings.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from silo_agent.caption_loss import last_positions, targets_of, token_losses
from silo_agent.llms import fastest_dtype, load_llm


@dataclass(frozen=True, slots=True)
class FrozenLlm:
    """A causal language model that never changes.

    Attributes:
        model: `transformers`' model with its head, in evaluation, no parameter requiring gradients.
        tokenizer: Its tokenizer.
        embeddings: [vocabulary, E], its input embeddings.
        embedding_norm: Mean L2 norm of a row of them.
    """

    model: Any  # transformers' models are untyped
    tokenizer: Any
    embeddings: torch.Tensor
    embedding_norm: float

    def token_ids(self, caption: str, *, limit: int) -> list[int]:
        """The caption's tokens and the end of text, at most `limit` of them."""
        ids: list[int] = self.tokenizer(caption, add_special_tokens=False)["input_ids"]
        return [*ids, self.tokenizer.eos_token_id][:limit]

    def prefix(self, tokens_bte: torch.Tensor) -> torch.Tensor:
        """Embeddings [B, 1 + T, E] of the document start and the image tokens [B, T, E], in the model's dtype."""
        start = self.tokenizer.bos_token_id
        lead = self.embeddings[self.tokenizer.eos_token_id if start is None else start]
        return torch.cat([lead.expand(len(tokens_bte), 1, -1), tokens_bte.to(self.embeddings.dtype)], dim=1)

    def token_losses(self, tokens_bte: torch.Tensor, captions: Sequence[Sequence[int]]) -> torch.Tensor:
        """Cross entropy [B, L] in nats of each caption token given the image tokens [B, T, E]; 0 beyond a caption."""
        targets_bl = targets_of(captions, device=self.embeddings.device)
        fed_bl = targets_bl[:, :-1].clamp_min(0)
        inputs = torch.cat([self.prefix(tokens_bte), self.embeddings[fed_bl]], dim=1)
        # Attention is causal and padding comes last, so no caption token ever sees it: no mask is needed.
        kept = last_positions(targets_bl.shape[1], device=inputs.device)
        logits = self.model(inputs_embeds=inputs, use_cache=False, logits_to_keep=kept).logits
        return token_losses(logits, targets_bl)

    @torch.no_grad()
    def caption(self, tokens_bte: torch.Tensor, *, max_tokens: int = 16) -> list[str]:
        """The likeliest next tokens, one by one, after each picture's image tokens [B, T, E], as text."""
        inputs = self.prefix(tokens_bte)
        last = last_positions(1, device=inputs.device)
        spoken: list[torch.Tensor] = []
        for _ in range(max_tokens):
            logits = self.model(inputs_embeds=inputs, use_cache=False, logits_to_keep=last).logits
            spoken.append(logits[:, -1].argmax(-1))
            inputs = torch.cat([inputs, self.embeddings[spoken[-1]][:, None]], dim=1)
        rows = torch.stack(spoken, dim=1).tolist() if spoken else []
        end = self.tokenizer.eos_token_id
        return [self.tokenizer.decode(row[: row.index(end)] if end in row else row) for row in rows]


def open_llm(path: Path, *, cache: Path, dtype: torch.dtype | None = None, device: str = "cpu") -> FrozenLlm:
    """The language model in this .gguf file or folder.

    Args:
        path: See `silo_agent.llms.load_llm`, as for `cache`.
        cache: Where a .gguf file is unpacked; safe to delete.
        dtype: Of the weights; None: the device's fastest.
        device: torch device.

    Raises:
        ConfigInvalid: There is none, or it cannot be read.
    """
    loaded, tokenizer = load_llm(path, cache=cache, dtype=dtype or fastest_dtype(device))
    model: Any = loaded  # transformers' methods are untyped
    embeddings = model.to(device).get_input_embeddings().weight.detach()
    return FrozenLlm(model, tokenizer, embeddings, embeddings.float().norm(dim=1).mean().item())

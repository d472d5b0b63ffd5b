"""Where the projector stands in the vision-language models of `transformers`, by family.

Knows names only; never imports transformers. A family is a config's `model_type`.
"""

from torch import nn

from isthmus.errors import ConfigInvalid

FAMILIES: dict[str, str] = {
    "aya_vision": "multi_modal_projector",
    "cohere2_vision": "multi_modal_projector",
    "deepseek_vl": "aligner",
    "gemma3": "multi_modal_projector",
    "glm4v": "visual.merger",
    "got_ocr2": "multi_modal_projector",
    "idefics2": "connector",
    "idefics3": "connector",
    "internvl": "multi_modal_projector",
    "janus": "aligner",
    "lfm2_vl": "multi_modal_projector",
    "llava": "multi_modal_projector",
    "llava_next": "multi_modal_projector",
    "llava_onevision": "multi_modal_projector",
    "mistral3": "multi_modal_projector",
    "paligemma": "multi_modal_projector",
    "qwen2_5_vl": "visual.merger",
    "qwen2_vl": "visual.merger",
    "smolvlm": "connector",
    "vipllava": "multi_modal_projector",
}
"""Path of the projector module inside the family's bare model (`LlavaModel`, not `LlavaForConditionalGeneration`)."""


def projector_path(model_type: str) -> str:
    """The path of the projector inside the bare model of this family.

    Raises:
        ConfigInvalid: The family is not known; lists those that are.
    """
    if model_type not in FAMILIES:
        raise ConfigInvalid(
            f"Model type {model_type!r} is not a family whose projector is known; known are {', '.join(FAMILIES)}."
        )
    return FAMILIES[model_type]


def find_projector(model: nn.Module) -> nn.Module:
    """The projector of a `transformers` vision-language model, bare or with its language-model head.

    Its `state_dict()` has the tensor names of the federation's spec.

    Args:
        model: A model with `config.model_type`, for example LlavaForConditionalGeneration.

    Raises:
        ConfigInvalid: The family is unknown, or the model has no module where its family has the projector.
    """
    model_type = str(getattr(getattr(model, "config", None), "model_type", type(model).__name__))
    path = projector_path(model_type)
    for candidate in (f"model.{path}", path):
        try:
            return model.get_submodule(candidate)
        except AttributeError:
            continue
    raise ConfigInvalid(
        f"The {model_type} model {type(model).__name__} has no module {path}; its projector was not found."
    )

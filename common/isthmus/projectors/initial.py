"""The initial projector of a federation, as the payload that creates it: from a kind, a model's config or a file."""

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from isthmus.contribution import Encoding
from isthmus.errors import ConfigInvalid, SpecMismatch
from isthmus.federation import Federation, ProjectorPolicy
from isthmus.projectors import build_projector
from isthmus.projectors.from_model import projector_from_config
from isthmus.spec import ProjectorSpec, spec_of
from isthmus.tensors import Payload, encode


def initial_projector(
    federation: Federation, *, file: Path | None = None, model_config: Path | None = None
) -> tuple[ProjectorSpec, Payload]:
    """The spec and the bytes of projector 0, in float32.

    Args:
        federation: Its [projector] table is one of the three possible sources.
        file: A safetensors file of the projector's tensors, any floating dtype.
        model_config: A folder with the `config.json` of a transformers vision-language model.

    Raises:
        ConfigInvalid: There is no source or more than one, or it cannot be read.
        FederationInvalid: The [projector] table is wrong.
        SpecMismatch: The tensors make no valid spec.
        DeltaNotFinite: One of them holds NaN or infinity.
    """
    tensors = _tensors(federation, file=file, model_config=model_config)
    spec = spec_of(tensors)
    return spec, encode(tensors, spec, Encoding.FP32)


def _tensors(federation: Federation, *, file: Path | None, model_config: Path | None) -> dict[str, torch.Tensor]:
    table = federation.projector
    match file, model_config, table:
        case Path(), None, None:
            return _read(file)
        case None, Path(), None:
            return dict(projector_from_config(model_config).state_dict())
        case None, None, ProjectorPolicy():
            return dict(build_projector(table.kind, table.options, seed=table.seed).state_dict())
    num_sources = sum(source is not None for source in (file, model_config, table))
    raise ConfigInvalid(
        f"The initial projector of {federation.name} has {num_sources} sources; give exactly one of: a [projector] "
        "table in the federation's file, --projector FILE, --model-config FOLDER."
    )


def _read(file: Path) -> dict[str, torch.Tensor]:
    if not file.is_file():
        raise ConfigInvalid(f"There is no projector file {file}; name a safetensors file.")
    try:
        tensors: dict[str, torch.Tensor] = load_file(file)
    except (SafetensorError, OSError) as error:
        raise ConfigInvalid(f"{file} is no safetensors file that can be read: {error}.") from error
    for name, tensor in tensors.items():
        if not tensor.is_floating_point():
            raise SpecMismatch(
                f"Tensor {name} of {file} is {tensor.dtype}; a projector's tensors are floating point.", tensor=name
            )
    return tensors

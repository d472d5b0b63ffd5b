"""Isthmus: federated pre-training of cross-modal projectors. What stands in `__all__` is the SDK's public surface.

`SiloClient` is how a silo takes part, `OperatorClient` how an operator looks after federations. Errors are in
`isthmus.errors`; the ones a silo meets every day are here too.
"""

import importlib
import os
from typing import TYPE_CHECKING

# gRPC would write a line of its own beside the error of each connection that fails; it asks this once, when imported.
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")

from isthmus.contribution import ContributionHeader, Encoding, Receipt
from isthmus.errors import DeltaNormExceeded, IsthmusError, RefusedDelta, RoundMoved
from isthmus.federation import FederationState, TrainingPlan
from isthmus.manifest import ProjectorManifest
from isthmus.overview import FederationOverview, FederationSummary, SiloStatus
from isthmus.round import PushStatus, Round
from isthmus.spec import ProjectorSpec, TensorSpec

if TYPE_CHECKING:
    from isthmus.client import SiloClient
    from isthmus.feedback import ErrorFeedback
    from isthmus.operator_client import OperatorClient
    from isthmus.tensors import Payload, contribution_of

__all__ = [
    "ContributionHeader",
    "DeltaNormExceeded",
    "Encoding",
    "ErrorFeedback",
    "FederationOverview",
    "FederationState",
    "FederationSummary",
    "IsthmusError",
    "OperatorClient",
    "Payload",
    "ProjectorManifest",
    "ProjectorSpec",
    "PushStatus",
    "Receipt",
    "RefusedDelta",
    "Round",
    "RoundMoved",
    "SiloClient",
    "SiloStatus",
    "TensorSpec",
    "TrainingPlan",
    "contribution_of",
]

# The aggregator and the command line import this package without torch; these names load when first used.
_LATE = {
    "ErrorFeedback": "isthmus.feedback",
    "OperatorClient": "isthmus.operator_client",
    "Payload": "isthmus.tensors",
    "SiloClient": "isthmus.client",
    "contribution_of": "isthmus.tensors",
}


def __getattr__(name: str) -> object:
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_LATE[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])

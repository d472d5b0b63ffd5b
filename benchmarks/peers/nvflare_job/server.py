"""NVFlare's side of the server: where the model comes from, and what became of each round."""

import logging
import os
import re
from pathlib import Path

from nvflare.apis.dxo import from_shareable
from nvflare.apis.event_type import EventType
from nvflare.apis.fl_component import FLComponent
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable
from nvflare.app_common.abstract.fl_model import FLModel
from nvflare.app_common.abstract.model import ModelLearnable, make_model_learnable
from nvflare.app_common.abstract.model_persistor import ModelPersistor
from nvflare.app_common.app_constant import AppConstants
from nvflare.app_common.app_event_type import AppEventType

from benchmarks.peers.inputs import NUM_CLIENTS, global_tensors
from benchmarks.peers.nvflare_job.rounds import of_round
from benchmarks.peers.outcomes import line_of, outcome_of

BAD = f"site-{NUM_CLIENTS}"


class Persistor(ModelPersistor):  # type: ignore[misc]  # NVFlare has no types; its components are subclasses
    """Starts from our global, keeps nothing."""

    def load_model(self, fl_ctx: FLContext) -> ModelLearnable:
        """The initial model."""
        return make_model_learnable(weights=global_tensors(), meta_props={})

    def save_model(self, model: ModelLearnable, fl_ctx: FLContext) -> None:
        """Nobody asks for it again."""


class Probe(FLComponent):  # type: ignore[misc]
    """Writes one line of JSON per round: who was counted, what came of it, and what the log said."""

    def __init__(self, system: str) -> None:
        super().__init__()
        self.system = system
        self.came: list[tuple[str, bool]] = []
        self.said: list[str] = []

    def handle_event(self, event_type: str, fl_ctx: FLContext) -> None:
        """Looks, and changes nothing."""
        if event_type == EventType.START_RUN:
            handler = logging.Handler(logging.WARNING)
            handler.emit = lambda record: self.hear(record.getMessage())  # type: ignore[method-assign]
            logging.getLogger().addHandler(handler)
        elif event_type == AppEventType.AFTER_CONTRIBUTION_ACCEPT:
            name = fl_ctx.get_peer_context().get_identity_name()
            self.came.append((name, bool(fl_ctx.get_prop(AppConstants.AGGREGATION_ACCEPTED))))
        elif event_type == AppEventType.AFTER_AGGREGATION:
            self.write(fl_ctx.get_prop(AppConstants.CURRENT_ROUND), fl_ctx.get_prop(AppConstants.AGGREGATION_RESULT))
            self.came, self.said = [], []

    def hear(self, text: str) -> None:
        """Keeps a warning or an error, but for those that no contribution changes: about weights that nobody set."""
        said = re.sub(r"^\[identity=[^]]*\]: ", "", text)
        if not said.startswith("Aggregation_weight missing"):
            self.said.append(said)

    def write(self, number: int, result: FLModel | Shareable) -> None:
        """The outcome of this round; `result` is an FLModel or a Shareable, as the workflow has it."""
        given, _ = of_round(number)
        place = [name for name, _ in self.came].index(BAD)
        order = {0: "first", NUM_CLIENTS - 1: "last"}.get(place, "between")
        accepted = dict(self.came)
        counted = f"{sum(accepted.values())} of {NUM_CLIENTS} contributions accepted"
        line = line_of(
            outcome_of(
                given,
                system=self.system,
                order=order,
                counted=accepted[BAD],
                words=" / ".join([counted, *self.said]),
                aggregate=from_shareable(result).data if isinstance(result, Shareable) else result.params,
            )
        )
        with Path(os.environ["ISTHMUS_OUTCOMES"]).open("a", encoding="utf-8") as lines:
            print(line, file=lines)

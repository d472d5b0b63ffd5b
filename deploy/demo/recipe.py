"""What the demo trains and how: one frozen value, and the federation's TOML that follows from it."""

from dataclasses import dataclass

FEDERATION = "four-topics"

FEATURES = 1280
"""Width of the vision encoder's features (EfficientNet-Lite0)."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """All numbers of a demo.

    Attributes:
        seed: Of the choice of pictures, the initial projector and the order of the data.
        concepts_per_silo: Each gives two pictures, one per training vendor.
        silo_held_out: Share of its pictures that a silo never trains on, to tell how good what it pulled is.
        held_out_per_topic: Held-out pictures of each topic, which no silo has.
        candidates: Captions that the right one is told from in retrieval.
        retrieval_per_topic: Held-out pictures of each topic that retrieval is measured on.
        described_per_topic: Held-out pictures of each topic that captions are written of, among those of retrieval.
        rounds: Of the federation.
        local_epochs: Passes of each silo over its data in a round.
        batch_size: Captions of one optimizer step.
        learning_rate: Of the first step; it falls as a cosine.
        hidden_features: Width between the projector's two layers.
        output_gain: Size of an image token at the start, relative to a word's embedding (`ComposedSettings`).
        feature_scaling: How all silos scale the encoder's features (`ComposedSettings`).
        rule: Name and options, as a TOML inline table.
        llm_name: The language model, for the report.
    """

    seed: int = 0
    concepts_per_silo: int = 36
    silo_held_out: float = 0.125
    held_out_per_topic: int = 16
    candidates: int = 20
    retrieval_per_topic: int = 8
    described_per_topic: int = 2
    rounds: int = 12
    local_epochs: int = 1
    batch_size: int = 8
    learning_rate: float = 1.2e-2
    hidden_features: int = 512
    output_gain: float = 1.0
    feature_scaling: str = "encoder_prior"
    rule: str = '{ name = "fed_cmp" }'
    llm_name: str = "SmolLM2-135M-Instruct, from 4-bit weights"

    def federation_toml(self, *, num_silos: int, widths: tuple[int, int]) -> str:
        """The federation as its operator writes it.

        Args:
            num_silos: Every round waits for all of them.
            widths: Of the encoder's features and of the language model's embeddings.
        """
        return f"""# Written by the demo. Every key is explained in deploy/config/federation.toml and docs/protocol.md.
name = "{FEDERATION}"
rounds = {self.rounds}
encoding = "fp32"

[participation]
silos = {{ min = {num_silos}, max = {num_silos} }}

[admission]
max_l2_norm = 100.0  # its deltas were measured at 3 to 45

[strategy]
rule = {self.rule}

[plan]
local_epochs = {self.local_epochs}
batch_size = {self.batch_size}
optimizer = "adamw"
learning_rate = {{ initial = {self.learning_rate}, schedule = "cosine", final_fraction = 0.1 }}
gradient_clip_norm = 1.0
seed = {self.seed}

[plan.settings]
feature_scaling = "{self.feature_scaling}"
output_gain = "{self.output_gain}"

[projector]
kind = "mlp"
options = {{ in_features = {widths[0]}, hidden_features = {self.hidden_features}, out_features = {widths[1]} }}
seed = {self.seed}
"""


RECIPE = Recipe()
"""What `make demo` does; how it was found stands in docs/LOG.md."""

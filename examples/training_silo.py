"""A silo that trains: gradient descent on private pairs, by the plan that comes with the round.

Its private data is made up: features and the embeddings that a hidden linear map gives them, plus this silo's noise.
Run it as: python examples/training_silo.py ADDRESS FEDERATION CREDENTIALS SEED
The federation's projector must be an mlp; its widths follow from the tensors pulled.
"""

import sys

import torch

from isthmus import RoundMoved, SiloClient
from isthmus.projectors import build_projector


def private_pairs(in_features, out_features, seed):
    hidden = torch.randn(in_features, out_features, generator=torch.Generator().manual_seed(0))  # the same everywhere
    mine = torch.Generator().manual_seed(seed + 1)
    features = torch.randn(200, in_features, generator=mine)
    return features, features @ hidden + 0.1 * torch.randn(200, out_features, generator=mine)


def train(tensors, plan, seed):
    hidden_features, in_features = tensors["linear_1.weight"].shape
    out_features = len(tensors["linear_2.bias"])
    widths = {"in_features": in_features, "hidden_features": hidden_features, "out_features": out_features}
    projector = build_projector("mlp", widths)
    projector.load_state_dict(tensors)
    features, embeddings = private_pairs(in_features, out_features, seed)
    optimizer = torch.optim.AdamW(projector.parameters(), lr=plan.learning_rate, weight_decay=plan.weight_decay)
    losses = []
    for _ in range(plan.local_steps):
        loss = torch.nn.functional.mse_loss(projector(features), embeddings)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return projector.state_dict(), len(features), sum(losses) / len(losses)


def tell(phase, bytes_done, bytes_total):
    print(f"{phase}: {bytes_done} of {bytes_total} bytes", flush=True)


address, federation, credentials, seed = sys.argv[1:]
with SiloClient(address, federation=federation, credentials=credentials, progress=tell) as hub:
    for round in hub.rounds():
        local, num_examples, loss = train(hub.pull(round), round.plan, int(seed))
        try:
            receipt = hub.push(round, local, num_examples=num_examples, metrics={"train_loss": loss})
            print(f"round {receipt.round}: loss {loss:.3f}, counted with norm {receipt.l2_norm:.3f}", flush=True)
        except RoundMoved as moved:  # too slow this time; the next round starts from what the others made
            print(moved, flush=True)

"""Builds the job and submits it: submit.py SILOS ROUNDS ADMIN_KIT. Ends when it is submitted."""

import sys
from pathlib import Path

from nvflare.app_opt.pt.recipes.fedavg import FedAvgRecipe
from nvflare.client.config import ExchangeFormat
from nvflare.recipe import ProdEnv

sys.path.insert(0, str(Path(__file__).parent))

from model import Projector
from watch import Watch

silos, rounds, kit = sys.argv[1:]
recipe = FedAvgRecipe(
    name="rounds",
    model=Projector(),
    min_clients=int(silos),
    num_rounds=int(rounds),
    train_script="silo.py",
    server_expected_format=ExchangeFormat.NUMPY,
)
recipe._job.to_server(Watch(), id="watch")  # recipes have no public way to add a component
print(recipe.execute(ProdEnv(startup_kit_location=kit, login_timeout=60)).get_job_id(), flush=True)

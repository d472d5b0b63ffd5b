"""What every site runs: the tensors come, a constant is added, they go back."""

import nvflare.client as flare

from benchmarks.rounds.work import trained

flare.init()
while flare.is_running():
    received = flare.receive()
    if received is None:
        break
    local = trained(received.params, silo=flare.get_site_name())
    flare.send(flare.FLModel(params=local, meta={"NUM_STEPS_CURRENT_ROUND": 1}))

"""The service that admits deltas, cuts rounds and publishes global projectors. Keeps no state: the store does."""

import os

os.environ.setdefault("GRPC_VERBOSITY", "ERROR")  # else whoever fails to shake hands writes a line into the log

"""The demo: four silos federate a real projector on this machine, and a report shows what came of it."""

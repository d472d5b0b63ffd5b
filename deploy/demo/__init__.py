"""The demo: one aggregator and four silos federate a real projector on one machine, and a report shows what came of it."""

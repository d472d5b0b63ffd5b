"""The RPCs of silos and operators: each authorizes, translates and calls what decides."""

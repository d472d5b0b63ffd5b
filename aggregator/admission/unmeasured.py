"""What is measured of masked words: nothing, for they are random to whoever has no seed. Any word may stand there."""


class Unmeasured:
    """In the place of a `NormMeter`."""

    l2_norm = 0.0

    @property
    def tensor_l2_norms(self) -> dict[str, float]:
        """None."""
        return {}

    def feed(self, data: memoryview) -> None:
        """Takes the next bytes, whatever they are."""

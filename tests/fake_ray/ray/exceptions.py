"""Ray's errors, as far as the driver knows them."""


class RayError(Exception):
    """Any."""


class RayTaskError(RayError):
    """A task raised."""

    def __init__(self, cause):
        super().__init__(str(cause))
        self.cause = cause

"""Where a task runs."""


class NodeAffinitySchedulingStrategy:
    """On one machine."""

    def __init__(self, node_id, *, soft):
        self.node_id, self.soft = node_id, soft

"""One round of federated averaging without training: ours, others' and the machine's own limits, side by side."""

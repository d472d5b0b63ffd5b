"""make k8s-render, k8s-test: the manifests in deploy/k8s and the charts in deploy/helm, rendered and judged."""

"""A Kubernetes cluster small enough to carry along: what `jsr` needs of the API, and controllers that behave."""

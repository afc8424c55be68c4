"""Scenarios: the real `jsr` against a cluster, of which nothing is assumed but that it speaks the Kubernetes API."""

"""Restart a Kubernetes JobSet, in place or by recreating its Pods."""

__version__ = "0.1.0"

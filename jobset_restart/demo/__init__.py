"""`jsr demo`: both ways of restarting a JobSet, one after the other on an embedded cluster, and side by side.

A program between the rooms of `jsr` and the embedded cluster: it starts each as a process of its own.
"""

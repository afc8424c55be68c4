"""Which Pod holds the others up: what was seen of each, as signals, weighed into suspects. Pure.

`commands` has what is asked of a Pod, `logs` and `processes` read the answers, `stacks` tells which of them are alike,
`signals` are the reasons to suspect a Pod, one small function each, `judge` makes the verdict of them.
"""

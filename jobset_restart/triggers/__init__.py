"""The ways to cause a restart, each an object in a module of its own: what it is, what it sends, how long that takes,
and how it shows that a slot has been through it. Pure.

In place: `native`, `image`, `signal`. Recreate: `suspend`, `jobs`, `pods`. `registry` has them all, best first.
"""

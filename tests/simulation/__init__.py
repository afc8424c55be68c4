"""Whole restarts in virtual time: the program and the embedded cluster in one process, on an event loop whose clock
jumps, with everything that may go wrong drawn from a seed. `python -m tests.simulation SEED -v` plays one again."""

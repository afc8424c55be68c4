"""Hostile input of every kind, each against the same invariants (tests.fuzz.invariants): what a cluster's objects hold,
what a server answers, and what is in files and on the command line. `JSR_FUZZ_EXAMPLES=5 pytest tests/fuzz` tries five
times as much."""

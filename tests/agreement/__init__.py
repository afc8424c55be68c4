"""Whether the embedded cluster does what a real one does, event by event: `python -m tests.agreement --help`."""

"""Errors for the person at the keyboard."""

from __future__ import annotations


class SimulatorError(Exception):
    """What went wrong, what to do about it, and the exit code: 1 error, 2 usage."""

    def __init__(self, message: str, hint: str = "", exit_code: int = 1) -> None:
        super().__init__(message)
        self.message, self.hint, self.exit_code = message, hint, exit_code

"""How many requests may be in flight. Pure: time comes in with each answer."""

from __future__ import annotations

SLOW_SECONDS = 2.0
LEAST = 4


class Pace:
    """Starts at `most` in flight, halves when the server says it is overloaded or answers take seconds, grows back by
    one with every `limit` good answers. Never goes above `most`."""

    def __init__(self, most: int) -> None:
        self.most = max(1, most)
        self.limit = self.most
        self._good = 0
        self._calm_until = 0.0

    def answered(self, now: float, seconds: float, *, overloaded: bool) -> None:
        """One answer came after `seconds`. A burst of bad ones counts once per two seconds: they are of one mind."""
        if overloaded or seconds > SLOW_SECONDS:
            if now >= self._calm_until:
                self.limit = max(min(LEAST, self.most), self.limit // 2)
                self._calm_until = now + SLOW_SECONDS
            self._good = 0
            return
        self._good += 1
        if self._good >= self.limit and self.limit < self.most:
            self.limit += 1
            self._good = 0

"""A restart as one picture: the timeline of its slots by phase, the slowest of them, and what it took. From events to
the text of one file, HTML or SVG, that needs nothing else: no script, no font, no address is in it."""

from jobset_restart.view.timeline.html import page
from jobset_restart.view.timeline.recording import Recording, recorded
from jobset_restart.view.timeline.svg import drawing

__all__ = ["Recording", "drawing", "page", "recorded"]

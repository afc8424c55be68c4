"""The words and colours that both forms of the picture share, and text made safe to stand in them. Pure."""

from __future__ import annotations

import html
from datetime import UTC, datetime

from jobset_restart.harmless import REPLACEMENT, plain
from jobset_restart.progress import State
from jobset_restart.view.text import clipped

STACK: tuple[State, ...] = ("ready", "failed", "starting", "stopping", "triggered", "waiting")
"""From the bottom of a band to its top."""
MOST_TEXT = 400
"""Characters of any one text from a cluster."""

# Colours that people with any kind of colour vision tell apart (Okabe and Ito), in a light and a dark room.
STYLE = """\
:root{color-scheme:light dark;--page:#fff;--ink:#1b1f24;--soft:#59636e;--line:#d5dae0;--outage:#d55e0033;
--ready:#009e73;--failed:#c4362b;--starting:#e6b800;--stopping:#e07b00;--triggered:#3a8fd0;--waiting:#c9d1d9}
@media(prefers-color-scheme:dark){:root{--page:#0f1419;--ink:#e6edf3;--soft:#9aa5b1;--line:#323a44;--outage:#d55e0055;
--ready:#1fb88a;--failed:#ff6b5e;--starting:#f0d04a;--stopping:#e8903a;--triggered:#5aa9e6;--waiting:#3d4650}}
.ready{fill:var(--ready)}.failed{fill:var(--failed)}.starting{fill:var(--starting)}.stopping{fill:var(--stopping)}
.triggered{fill:var(--triggered)}.waiting{fill:var(--waiting)}.page{fill:var(--page)}.outage{fill:var(--outage)}
svg text{font:12px system-ui,sans-serif;fill:var(--ink)}svg .soft{fill:var(--soft)}svg .head{font-weight:600}
svg .end{text-anchor:end}svg .middle{text-anchor:middle}svg .title{font-size:18px;font-weight:600}
.grid{stroke:var(--line);stroke-width:1}.mark{stroke:var(--ink);stroke-width:1}
.range{fill:var(--soft)}
.foreseen{stroke:var(--ink);stroke-width:1.5;stroke-dasharray:4 3}
"""


def safe(text: str, most: int = MOST_TEXT) -> str:
    """The text as it may stand in HTML and SVG, between tags and in quotes: nothing in it is markup, and no character
    is one that XML 1.0 forbids."""
    harmless = plain(clipped(text, most)).replace("\ufffe", REPLACEMENT).replace("\uffff", REPLACEMENT)
    return html.escape(harmless)


def moment(time: float) -> str:
    """ "2026-11-27 09:00:03 UTC", of seconds since the epoch."""
    try:
        return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (ValueError, OverflowError, OSError):
        return "-"

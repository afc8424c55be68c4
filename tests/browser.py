"""A real browser, where there is one, and the pixels of what it shows."""

from __future__ import annotations

import shutil
import struct
import subprocess
import zlib
from pathlib import Path

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
SECONDS = 300.0

Pixel = tuple[int, ...]


def browser() -> str:
    """The path of a Chromium. Skips the test where there is none."""
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"no browser: none of {', '.join(NAMES)} is installed")
    return found


def _run(home: Path, *options: str) -> bytes:
    words = [browser(), "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"]
    words += ["--no-first-run", "--disable-extensions", f"--user-data-dir={home}", *options]
    done = subprocess.run(words, capture_output=True, timeout=SECONDS, check=False)
    assert done.returncode == 0, done.stderr.decode(errors="replace")[-2000:]
    return done.stdout


def dom(file: Path) -> str:
    """The page as the browser understood it."""
    return _run(file.parent / "home", "--dump-dom", file.as_uri()).decode()


def looked_at(file: Path, width: int, height: int, *, dark: bool = False) -> list[list[Pixel]]:
    """The rows of pixels that somebody sees, red, green and blue each."""
    shot = file.with_suffix(".png")
    scheme = f"--blink-settings=preferredColorScheme={0 if dark else 1}"
    _run(file.parent / "home", scheme, f"--window-size={width},{height}", f"--screenshot={shot}", file.as_uri())
    return _pixels(shot.read_bytes())


def _pixels(png: bytes) -> list[list[Pixel]]:
    """Of a PNG of 8 bits a channel, RGB or RGBA, not interlaced (RFC 2083)."""
    at, data = 8, b""
    width = height = channels = 0
    while at < len(png):
        (size,) = struct.unpack(">I", png[at : at + 4])
        kind, body = png[at + 4 : at + 8], png[at + 8 : at + 8 + size]
        if kind == b"IHDR":
            width, height, depth, colour, *_ = struct.unpack(">IIBBBBB", body)
            assert depth == 8
            channels = {2: 3, 6: 4}[colour]
        elif kind == b"IDAT":
            data += body
        at += 12 + size
    raw, stride = zlib.decompress(data), width * channels
    before = bytearray(stride)
    rows = []
    for number in range(height):
        start = number * (stride + 1)
        before = _unfiltered(raw[start], bytearray(raw[start + 1 : start + 1 + stride]), before, channels)
        rows.append([tuple(before[x : x + 3]) for x in range(0, stride, channels)])
    return rows


def _unfiltered(kind: int, line: bytearray, above: bytearray, channels: int) -> bytearray:
    for at in range(len(line)):
        left = line[at - channels] if at >= channels else 0
        corner = above[at - channels] if at >= channels else 0
        guess = (0, left, above[at], (left + above[at]) // 2, _paeth(left, above[at], corner))[kind]
        line[at] = (line[at] + guess) & 255
    return line


def _paeth(left: int, up: int, corner: int) -> int:
    near = left + up - corner
    return min((left, up, corner), key=lambda each: abs(near - each))

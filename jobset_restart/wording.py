"""What a request asks for, in the words of a command line. Pure."""

from __future__ import annotations

from msgspec import structs

from jobset_restart.plan import Request

_OPTIONS = {"containers": "-c"}
"""The fields whose option is not called like them."""


def asked(request: Request) -> str:
    """What a request asks for, as options of a command line, the choice of slots apart."""
    words: list[str] = []
    for field in structs.fields(request):
        value, option = getattr(request, field.name), f"--{field.name.replace('_', '-')}"
        if field.name == "selection" or value is None or value is False or value in ("", ()):
            continue
        if field.name == "strategy":
            words.append(f"--{value}")
        elif field.name == "fallback":
            words += [option, "recreate"]
        elif isinstance(value, bool):
            words.append(option)
        else:
            each = value if isinstance(value, tuple | list) else (value,)
            texts = (f"{item:g}s" if isinstance(item, float) else str(item) for item in each)
            words += [word for text in texts for word in (_OPTIONS.get(field.name, option), text)]
    return " ".join(words)

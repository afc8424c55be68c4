"""Objects and words without their secrets, as they are written into a capture. Pure.

Of an environment variable the name is kept and the value is not, whatever it is: nobody can tell a token from a path.
References (fieldRef, resourceFieldRef, and the names of Secrets and ConfigMaps) are kept. In everything else, arguments
and messages among it, what looks like a credential goes. Too much is hidden rather than too little.
"""

from __future__ import annotations

import re
from typing import Any

HIDDEN = "[redacted]"
_SENSITIVE = (
    r"pass(?:wor[dt]|wd|phrase|code)|(?<![a-z])pwd|token(?!s|iz|ex|pol)|secret|credential|auth(?:oriz|entic)ation"
    r"|(?:api|access|private|secret|signing|encryption|account|auth|ssh|license)[_-]?key"
)
"""Parts of a name that say that the value is nobody's business. "tokens", "tokenizer" and "tokenExpirationSeconds" are
none."""
_NAME = re.compile(_SENSITIVE, re.IGNORECASE)
_REFERENCE = re.compile(r"(?:names?|namespace|refs?|file|path|policy|type|kind|seconds|mode)\Z", re.IGNORECASE)
"""How fields end that name something sensitive without being it: secretName, tokenPath."""
_OPTION = re.compile(r"--?[\w.-]+\Z")
_VALUE = r"""(?:"(?:[^"\\]|\\.){0,4096}"|'[^']{0,4096}'|[\\"']{0,4}[^\s"'&]+)"""
_SET = re.compile(
    rf"(?P<name>(?:{_SENSITIVE})[\w.-]{{0,64}}[\\\"']{{0,4}}\s{{0,8}}[=:]\s{{0,8}}(?:(?:bearer|basic)\s+)?){_VALUE}",
    re.IGNORECASE,
)
_FOLLOWING = re.compile(
    rf"(?P<name>--?[\w.-]{{0,64}}?(?:{_SENSITIVE})[\w.-]{{0,64}}\s{{1,8}}(?!--)){_VALUE}", re.IGNORECASE
)
_USERINFO = re.compile(r"(?P<name>[a-z][a-z0-9+.-]{0,20}://)[^\s/@]{1,512}@", re.IGNORECASE)
_KNOWN = re.compile(
    r"\b(?:hf_[A-Za-z0-9]{16,}|gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}|xox[abeprs]-[\w-]{10,}"
    r"|sk-[\w-]{20,}|(?:AKIA|ASIA)[A-Z0-9]{16}|AIza[\w-]{30,}|eyJ[\w.-]{20,})"
)
"""Credentials that are known by their form: of model hubs, forges, chats and clouds, and JSON web tokens."""
_BEARER = re.compile(r"(?P<name>\bbearer\s{1,8})[\w.~+/=-]{8,}", re.IGNORECASE)
_ENVIRONMENT = re.compile(
    r"(?:.*[/_.-])?(?:env|ENV|environment)(?:[_.A-Z-].*|vars?)?|.*[a-z0-9]Env(?:[_A-Z-].*|ironment.*|vars?)?", re.DOTALL
)
"""Fields that hold an environment: env, extraEnv, env_vars, runtimeEnvYAML."""
_APPLIED = re.compile(r"last-applied|/applied\Z|/original\Z", re.IGNORECASE)
"""Annotations that hold the whole object as somebody applied it, its environment included."""
_OPAQUE = frozenset({"volumeAttributes", "options"})
"""Maps that are handed to a driver (csi, flexVolume): whatever they hold."""


def redacted(value: Any, key: str = "") -> Any:
    """A JSON value of the API without its secrets: same keys, same lists, other strings where something was hidden.
    `key` is the field it is the value of."""
    if isinstance(value, dict):
        return _map(value, everything=key in _OPAQUE or _is_environment(key), annotations=key == "annotations")
    if isinstance(value, list):
        if all(isinstance(each, str) for each in value):
            return _settings(value) if _is_environment(key) else _arguments(value)
        return [redacted(each) for each in value]
    if isinstance(value, str):
        return HIDDEN if value and (sensitive(key) or _is_environment(key)) else scrubbed(value)
    return value


def scrubbed(text: str) -> str:
    """The words without what looks like a credential: --token VALUE, KEY=value, https://user:password@host, and tokens
    known by their form."""
    text = _USERINFO.sub(rf"\g<name>{HIDDEN}@", text)
    for pattern in (_SET, _FOLLOWING, _BEARER):
        text = pattern.sub(rf"\g<name>{HIDDEN}", text)
    return _KNOWN.sub(HIDDEN, text)


def sensitive(name: str) -> bool:
    """Whether a field, a variable or an option of this name holds a secret, and does not just name one."""
    return bool(_NAME.search(name)) and not _REFERENCE.search(name)


def _is_environment(key: str) -> bool:
    return bool(_ENVIRONMENT.fullmatch(key))


def _map(value: dict[str, Any], *, everything: bool, annotations: bool) -> dict[str, Any]:
    """An object. A name beside a value is an EnvVar or an HTTPHeader."""
    pair = "name" in value and "value" in value
    kept: dict[str, Any] = {}
    for key, each in value.items():
        hides = everything or (pair and key == "value") or (annotations and _APPLIED.search(key))
        if key == "managedFields":
            kept[key] = _managed(each)
        elif hides and not isinstance(each, dict | list):
            kept[key] = HIDDEN if each else each
        else:
            kept[key] = redacted(each, key)
    return kept


def _managed(entries: Any) -> Any:
    """Who wrote last, and when. Which fields, nobody asks of a capture."""
    if not isinstance(entries, list):
        return HIDDEN
    return [{k: v for k, v in entry.items() if k != "fieldsV1"} for entry in entries if isinstance(entry, dict)]


def _settings(words: list[str]) -> list[str]:
    """An environment as a list of NAME=value."""
    return [
        f"{name}={HIDDEN}" if value else scrubbed(name) for name, _, value in (word.partition("=") for word in words)
    ]


def _arguments(words: list[str]) -> list[str]:
    """A command line: what follows an option that takes a secret goes as well."""
    kept = []
    for before, word in zip(["", *words], words, strict=False):
        follows = _OPTION.fullmatch(before) and _NAME.search(before) and not word.startswith("--")
        kept.append(HIDDEN if follows and word else scrubbed(word))
    return kept

"""Reports as JSON, YAML or names."""

from __future__ import annotations

import json
import re
import unicodedata
from typing import Any

import msgspec

from jobset_restart.harmless import plain
from jobset_restart.report import AboutWorkload, JobSetReport, JobSetReportList, PlanReport, Report, ResultReport
from jobset_restart.report.capture import CaptureReport
from jobset_restart.report.diagnosis import DiagnosisReport
from jobset_restart.report.history import HistoryReport
from jobset_restart.workloads.kinds import JOBSET, WORKLOAD_KINDS

NUMBER = re.compile(r"[-+]?(\.\d+|\d+(\.\d*)?)(e[-+]?\d+)?|0[ox][\da-f]+|[-+]?\.?(inf|nan)", re.IGNORECASE)
"""What the core schema of YAML 1.2 takes for a number; what YAML 1.1 does, pyyaml quotes by itself."""
NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
"""RFC 1123, as the API server checks it (apimachinery, IsDNS1123Subdomain)."""
DELETE = "\x7f"


def render(report: Report, form: str) -> str:
    """The report as one document, without a final newline. `form` is json, yaml or name.

    Text from a cluster is kept as it is, but what a terminal would obey is escaped. Names are what Kubernetes takes for
    one, to be used in scripts: whatever else a server sends for one is left out.
    """
    if form == "json":
        text = msgspec.json.format(msgspec.json.encode(report), indent=2).decode()
        return text if text.isascii() and DELETE not in text else "".join(map(_escaped, text))
    if form == "yaml":
        return _yaml(msgspec.to_builtins(report))
    if isinstance(report, CaptureReport):
        return plain(report.path)
    if isinstance(report, DiagnosisReport):
        return "\n".join(f"pod/{each.pod}" for each in report.suspects if NAME.fullmatch(each.pod))
    if isinstance(report, HistoryReport):
        return "\n".join(each.operation for each in report.items if NAME.fullmatch(each.operation))
    return "\n".join(f"{kind}/{name}" for kind, name in _names(report) if NAME.fullmatch(name))


def _yaml(plain: Any) -> str:
    """YAML that reads the same in YAML 1.1 and 1.2: the id "12e45678" is a number in one and a string in the other."""
    import yaml

    class Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]  # the same in C, where it is there
        pass

    def text(dumper: Any, value: str) -> Any:
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style='"' if NUMBER.fullmatch(value) else None)

    Dumper.add_representer(str, text)
    document: str = yaml.dump(plain, Dumper=Dumper, sort_keys=False, allow_unicode=False, width=100)
    return document.rstrip("\n")


def _escaped(char: str) -> str:
    """Structure is ASCII, so anything else stands in a string, where JSON allows an escape, as does the one control
    character that JSON does not escape by itself."""
    if char == DELETE:
        return "\\u007f"
    return (
        char if char.isascii() or unicodedata.category(char) not in ("Cc", "Cf", "Zl", "Zp") else json.dumps(char)[1:-1]
    )


def _names(report: Report) -> list[tuple[str, str]]:
    """The kinds, as kubectl names them, and the names."""
    match report:
        case JobSetReportList(items=items):
            return [(_kind(item), item.name) for item in items]
        case JobSetReport(name=name) | PlanReport(jobset=name) | ResultReport(jobset=name):
            return [(_kind(report), name)]
    return []


def _kind(report: AboutWorkload) -> str:
    known = (
        each for each in WORKLOAD_KINDS if (each.kind, each.group) == (report.workload_kind, report.workload_group)
    )
    kind = next(known, JOBSET)
    return f"{kind.kind.lower()}.{kind.group}" if kind.group else kind.kind.lower()

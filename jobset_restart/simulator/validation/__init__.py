"""Admission: defaults and validation, as the API server's strategies, defaulters and built-in plugins do them.

Pure: an object comes in, the object with its defaults goes out, or a StoreError says what is wrong with it. What needs
a look at other objects is not modelled: that a Pod's ServiceAccount and PriorityClass exist.
"""

from __future__ import annotations

from collections.abc import Callable

from jobset_restart.simulator.store import Obj
from jobset_restart.simulator.validation.job import admit_job
from jobset_restart.simulator.validation.jobset import admit_jobset
from jobset_restart.simulator.validation.jobset_pod import with_priority_label
from jobset_restart.simulator.validation.meta import validate_meta
from jobset_restart.simulator.validation.older import admit_older
from jobset_restart.simulator.validation.other import OTHERS
from jobset_restart.simulator.validation.pod import admit_pod
from jobset_restart.simulator.versions import DEFAULT, VERSIONS, Version

_KINDS: dict[str, Callable[[Obj, Obj | None], Obj]] = {
    "pods": admit_pod,
    "jobs": admit_job,
    "jobsets": admit_jobset,
    **OTHERS,
}


def admit(resource: str, new: Obj, old: Obj | None, subresource: str, version: Version = VERSIONS[DEFAULT]) -> Obj:
    """``new`` with its defaults; ``old`` is None on create. Raises StoreError 422 in the API server's words.

    Subresources (status, binding) of built-in types are taken as they are; a JobSet's status has a schema.
    """
    if subresource:
        return admit_jobset(new, old) if resource == "jobsets" else new
    validate_meta(resource, new, old)
    new = admit_older(version, resource, new, old)
    kind = _KINDS.get(resource)
    new = kind(new, old) if kind else new
    return with_priority_label(new) if resource == "pods" and old is None else new

"""Every error a user or a cluster can cause, in one tree. Each knows the exit code of `jsr`.

JsrError                    1    anything below that has no code of its own
├── UsageError              2    contradictory or malformed options
├── AccessError             1    kubeconfig, context, credentials or TLS files cannot be used
├── Unreachable             1    no answer from the API server: refused, reset, DNS, TLS, time-out
├── ApiError                1    the API server answered with an error
│   ├── Unauthorized        1    401
│   ├── Forbidden           1    403
│   ├── NotFound            1    404
│   ├── Conflict            1    409, a precondition (UID, resourceVersion) did not hold
│   ├── Gone                1    410, the resourceVersion is too old
│   ├── Invalid             1    400 and 422, the object was refused by validation or admission
│   ├── Malformed           1    an answer that is none of the Kubernetes API's: not its JSON, or not its types
│   └── Overloaded          1    429, 500, 502, 503, 504 after the last retry
├── TooLarge                1    the cluster holds more than any sound workload has; nothing was changed
├── ExecFailed              1    the command could not be run in the container
├── OwnFault                1    a fault of this program, which nobody at the keyboard can have caused
├── Refused                 3    blockers in the plan; nothing was changed
├── JobSetOver              5    the workload failed or finished
├── Superseded              6    the workload was deleted, replaced, or claimed by another operation
├── DeadlineExceeded      124    the operation's deadline passed
└── Interrupted           130    the person pressed Ctrl-C, or the process was told to end
"""

from __future__ import annotations

import traceback
from pathlib import Path

MOST_WORDS = 200
"""How much of a foreign exception's message is told: it was not written for a person, and may be of any length."""


class JsrError(Exception):
    """An error for the person at the keyboard.

    `message` says what happened and to which object; `hint`, where there is one, what to do next.

    Whether the same request may succeed a little later is data, read by the one retry policy: `passing` says so,
    `tries` how often it is worth another try (None: for as long as there is time), `retry_after` how many seconds the
    server asked to wait (None: it did not say).
    """

    exit_code = 1
    passing = False
    tries: int | None = None
    retry_after: float | None = None

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message


class UsageError(JsrError):
    exit_code = 2


class AccessError(JsrError):
    pass


class Unreachable(JsrError):
    """No answer. `passing=False` where no later try can go better: a certificate that is not trusted, a bad proxy."""

    passing = True

    def __init__(self, message: str, hint: str = "", *, passing: bool = True) -> None:
        super().__init__(message, hint)
        self.passing = passing


class ApiError(JsrError):
    """An answer of the API server that is none of success, or none that can be read.

    `status` is the HTTP status (0 where the answer itself is at fault), `reason` the machine-readable reason of the
    Status object ("NotFound"), `retry_after` the seconds the server asked to wait, or None.
    """

    status = 0

    def __init__(
        self, message: str, hint: str = "", *, status: int = 0, reason: str = "", retry_after: float | None = None
    ) -> None:
        super().__init__(message, hint)
        self.status = status
        self.reason = reason
        self.retry_after = retry_after


class Unauthorized(ApiError):
    """Credentials that were refused. An API server whose authentication webhook is away refuses good ones, too: those
    are tried again `tries` times."""


class Forbidden(ApiError):
    pass


class NotFound(ApiError):
    pass


class Conflict(ApiError):
    pass


class Gone(ApiError):
    pass


class Invalid(ApiError):
    pass


class Malformed(ApiError):
    pass


class Overloaded(ApiError):
    passing = True


class TooLarge(JsrError):
    pass


class ExecFailed(JsrError):
    pass


class OwnFault(JsrError):
    """A fault of this program. `cause` is the exception it showed in."""

    def __init__(self, message: str, hint: str, cause: BaseException) -> None:
        super().__init__(message, hint)
        self.cause = cause


class Refused(JsrError):
    exit_code = 3


class JobSetOver(JsrError):
    exit_code = 5


class Superseded(JsrError):
    exit_code = 6


class DeadlineExceeded(JsrError):
    exit_code = 124


class Interrupted(JsrError):
    exit_code = 130


def told(raised: BaseException) -> JsrError:
    """The error to tell a person of, whatever was raised: a JsrError as it is, also where a TaskGroup wrapped it in an
    ExceptionGroup; anything else is an OwnFault, with its kind, words and place."""
    leaves = list(_leaves(raised))
    fault = next((leaf for leaf in leaves if not isinstance(leaf, JsrError)), None)
    if fault is None:
        return next(leaf for leaf in leaves if isinstance(leaf, JsrError))
    words = str(fault)[:MOST_WORDS]
    return OwnFault(
        f"a fault in jsr itself: {type(fault).__name__}{f': {words}' if words else ''}{_place(fault)}",
        "please report it to the project's issue tracker, with the command and what it prints with -v",
        fault,
    )


def _leaves(raised: BaseException) -> list[BaseException]:
    if isinstance(raised, BaseExceptionGroup):
        return [leaf for each in raised.exceptions for leaf in _leaves(each)]
    return [raised]


def _place(raised: BaseException) -> str:
    """The line of this program the exception went through last, in words."""
    package = Path(__file__).parent
    frames = traceback.extract_tb(raised.__traceback__)
    mine = [frame for frame in frames if package in Path(frame.filename).parents]
    return f" ({Path(mine[-1].filename).relative_to(package)}, line {mine[-1].lineno})" if mine else ""

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
│   └── Overloaded          1    429, 500, 502, 503, 504 after the last retry
├── ExecFailed              1    the command could not be run in the container
├── Refused                 3    blockers in the plan; nothing was changed
├── JobSetOver              5    the JobSet failed or finished
├── Superseded              6    the JobSet was deleted, replaced, or claimed by another operation
├── DeadlineExceeded      124    the operation's deadline passed
└── Interrupted           130    the person pressed Ctrl-C, or the process was told to end
"""

from __future__ import annotations


class JsrError(Exception):
    """An error for the person at the keyboard.

    `message` says what happened and to which object; `hint`, where there is one, what to do next.
    """

    exit_code = 1

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
    pass


class ApiError(JsrError):
    """An answer of the API server with a status of 400 or more.

    `status` is the HTTP status, `reason` the machine-readable reason of the Status object ("NotFound"),
    `retry_after` the seconds the server asked to wait, or None.
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
    pass


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


class Overloaded(ApiError):
    pass


class ExecFailed(JsrError):
    pass


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

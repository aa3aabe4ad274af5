"""Why a request is not answered, with the HTTP status and the stable code that clients see.

The other errors of bioqa get theirs from ``status_and_code``.
"""

from bioqa.errors import BioqaError, IndexStateError, ModelError, QuestionError, UsageError


class ServeError(BioqaError):
    """A request that is not answered; ``status`` is its HTTP status, ``code`` the stable name of the reason.

    ``field`` is the part of the request that is wrong ("" if none), ``retry_after`` the seconds after which to try again (None:
    trying again will not help).
    """

    exit_code = 70  # answered over HTTP; one that reaches the command line is a fault of bioqa

    status = 400
    code = "bad_request"

    def __init__(self, message: str, *, field: str = "", retry_after: int | None = None) -> None:
        super().__init__(message)
        self.field = field
        self.retry_after = retry_after


class InvalidError(ServeError):
    """A part of the request is malformed or out of range."""

    status, code = 422, "invalid_request"


class NotFoundError(ServeError):
    """There is no such article, index or page."""

    status, code = 404, "not_found"


class TooLargeError(ServeError):
    """A body, question, document or list beyond a limit, which the message names."""

    status, code = 413, "too_large"


class OverloadedError(ServeError):
    """The queue is full, or a key has used up its rate."""

    status, code = 429, "overloaded"


class RateError(OverloadedError):
    """A key has used up its rate."""

    code = "rate_limited"


class DrainingError(ServeError):
    """The server is shutting down."""

    status, code = 503, "draining"


class NotReadyError(ServeError):
    """The server cannot do this at present."""

    status, code = 503, "not_ready"


class DeadlineError(ServeError):
    """The request was not answered in its time."""

    status, code = 504, "deadline_exceeded"


class CancelledError(ServeError):
    """The client went away before its request was answered."""

    status, code = 499, "client_closed_request"


_KINDS: tuple[tuple[type[BioqaError], int, str], ...] = (
    (QuestionError, 422, "invalid_question"),
    (UsageError, 422, "invalid_request"),
    (ModelError, 500, "model_failed"),
    (IndexStateError, 503, "index_unavailable"),
)


def status_and_code(error: BioqaError) -> tuple[int, str]:
    """The HTTP status and the stable code of an error."""
    if isinstance(error, ServeError):
        return error.status, error.code
    return next(((status, code) for kind, status, code in _KINDS if isinstance(error, kind)), (500, "internal_error"))

"""Every error a caller can handle: one tree; each class has a status, a code, an exit code."""

from __future__ import annotations

from typing import ClassVar


class RerankServerError(Exception):
    """Something went wrong inside the server."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"
    exit_code: ClassVar[int] = 1
    retry_after_s: int | None = None
    """How long a client should wait before it tries again; None: trying again is no use."""

    def __init__(self, message: str | None = None, *, field: str | None = None) -> None:
        super().__init__(message or type(self).__doc__ or type(self).__name__)
        self.field = field
        """Name of the request field or config key at fault, if one is."""

    @property
    def message(self) -> str:
        """The sentence a person reads."""
        return str(self.args[0])


# --- what an operator meets -----------------------------------------------------------------


class ConfigError(RerankServerError):
    """The configuration is not valid."""

    code = "config_invalid"
    exit_code = 3

    def __init__(self, problems: list[str] | str) -> None:
        self.problems = [problems] if isinstance(problems, str) else problems
        super().__init__("\n".join(self.problems))


class UsageError(RerankServerError):
    """The command was called with arguments that do not fit."""

    code = "usage"
    exit_code = 2


class NotRunningError(RerankServerError):
    """No server runs here; start one with: rerank-server start."""

    code = "not_running"
    exit_code = 4


class AlreadyRunningError(RerankServerError):
    """A server already runs on this run directory."""

    code = "already_running"


class ListenError(RerankServerError):
    """The address could not be bound."""

    code = "listen_failed"


class RunDirError(RerankServerError):
    """The run or state directory cannot be used."""

    code = "run_dir"


class NoAnswerError(RerankServerError):
    """The server did not answer in time; it goes on. See: rerank-server status."""

    code = "no_answer"


class CatalogError(RerankServerError):
    """A version's files could not be fetched or laid out."""

    code = "catalog"


# --- what a client meets --------------------------------------------------------------------


class BadRequestError(RerankServerError):
    """The request is not valid."""

    status = 400
    code = "invalid_request"


class UnauthorizedError(RerankServerError):
    """The API key is missing or not valid."""

    status = 401
    code = "unauthorized"


class ForbiddenError(RerankServerError):
    """The API key may not do this."""

    status = 403
    code = "forbidden"


class NotFoundError(RerankServerError):
    """Nothing is served at this path."""

    status = 404
    code = "not_found"


class MethodNotAllowedError(RerankServerError):
    """This path does not take that method."""

    status = 405
    code = "method_not_allowed"


class RequestTimeoutError(RerankServerError):
    """The request did not arrive in time."""

    status = 408
    code = "request_timeout"


class TooLargeError(RerankServerError):
    """The request is larger than the server takes."""

    status = 413
    code = "too_large"


class UnsupportedMediaTypeError(RerankServerError):
    """Send the body as application/json."""

    status = 415
    code = "unsupported_media_type"


class OverloadedError(RerankServerError):
    """The queue is full; try again shortly."""

    status = 429
    code = "overloaded"
    retry_after_s = 1


class ServerFullError(OverloadedError):
    """The server holds as much as it may, of all versions; try again shortly."""


class ModelError(RerankServerError):
    """The model failed on this request."""

    status = 500
    code = "model_error"


class WorkerLostError(RerankServerError):
    """The worker process died while scoring this request, twice."""

    status = 502
    code = "worker_lost"
    versions: frozenset[str] = frozenset()
    """Whose processes died with this very request; none: it was refused for what others did."""


class UnavailableError(RerankServerError):
    """No version can answer this request now."""

    status = 503
    code = "unavailable"
    retry_after_s = 2


class DeadlineError(RerankServerError):
    """The request's deadline passed before its scores were ready."""

    status = 504
    code = "deadline_exceeded"

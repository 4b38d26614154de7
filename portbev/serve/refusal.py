"""A request that is not answered, with the reason in a line and HTTP's number for it."""

from __future__ import annotations

from typing import Any

from portbev.errors import PortbevError


class RefusalError(PortbevError):
    """What is wrong with a request, where in it, and the cure.

    Args:
        status: of HTTP: 4xx where the request is at fault, 5xx where the server is.
        retry_after: seconds after which the same request may be answered; None: it will not.
    """

    def __init__(
        self, status: int, what: str, *, where: str = "", cure: str = "", retry_after: float | None = None
    ) -> None:
        self.status, self.retry_after = status, retry_after
        super().__init__(what, where=where, cure=cure)

    def as_json(self) -> dict[str, Any]:
        """The answer's body: the line, and its parts."""
        return {"error": str(self), "what": self.what, "where": self.where, "cure": self.cure, "status": self.status}


def unusable(what: str, *, where: str, cure: str = "") -> RefusalError:
    """A request of the right form whose content cannot be used (422)."""
    return RefusalError(422, what, where=where, cure=cure)

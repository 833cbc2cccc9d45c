"""Error responses of the Video API."""

from local.vonage.refusal import Refusal

_NAMES = {400: "Bad Request", 403: "Forbidden", 404: "Not Found", 409: "Conflict"}


class VideoRefusal(Refusal):
    """A request is rejected with `status` and the Video API's error body."""

    def __init__(self, status: int, message: str, code: int | None = None) -> None:
        super().__init__(status, _NAMES[status], message)
        self.code = status if code is None else code

    def as_json(self) -> dict[str, object]:
        """Return the body in the service's published form."""
        return error_body(self.code, self.message)


def error_body(code: int, message: str) -> dict[str, object]:
    """Return an error of the Video API."""
    return {"code": code, "message": message, "description": message}


def invalid(message: str) -> VideoRefusal:
    """Return the error for a request with an invalid parameter."""
    return VideoRefusal(400, message)


def forbidden() -> VideoRefusal:
    """Return the error for wrong credentials."""
    return VideoRefusal(403, "Invalid credentials")


def unknown(status: int) -> VideoRefusal:
    """Return the error for an archive that does not exist."""
    return VideoRefusal(status, "Archive not found" if status == 404 else "Invalid archive ID")


def nobody_connected() -> VideoRefusal:
    """Return the error for the start of an archive in a session without clients."""
    return VideoRefusal(404, "No clients are actively connected to the OpenTok session.")


def already_recording() -> VideoRefusal:
    """Return the error for a second archive with the same tag in a session."""
    return VideoRefusal(409, "HTTP 409 Conflict", 15001)


def not_stoppable() -> VideoRefusal:
    """Return the error for stopping an archive that is over."""
    return VideoRefusal(
        409,
        "You can only stop an archive that has one of the following statuses: "
        "started OR paused OR stopped",
        15002,
    )


def not_deletable() -> VideoRefusal:
    """Return the error for deleting an archive in a status that forbids it."""
    return VideoRefusal(
        409,
        "You can only delete an archive that has one of the following statuses: "
        "available OR uploaded OR deleted",
        15004,
    )

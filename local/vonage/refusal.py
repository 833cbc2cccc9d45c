"""Error responses of the Meetings API."""


class Refusal(Exception):
    """A request is rejected with `status` and the service's error body."""

    def __init__(self, status: int, name: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.name = name
        self.message = message

    def as_json(self) -> dict[str, object]:
        """Return the body in the service's published form."""
        return {"message": self.message, "name": self.name, "status": self.status}


def invalid(message: str) -> Refusal:
    """Return the error for a request with an invalid field."""
    return Refusal(400, "InputValidationError", message)


def bad_request(message: str) -> Refusal:
    """Return the error for a valid request that its target's state does not allow."""
    return Refusal(400, "BadRequestError", message)


def not_found(message: str) -> Refusal:
    """Return the error for a request for something that does not exist."""
    return Refusal(404, "NotFoundError", message)

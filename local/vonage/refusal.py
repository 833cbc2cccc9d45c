"""How the Meetings API says no."""


class Refusal(Exception):
    """A request is answered with `status` and the service's error body."""

    def __init__(self, status: int, name: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.name = name
        self.message = message

    def as_json(self) -> dict[str, object]:
        """Return the body in the service's published form."""
        return {"message": self.message, "name": self.name, "status": self.status}


def invalid(message: str) -> Refusal:
    """Return the refusal of a request that breaks the rules of its fields."""
    return Refusal(400, "InputValidationError", message)


def bad_request(message: str) -> Refusal:
    """Return the refusal of a well-formed request that its target does not allow."""
    return Refusal(400, "BadRequestError", message)


def not_found(message: str) -> Refusal:
    """Return the refusal of a request for something that is not there."""
    return Refusal(404, "NotFoundError", message)

"""The functions' log: every record is one line of JSON, those of the layer's loggers included."""

import logging

from aws_lambda_powertools import Logger
from aws_lambda_powertools.logging import utils


def function_logger() -> Logger:
    """Return the function's logger. The layer's standard loggers get its form and its level.

    Without that, Lambda's own handler would write theirs as text, beside the JSON. They have the
    request id, since it is kept where the form is.

    Times are in RFC 3339: Lambda's JSON log format reads a line's level only beside such a time.

    Sources: "Setting log levels and formatting of other loggers" in the Powertools documentation,
    "Log-level filtering" in the Lambda guide.
    """
    logger = Logger(use_rfc3339=True)
    package = logging.getLogger("roomkeeper")  # made known, or there would be nothing to copy to
    utils.copy_config_to_registered_loggers(logger, include={package.name})
    return logger

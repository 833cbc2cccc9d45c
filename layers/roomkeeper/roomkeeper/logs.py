"""The functions' logger: every record is one line of JSON, the layer's own records included."""

import json
import logging
from typing import Any

import msgspec
from aws_lambda_powertools import Logger
from aws_lambda_powertools.logging import utils

_encoder = msgspec.json.Encoder(enc_hook=str)


def function_logger() -> Logger:
    """Return the function's logger, and apply its format and level to the layer's loggers.

    Otherwise Lambda's handler would write the layer's records as plain text. The request id is
    stored in the shared formatter, so the layer's records have it too.

    Times are in RFC 3339: Lambda's JSON log format reads a line's level only beside such a time.
    They are in UTC, as in Lambda's own lines. A message is never JSON itself, so it is not parsed.

    Sources: "Setting log levels and formatting of other loggers" in the Powertools documentation,
    "Log-level filtering" in the Lambda guide, "Optimization" in Python's logging HOWTO.
    """
    logger = Logger(
        use_rfc3339=True,
        utc=True,
        json_serializer=as_json,
        json_deserializer=str,
    )
    # No line says which thread or process wrote it, so they are not looked up.
    logging.logThreads = logging.logMultiprocessing = logging.logProcesses = False
    package = logging.getLogger("roomkeeper")  # creates it: only registered loggers are configured
    utils.copy_config_to_registered_loggers(logger, include={package.name})
    return logger


def as_json(line: dict[str, Any]) -> str:
    """Return a log line as JSON, with a value of an unknown type as its text.

    The standard library's encoder, which Powertools makes anew for each line, would take a tenth of
    the publisher's processor time.
    """
    try:
        return _encoder.encode(line).decode()
    except UnicodeEncodeError:  # a lone surrogate, as from a truncated emoji, has no UTF-8
        return json.dumps(line, default=str)

"""Calls to AWS, through the libraries that AWS maintains.

`sdk` makes boto3 clients. `crt` makes the callback intake's clients on the Common Runtime, which a
cold start loads in a quarter of the time; docs/performance.md has the figures. Import only the one
that you need: this package imports neither. The clients of both have boto3's method names and
arguments, and raise `AwsError`.
"""

from roomkeeper.aws.errors import AwsError
from roomkeeper.aws.retries import RetryPolicy

__all__ = ["AwsError", "RetryPolicy"]

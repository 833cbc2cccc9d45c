"""The operator's AWS account: its session and region, and explanations of its errors."""

import os

import boto3
import botocore.session
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    HTTPClientError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
    SSOError,
    TokenRetrievalError,
)
from botocore.exceptions import ConnectionError as EndpointError

_NO_CREDENTIALS = (
    NoCredentialsError,
    PartialCredentialsError,
    CredentialRetrievalError,
    SSOError,
    TokenRetrievalError,
)
_REFUSED_CREDENTIALS = {
    "AuthFailure",
    "ExpiredToken",
    "ExpiredTokenException",
    "IncompleteSignature",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "RequestExpired",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
}
_DENIED = {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation"}


def session() -> boto3.Session:
    """Return a session with the credentials and the region that the AWS CLI would use.

    AWS_REGION overrides AWS_DEFAULT_REGION, which overrides the profile's region. boto3 by itself
    ignores AWS_REGION.
    Source: AWS CLI User Guide, "Configuring environment variables for the AWS CLI".

    Raises:
        ProfileNotFound: AWS_PROFILE names a profile that does not exist.
    """
    return boto3.Session(region_name=os.environ.get("AWS_REGION") or None)


def region_variables() -> dict[str, str]:
    """Return the environment variables that give a child process the region of `session()`.

    The SAM CLI, like boto3, reads only AWS_DEFAULT_REGION.
    """
    name = os.environ.get("AWS_REGION")
    return {"AWS_DEFAULT_REGION": name} if name else {}


def explain(error: ClientError | BotoCoreError) -> str:
    """Return a sentence that says what is wrong and, if known, what to do."""
    if isinstance(error, ClientError):
        return _explain_response(error)
    if isinstance(error, NoRegionError):
        return "No AWS region is set: set AWS_REGION, or a region in the AWS profile."
    if isinstance(error, ProfileNotFound):
        return _explain_profile(error)
    if isinstance(error, _NO_CREDENTIALS):
        return f"No AWS credentials were found ({_text(error)}): log in, or set AWS_PROFILE."
    if isinstance(error, (EndpointError, HTTPClientError)):
        return f"AWS cannot be reached ({_text(error)}): check the network and AWS_REGION."
    return f"The call to AWS failed: {_text(error)}."


def _explain_response(error: ClientError) -> str:
    code = error.response.get("Error", {}).get("Code", "")
    if code in _REFUSED_CREDENTIALS:
        return f"AWS rejected the credentials ({_text(error)}): log in again, or set AWS_PROFILE."
    if code in _DENIED:
        return f"These AWS credentials lack a permission: {_text(error)}."
    return f"AWS returned an error: {_text(error)}."


def _explain_profile(error: ProfileNotFound) -> str:
    known = ", ".join(botocore.session.get_session().available_profiles) or "none"
    return f"{_text(error)}: set AWS_PROFILE to an existing profile ({known})."


def _text(error: Exception) -> str:
    """Return the SDK's message without the full stop that some messages end with."""
    return str(error).rstrip(".")

"""The operator's AWS account: its session and region, and what its errors mean."""

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

    AWS_REGION overrides AWS_DEFAULT_REGION, which overrides the profile's region; boto3 knows the
    last two alone. Source: AWS CLI User Guide, "Configuring environment variables for the AWS CLI".

    Raises:
        ProfileNotFound: AWS_PROFILE names a profile that does not exist.
    """
    return boto3.Session(region_name=os.environ.get("AWS_REGION") or None)


def region_variables() -> dict[str, str]:
    """Return the environment variables that give a child process the region of `session()`.

    The SAM CLI reads AWS_DEFAULT_REGION alone, as boto3 does.
    """
    name = os.environ.get("AWS_REGION")
    return {"AWS_DEFAULT_REGION": name} if name else {}


def explain(error: ClientError | BotoCoreError) -> str:
    """Return a sentence that says what is wrong, and what to do where that is known."""
    if isinstance(error, ClientError):
        return _explain_response(error)
    if isinstance(error, NoRegionError):
        return "No AWS region is chosen: set AWS_REGION, or a region in the AWS profile."
    if isinstance(error, ProfileNotFound):
        return _explain_profile(error)
    if isinstance(error, _NO_CREDENTIALS):
        return f"There are no AWS credentials ({_text(error)}): log in, or set AWS_PROFILE."
    if isinstance(error, (EndpointError, HTTPClientError)):
        return f"AWS cannot be reached ({_text(error)}): check the network and AWS_REGION."
    return f"AWS cannot be called: {_text(error)}."


def _explain_response(error: ClientError) -> str:
    code = error.response.get("Error", {}).get("Code", "")
    if code in _REFUSED_CREDENTIALS:
        return f"AWS refuses the credentials ({_text(error)}): log in again, or set AWS_PROFILE."
    if code in _DENIED:
        return f"These AWS credentials lack a permission: {_text(error)}."
    return f"AWS answers with an error: {_text(error)}."


def _explain_profile(error: ProfileNotFound) -> str:
    known = ", ".join(botocore.session.get_session().available_profiles) or "none"
    return f"{_text(error)}: set AWS_PROFILE to one of the profiles that exist ({known})."


def _text(error: Exception) -> str:
    """Return what the SDK says, without the full stop that some of its messages end with."""
    return str(error).rstrip(".")

"""The endpoints of DynamoDB and Secrets Manager, for the client without an SDK."""

from collections.abc import Mapping

from roomkeeper.aws.errors import AwsError

_VARIABLES = {
    "dynamodb": "AWS_ENDPOINT_URL_DYNAMODB",
    "secretsmanager": "AWS_ENDPOINT_URL_SECRETS_MANAGER",
}


def endpoint_of(service: str, env: Mapping[str, str]) -> str:
    """Return the endpoint URL of DynamoDB or Secrets Manager, by the rules of AWS's SDKs.

    An endpoint URL in the environment is used unchanged. Otherwise the URL depends on the region,
    the partition's domain (`URL_SUFFIX`, the template's AWS::URLSuffix) and AWS_USE_FIPS_ENDPOINT.

    Source: "Service-specific endpoints", "Dual-stack and FIPS endpoints" in the AWS SDKs and Tools
    reference guide; the endpoint rules in botocore's data.

    Raises:
        AwsError: AWS_USE_DUALSTACK_ENDPOINT is set; dual-stack endpoints follow no single rule.
    """
    variable = _VARIABLES[service]
    if url := env.get(variable) or env.get("AWS_ENDPOINT_URL"):
        return url
    if _is_true(env, "AWS_USE_DUALSTACK_ENDPOINT"):
        raise AwsError(
            "NoSuchEndpoint",
            "The callback intake does not support AWS_USE_DUALSTACK_ENDPOINT. Unset it "
            f"there, or set {variable} to the endpoint's URL.",
        )
    region = env["AWS_DEFAULT_REGION"]
    needs_fips_name = _is_true(env, "AWS_USE_FIPS_ENDPOINT")
    if service == "dynamodb" and region.startswith("us-gov-"):
        needs_fips_name = False  # the regular endpoint there is the FIPS endpoint
    return f"https://{service}{'-fips' if needs_fips_name else ''}.{region}.{env['URL_SUFFIX']}"


def _is_true(env: Mapping[str, str], name: str) -> bool:
    return env.get(name, "").lower() == "true"

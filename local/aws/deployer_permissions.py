"""Makes MiniStack's CloudFormation act with the permissions of the user who deploys.

MiniStack 1.5 checks only the user's calls to CloudFormation, and then creates every resource. With
this patch, as on AWS, the user also needs the permissions for CloudFormation's own calls.

Source: "Control CloudFormation access with AWS Identity and Access Management" in the
CloudFormation guide; the actions are the "handlers" of AWS's resource type schemas.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, NamedTuple


class Handlers(NamedTuple):
    """CloudFormation's actions for a resource type, and the ARN of the resource.

    In the ARN, `{name}` stands for the stack's name and the logical id, joined by a hyphen.
    """

    arn: str
    create: tuple[str, ...]
    update: tuple[str, ...]
    delete: tuple[str, ...]


_API = "arn:aws:apigateway:{region}::/apis"
_FUNCTION = "arn:aws:lambda:{region}:{account}:function:{name}-X"
_GROUP = "arn:aws:logs:{region}:{account}:log-group:{name}-X"
_BUCKET = "arn:aws:s3:::{stack}-copiesbucket-x"
_TOPIC = "arn:aws:sns:{region}:{account}:{name}-X"

_PART_OF_API = Handlers(
    f"{_API}/x", ("apigateway:POST",), ("apigateway:PATCH",), ("apigateway:DELETE",)
)
_PART_OF_DOMAIN = _PART_OF_API._replace(arn="arn:aws:apigateway:{region}::/domainnames/x")

HANDLERS = {
    "AWS::ApiGatewayV2::Api": _PART_OF_API._replace(arn=_API),
    "AWS::ApiGatewayV2::ApiMapping": _PART_OF_DOMAIN,
    "AWS::ApiGatewayV2::DomainName": _PART_OF_DOMAIN,
    "AWS::ApiGatewayV2::Integration": _PART_OF_API,
    "AWS::ApiGatewayV2::Route": _PART_OF_API,
    "AWS::ApiGatewayV2::Stage": _PART_OF_API,
    "AWS::CloudFormation::Stack": Handlers(
        "arn:aws:cloudformation:{region}:{account}:stack/{name}-X/1",
        ("cloudformation:CreateStack", "cloudformation:DescribeStacks"),
        ("cloudformation:UpdateStack", "cloudformation:DescribeStacks"),
        ("cloudformation:DeleteStack", "cloudformation:DescribeStacks"),
    ),
    "AWS::CloudWatch::Alarm": Handlers(
        "arn:aws:cloudwatch:{region}:{account}:alarm:{name}-X",
        ("cloudwatch:PutMetricAlarm", "cloudwatch:DescribeAlarms"),
        ("cloudwatch:PutMetricAlarm", "cloudwatch:DescribeAlarms"),
        ("cloudwatch:DeleteAlarms",),
    ),
    "AWS::CloudWatch::Dashboard": Handlers(
        "arn:aws:cloudwatch::{account}:dashboard/{logical}-X",
        ("cloudwatch:PutDashboard",),
        ("cloudwatch:PutDashboard",),
        ("cloudwatch:DeleteDashboards",),
    ),
    "AWS::DynamoDB::Table": Handlers(
        "arn:aws:dynamodb:{region}:{account}:table/{name}-X",
        (
            *("dynamodb:CreateTable", "dynamodb:DescribeTable"),
            *("dynamodb:UpdateTimeToLive", "dynamodb:UpdateContinuousBackups"),
        ),
        ("dynamodb:UpdateTable", "dynamodb:DescribeTable"),
        ("dynamodb:DeleteTable",),
    ),
    "AWS::EventSchemas::Registry": Handlers(
        "arn:aws:schemas:{region}:{account}:registry/{stack}",
        ("schemas:CreateRegistry",),
        ("schemas:UpdateRegistry",),
        ("schemas:DeleteRegistry",),
    ),
    "AWS::EventSchemas::Schema": Handlers(
        "arn:aws:schemas:{region}:{account}:schema/{stack}/x",
        ("schemas:CreateSchema",),
        ("schemas:UpdateSchema",),
        ("schemas:DeleteSchema",),
    ),
    "AWS::Events::Archive": Handlers(
        "arn:aws:events:{region}:{account}:archive/{name}-X",
        ("events:CreateArchive",),
        ("events:UpdateArchive",),
        ("events:DeleteArchive",),
    ),
    "AWS::Events::EventBus": Handlers(
        "arn:aws:events:{region}:{account}:event-bus/{stack}",
        ("events:CreateEventBus", "events:DescribeEventBus"),
        ("events:UpdateEventBus", "events:DescribeEventBus"),
        ("events:DeleteEventBus",),
    ),
    "AWS::Events::Rule": Handlers(
        "arn:aws:events:{region}:{account}:rule/{stack}/{name}-X",
        ("events:PutRule", "events:PutTargets", "events:DescribeRule"),
        ("events:PutRule", "events:PutTargets", "events:RemoveTargets"),
        ("events:DeleteRule", "events:RemoveTargets"),
    ),
    "AWS::IAM::Role": Handlers(
        "arn:aws:iam::{account}:role/{name}-X",
        ("iam:CreateRole", "iam:PutRolePolicy", "iam:GetRole"),
        ("iam:UpdateRole", "iam:PutRolePolicy", "iam:UpdateAssumeRolePolicy"),
        ("iam:DeleteRole", "iam:DeleteRolePolicy", "iam:ListRolePolicies"),
    ),
    "AWS::Lambda::EventInvokeConfig": Handlers(
        _FUNCTION,
        ("lambda:PutFunctionEventInvokeConfig",),
        ("lambda:UpdateFunctionEventInvokeConfig",),
        ("lambda:DeleteFunctionEventInvokeConfig",),
    ),
    "AWS::Lambda::EventSourceMapping": Handlers(
        "arn:aws:lambda:{region}:{account}:event-source-mapping:1",
        ("lambda:CreateEventSourceMapping",),
        ("lambda:UpdateEventSourceMapping",),
        ("lambda:DeleteEventSourceMapping",),
    ),
    "AWS::Lambda::Function": Handlers(
        _FUNCTION,
        ("lambda:CreateFunction", "lambda:GetFunction", "iam:PassRole"),
        (
            *("lambda:UpdateFunctionCode", "lambda:UpdateFunctionConfiguration"),
            *("lambda:GetFunction", "iam:PassRole"),
        ),
        ("lambda:DeleteFunction",),
    ),
    "AWS::Lambda::LayerVersion": Handlers(
        "arn:aws:lambda:{region}:{account}:layer:RoomkeeperLayer",
        ("lambda:PublishLayerVersion",),
        (),
        ("lambda:DeleteLayerVersion",),
    ),
    "AWS::Lambda::Permission": Handlers(
        _FUNCTION, ("lambda:AddPermission",), (), ("lambda:RemovePermission",)
    ),
    "AWS::Logs::LogGroup": Handlers(
        _GROUP,
        ("logs:CreateLogGroup", "logs:PutRetentionPolicy"),
        ("logs:PutRetentionPolicy",),
        ("logs:DeleteLogGroup",),
    ),
    "AWS::Logs::MetricFilter": Handlers(
        _GROUP,
        ("logs:PutMetricFilter",),
        ("logs:PutMetricFilter",),
        ("logs:DeleteMetricFilter",),
    ),
    "AWS::S3::Bucket": Handlers(
        _BUCKET,
        (
            *("s3:CreateBucket", "s3:PutEncryptionConfiguration", "s3:PutBucketVersioning"),
            "s3:PutBucketPublicAccessBlock",  # as for the bucket of the SAM CLI, with less to set
        ),
        ("s3:PutEncryptionConfiguration",),
        ("s3:DeleteBucket",),
    ),
    "AWS::S3::BucketPolicy": Handlers(
        _BUCKET, ("s3:PutBucketPolicy",), ("s3:PutBucketPolicy",), ("s3:DeleteBucketPolicy",)
    ),
    "AWS::SNS::Subscription": Handlers(
        _TOPIC, ("sns:Subscribe",), ("sns:SetSubscriptionAttributes",), ("sns:Unsubscribe",)
    ),
    "AWS::SNS::Topic": Handlers(
        _TOPIC,
        ("sns:CreateTopic", "sns:GetTopicAttributes"),
        ("sns:SetTopicAttributes",),
        ("sns:DeleteTopic",),
    ),
    "AWS::SQS::Queue": Handlers(
        "arn:aws:sqs:{region}:{account}:{name}-X",
        ("sqs:CreateQueue", "sqs:GetQueueAttributes"),
        ("sqs:SetQueueAttributes",),
        ("sqs:DeleteQueue",),
    ),
    "AWS::SQS::QueuePolicy": Handlers(
        "arn:aws:sqs:{region}:{account}:{stack}-CopyQueue-X",
        ("sqs:SetQueueAttributes",),
        ("sqs:SetQueueAttributes",),
        ("sqs:SetQueueAttributes",),
    ),
    "AWS::Scheduler::Schedule": Handlers(
        "arn:aws:scheduler:{region}:{account}:schedule/default/{name}-X",
        ("scheduler:CreateSchedule", "iam:PassRole"),
        ("scheduler:UpdateSchedule", "iam:PassRole"),
        ("scheduler:DeleteSchedule",),
    ),
    "AWS::SecretsManager::Secret": Handlers(
        "arn:aws:secretsmanager:{region}:{account}:secret:{logical}-X",
        ("secretsmanager:CreateSecret", "secretsmanager:DescribeSecret"),
        ("secretsmanager:UpdateSecret",),
        ("secretsmanager:DeleteSecret", "secretsmanager:DescribeSecret"),
    ),
}

MORE_AT_CREATION = {
    # "Configure logging for HTTP APIs in API Gateway": where AccessLogSettings are set.
    "AWS::ApiGatewayV2::Stage": ("logs:CreateLogDelivery", "logs:PutResourcePolicy"),
    # Where GenerateSecretString is set.
    "AWS::SecretsManager::Secret": ("secretsmanager:GetRandomPassword",),
}
"""Additional actions at creation that have no resource ARN."""

_NETWORK = ("ec2:DescribeSecurityGroups", "ec2:DescribeSubnets", "ec2:DescribeVpcs")
_KEY = ("kms:CreateGrant", "kms:DescribeKey")

WITH_PROPERTY = {
    ("AWS::DynamoDB::Table", "SSESpecification"): Handlers(
        "arn:aws:kms:{region}:{account}:key/x", _KEY, _KEY, ()
    ),
    ("AWS::IAM::Role", "PermissionsBoundary"): Handlers(
        "arn:aws:iam::{account}:role/{name}-X", (), ("iam:PutRolePermissionsBoundary",), ()
    ),
    ("AWS::Lambda::Function", "VpcConfig"): Handlers("*", _NETWORK, _NETWORK, ()),
    ("AWS::Logs::LogGroup", "KmsKeyId"): Handlers(_GROUP, (), ("logs:AssociateKmsKey",), ()),
}
"""Additional actions for a resource that has a property for the rules of a company."""

_PASSED_TO = {
    "AWS::Lambda::Function": "lambda.amazonaws.com",
    "AWS::Scheduler::Schedule": "scheduler.amazonaws.com",
}


class AccessDenied(Exception):
    """The deployer lacks a permission for an action of CloudFormation; the message is AWS's."""


def checks(
    resource_type: str, logical_id: str, properties: Mapping[str, Any], location: Mapping[str, str]
) -> dict[str, Iterator[tuple[str, str, dict[str, str]]]]:
    """Return the needed permissions (action, ARN, context) for each of create, update and delete.

    `location` has the keys `stack`, `account` and `region`.
    """
    handlers = HANDLERS[resource_type]
    named = {**location, "logical": logical_id, "name": f"{location['stack']}-{logical_id}"}
    more = MORE_AT_CREATION.get(resource_type, ())

    context = {
        "lambda:functionarn": _FUNCTION.format(**named),
        "kms:viaservice": "dynamodb.{region}.amazonaws.com".format(**named),
    }
    extra = [
        each
        for (kind, name), each in WITH_PROPERTY.items()
        if kind == resource_type and name in properties
    ]

    def needed(verb: str) -> Iterator[tuple[str, str, dict[str, str]]]:
        for each in extra:
            for action in getattr(each, verb):
                yield action, each.arn.format(**named), context
        for action in getattr(handlers, verb) + (more if verb == "create" else ()):
            if action == "iam:PassRole":
                role = properties.get("Role") or properties["Target"]["RoleArn"]
                yield action, role, {"iam:passedtoservice": _PASSED_TO[resource_type]}
            elif action in more:
                yield action, "*", {}
            else:
                yield action, handlers.arn.format(**named), context

    return {verb: needed(verb) for verb in ("create", "update", "delete")}


def rule_arn(body: bytes, region: str, account: str) -> str | None:
    """Return the ARN of the rule that an EventBridge request names as `Rule`; None without one.

    ListTargetsByRule, PutTargets and RemoveTargets use this field. MiniStack 1.5 reads only `Name`,
    so it would check the permission for the bus instead.

    Source: "Actions, resources, and condition keys for Amazon EventBridge" in the service
    authorization reference.
    """
    with suppress(ValueError):
        request = json.loads(body)
        if isinstance(request, dict) and "Rule" in request:
            bus = str(request.get("EventBusName") or "default").rpartition("/")[2]
            name = request["Rule"] if bus == "default" else f"{bus}/{request['Rule']}"
            return f"arn:aws:events:{region}:{account}:rule/{name}"
    return None


def install() -> None:
    """Patch MiniStack in this process so that CloudFormation has only its caller's permissions."""
    from ministack import app  # noqa: PLC0415 - only there in MiniStack's process
    from ministack.core.responses import get_account_id, get_region  # noqa: PLC0415
    from ministack.services.cloudformation import stacks  # noqa: PLC0415

    create, update, delete = (
        stacks._provision_resource,
        stacks._update_resource,
        stacks._delete_resource,
    )

    def require(kind: str, verb: str, logical_id: str, properties: Any, stack: str) -> None:
        if kind in HANDLERS:
            location = {"stack": stack, "account": get_account_id(), "region": get_region()}
            for action, arn, context in checks(kind, logical_id, properties, location)[verb]:
                _require_allowed(action, arn, context)

    def create_if_allowed(kind: str, logical_id: str, properties: Any, stack: str) -> Any:
        require(kind, "create", logical_id, properties, stack)
        return create(kind, logical_id, properties, stack)

    def update_if_allowed(
        kind: str,
        physical_id: str,
        old: Any,
        new: Any,
        stack: str,
        logical_id: Any = None,
        *rest: Any,
    ) -> Any:
        if old != new:
            require(kind, "update", logical_id or physical_id, new, stack)
        return update(kind, physical_id, old, new, stack, logical_id, *rest)

    def delete_if_allowed(
        kind: str, physical_id: str, properties: Any, stack: Any = None, logical_id: Any = None
    ) -> Any:
        require(kind, "delete", logical_id or physical_id, properties, stack or "")
        return delete(kind, physical_id, properties, stack, logical_id)

    _check_rules_by_their_arn()

    # The policy of SAM's bucket requires TLS of all but the root user; loopback has no TLS.
    pin = app.pin_request_origin
    app.pin_request_origin = lambda source_ip, _secure: pin(source_ip, True)

    stacks._provision_resource = create_if_allowed
    stacks._update_resource = update_if_allowed
    stacks._delete_resource = delete_if_allowed


def _check_rules_by_their_arn() -> None:
    from ministack.core import iam_actions  # noqa: PLC0415 - only in MiniStack's process

    extract_resource_arn = iam_actions.extract_resource_arn

    def resource_arn(service: str, *request: Any) -> str:
        _method, _path, _headers, body, _query, region, account = request
        rule = rule_arn(body, region, account) if service == "events" else None
        return rule or extract_resource_arn(service, *request)

    iam_actions.extract_resource_arn = resource_arn


def _require_allowed(action: str, arn: str, context: Mapping[str, str]) -> None:
    from ministack.core import iam_evaluator  # noqa: PLC0415 - only in MiniStack's process

    caller = iam_evaluator.caller_arn()
    kind, _, name = caller.split(":", 5)[5].partition("/")
    if kind != "user":  # the root user has all permissions
        return
    account = caller.split(":")[4]
    request = iam_evaluator.EvalContext(
        caller, "User", account, action, arn, "", service_context=dict(context)
    )
    policies = iam_evaluator._gather_user_policies(name, account)
    if iam_evaluator.evaluate(request, policies).decision != "Allow":
        raise AccessDenied(
            f"User: {caller} is not authorized to perform: {action} on resource: {arn} because no "
            "identity-based policy allows it"
        )

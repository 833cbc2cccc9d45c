"""The deployer's policies allow what CloudFormation does for the template, and little else.

AWS publishes the permissions of CloudFormation's handlers for each resource type ("handlers" in
the resource type schemas, "Resource type definition schema" in the CloudFormation CLI guide).
cfn-lint brings these schemas along.
"""

import json
import re
from typing import cast

import pytest

from local.testing.template import resources
from operations import insights
from operations.stack import Stack
from tests.support import deployer
from tests.support.deployer import STACK, asked_for, is_allowed, resource_types
from tests.support.operator_stack import AStack

DEPLOY = ("DeployPolicy", "DeployDataPolicy")
COPIES = "DeployCopiesPolicy"
COMPANY = "DeployCompanyRulesPolicy"
HERE = "eu-west-1:123456789012"
SCHEDULE = f"arn:aws:scheduler:{HERE}:schedule/default/{STACK}-RecordingCleanupJob-X-Schedule-Y"

MADE = {
    "AWS::ApiGatewayV2::ApiMapping": "arn:aws:apigateway:eu-west-1::/domainnames/x/apimappings/y",
    "AWS::ApiGatewayV2::DomainName": "arn:aws:apigateway:eu-west-1::/domainnames/rooms.example.com",
    "AWS::ApiGatewayV2::Api": "arn:aws:apigateway:eu-west-1::/apis/a1b2c3",
    "AWS::ApiGatewayV2::Integration": "arn:aws:apigateway:eu-west-1::/apis/a1b2c3/integrations/x",
    "AWS::ApiGatewayV2::Route": "arn:aws:apigateway:eu-west-1::/apis/a1b2c3/routes/x",
    "AWS::ApiGatewayV2::Stage": "arn:aws:apigateway:eu-west-1::/apis/a1b2c3/stages/$default",
    "AWS::CloudFormation::Stack": f"arn:aws:cloudformation:{HERE}:stack/{STACK}-EventSchemas-X/1",
    "AWS::CloudWatch::Alarm": f"arn:aws:cloudwatch:{HERE}:alarm:{STACK}-CallbackIntakeAlarm-X",
    "AWS::CloudWatch::Dashboard": "arn:aws:cloudwatch::123456789012:dashboard/Dashboard-X",
    "AWS::DynamoDB::Table": f"arn:aws:dynamodb:{HERE}:table/{STACK}-Table-X",
    "AWS::EventSchemas::Registry": f"arn:aws:schemas:{HERE}:registry/{STACK}",
    "AWS::EventSchemas::Schema": f"arn:aws:schemas:{HERE}:schema/{STACK}/roomkeeper@RoomDeleted",
    "AWS::Events::Archive": f"arn:aws:events:{HERE}:archive/{STACK}-EventArchive-X",
    "AWS::Events::EventBus": f"arn:aws:events:{HERE}:event-bus/{STACK}",
    "AWS::Events::Rule": f"arn:aws:events:{HERE}:rule/{STACK}/{STACK}-CopyRule-X",
    "AWS::S3::Bucket": f"arn:aws:s3:::{STACK}-copiesbucket-x",
    "AWS::S3::BucketPolicy": f"arn:aws:s3:::{STACK}-copiesbucket-x",
    "AWS::IAM::Role": f"arn:aws:iam::123456789012:role/{STACK}-CallbackIntakeRole-X",
    "AWS::Lambda::EventInvokeConfig": f"arn:aws:lambda:{HERE}:function:{STACK}-RecordingCleanup-X",
    "AWS::Lambda::EventSourceMapping": f"arn:aws:lambda:{HERE}:event-source-mapping:1-2-3",
    "AWS::Lambda::Function": f"arn:aws:lambda:{HERE}:function:{STACK}-CallbackIntake-X",
    "AWS::Lambda::LayerVersion": f"arn:aws:lambda:{HERE}:layer:RoomkeeperLayer:1",
    "AWS::Lambda::Permission": f"arn:aws:lambda:{HERE}:function:{STACK}-CallbackIntake-X",
    "AWS::Logs::LogGroup": f"arn:aws:logs:{HERE}:log-group:{STACK}-CallbackIntakeLogs-X",
    "AWS::Logs::MetricFilter": f"arn:aws:logs:{HERE}:log-group:{STACK}-HttpApiAccessLogs-X",
    "AWS::SNS::Subscription": f"arn:aws:sns:{HERE}:{STACK}-AlarmTopic-X:1-2-3",
    "AWS::SNS::Topic": f"arn:aws:sns:{HERE}:{STACK}-AlarmTopic-X",
    "AWS::SQS::Queue": f"arn:aws:sqs:{HERE}:{STACK}-DeadLetterQueue-X",
    "AWS::SQS::QueuePolicy": f"arn:aws:sqs:{HERE}:{STACK}-CopyQueue-X",
    "AWS::Scheduler::Schedule": SCHEDULE,
    "AWS::SecretsManager::Secret": f"arn:aws:secretsmanager:{HERE}:secret:CallbackSecret-X-Y",
}
"""The ARN of a resource of each type, with the names that the template leads to."""

OPTIONAL = ("AWS::ApiGatewayV2::ApiMapping", "AWS::ApiGatewayV2::DomainName")
"""The resource types that only the rules of a company need."""

FOR_COPIES = ("AWS::Events::Rule", "AWS::S3::Bucket", "AWS::S3::BucketPolicy")
"""The resource types that only copies of recordings need."""

KEY = f"arn:aws:kms:{HERE}:key/1-2-3"

FOR_COMPANY_RULES = {
    "AWS::DynamoDB::Table": ("kms:CreateGrant", "kms:Decrypt", "kms:DescribeKey", "kms:Encrypt"),
    "AWS::Events::Archive": ("kms:DescribeKey", "kms:GenerateDataKey", "kms:ReEncryptFrom"),
    "AWS::Events::EventBus": ("kms:DescribeKey", "kms:GenerateDataKey", "kms:Encrypt"),
    "AWS::IAM::Role": ("iam:PutRolePermissionsBoundary", "iam:DeleteRolePermissionsBoundary"),
    "AWS::Lambda::Function": (
        *("ec2:DescribeNetworkInterfaces", "ec2:DescribeSecurityGroups"),
        *("ec2:DescribeSubnets", "ec2:DescribeVpcs"),
    ),
    "AWS::Logs::LogGroup": ("logs:AssociateKmsKey", "logs:DisassociateKmsKey"),
}
"""Permissions in schemas for properties that only a company's rules set."""

ELSEWHERE = {
    "iam:PassRole": MADE["AWS::IAM::Role"],
    "iam:GetRole": MADE["AWS::IAM::Role"],
    "lambda:GetLayerVersion": MADE["AWS::Lambda::LayerVersion"],
    "s3:GetObject": "arn:aws:s3:::aws-sam-cli-managed-default-samclisourcebucket-x/code",
}
"""The resource of an action, where it is not the resource that is made."""

NOT_NEEDED = {
    "AWS::ApiGatewayV2::Api": {"s3:getObject"},  # an OpenAPI body in S3
    "AWS::ApiGatewayV2::DomainName": {"s3:GetObject", "s3:GetObjectVersion"},  # a trust store
    "AWS::CloudFormation::Stack": {
        "cloudformation:GetStackPolicy",
        "cloudformation:SetStackPolicy",
        "cloudformation:UpdateTerminationProtection",
    },
    "AWS::DynamoDB::Table": {
        *("dynamodb:" + each for each in ("AssociateTableReplica", "CreateTableReplica")),
        *("dynamodb:" + each for each in ("ImportTable", "UpdateContributorInsights")),
        *("dynamodb:" + each for each in ("PutResourcePolicy", "DeleteResourcePolicy")),
        *("dynamodb:" + each for each in ("Scan", "Query", "BatchWriteItem")),  # of replicas
        *("dynamodb:" + each for each in ("GetItem", "PutItem", "UpdateItem", "DeleteItem")),
        "dynamodb:EnableKinesisStreamingDestination",
        "dynamodb:DisableKinesisStreamingDestination",
        "dynamodb:UpdateKinesisStreamingDestination",
        "iam:CreateServiceLinkedRole",  # of replicas
    },
    "AWS::Events::EventBus": {"events:PutPermission", "events:RemovePermission"},  # its Policy
    "AWS::S3::Bucket": {
        "s3:DeleteBucketEncryption",  # no action: PutEncryptionConfiguration
        *("s3:DeleteObject", "s3:PutObjectAcl", "iam:PassRole"),  # of another API, and of replicas
        *("s3:PutBucketAbac", "s3:PutBucketAcl", "s3:PutBucketCORS", "s3:PutBucketLogging"),
        *("s3:PutBucketNotification", "s3:PutBucketWebsite", "s3:PutBucketReplication"),
        *("s3:PutBucketObjectLockConfiguration", "s3:PutObjectLockConfiguration"),
        *("s3:PutAccelerateConfiguration", "s3:PutAnalyticsConfiguration"),
        *("s3:PutIntelligentTieringConfiguration", "s3:PutInventoryConfiguration"),
        *("s3:PutMetricsConfiguration", "s3:PutReplicationConfiguration"),
        *("s3:CreateBucketMetadataTableConfiguration", "s3:DeleteBucketAnalyticsConfiguration"),
        *("s3:DeleteBucketCors", "s3:DeleteBucketLifecycle", "s3:DeleteBucketWebsite"),
        *("s3:DeleteBucketMetadataTableConfiguration", "s3:DeleteBucketMetricsConfiguration"),
        "s3:DeleteBucketReplication",
        "s3:UpdateBucketMetadataAnnotationTableConfiguration",
        "s3:UpdateBucketMetadataInventoryTableConfiguration",
        "s3:UpdateBucketMetadataJournalTableConfiguration",
    },
    "AWS::IAM::Role": {  # inline policies alone
        *("iam:AttachRolePolicy", "iam:DetachRolePolicy"),
        *("iam:PutRolePermissionsBoundary", "iam:DeleteRolePermissionsBoundary"),
    },
    "AWS::Lambda::Function": {
        *("lambda:PutFunctionConcurrency", "lambda:DeleteFunctionConcurrency"),
        *("lambda:PutRuntimeManagementConfig", "lambda:PublishVersion"),
        *("lambda:PutFunctionRecursionConfig", "lambda:PutFunctionScalingConfig"),
        *("lambda:PassCapacityProvider", "lambda:AssociateRuntimeAlias"),
        *("lambda:PutFunctionCodeSigningConfig", "lambda:GetCodeSigningConfig"),
        "s3:GetObjectVersion",  # the bucket's version of the code
    },
    "AWS::Lambda::LayerVersion": {"s3:GetObjectVersion"},
    "AWS::Logs::LogGroup": {
        *("logs:PutDataProtectionPolicy", "logs:DeleteDataProtectionPolicy"),
        *("logs:AssociateKmsKey", "logs:DisassociateKmsKey"),
        *("logs:PutIndexPolicy", "logs:DeleteIndexPolicy", "logs:DeleteResourcePolicy"),
        *("logs:PutLogGroupDeletionProtection", "logs:PutBearerTokenAuthentication"),
    },
    "AWS::SNS::Topic": {"sns:PutDataProtectionPolicy"},
    "AWS::SecretsManager::Secret": {
        "secretsmanager:ReplicateSecretToRegions",
        "secretsmanager:RemoveRegionsFromReplication",
    },
}
"""Permissions in schemas for properties that the template does not set."""

OTHER_SERVICES = re.compile(
    "^(kms|ec2|elasticfilesystem|s3tables|s3files|kinesis|firehose):|^s3:(REST|ListBucket|GetObjectMetadata)"
)
"""Services that the template does not use: KMS, VPC, EFS, Kinesis and others."""


def test_something_of_every_type_that_is_deployed_is_known_here() -> None:
    assert resource_types() == {*MADE}


@pytest.mark.parametrize("kind", sorted(MADE))
def test_cloudformations_actions_for_a_resource_are_allowed(kind: str) -> None:
    wanted = {
        action
        for _, action in asked_for(kind)
        if action not in NOT_NEEDED.get(kind, ()) and not OTHER_SERVICES.match(action)
    }
    if kind == "AWS::DynamoDB::Table":
        wanted = {action for action in wanted if not action.startswith("logs:")}  # of imports
    policies = (*DEPLOY, COMPANY) if kind in OPTIONAL else DEPLOY
    policies = (*DEPLOY, COPIES) if kind in FOR_COPIES else policies
    refused = {
        action
        for action in wanted
        if not is_allowed(action, ELSEWHERE.get(action, MADE[kind]), *policies)
    }
    assert not refused


@pytest.mark.parametrize("kind", sorted(FOR_COMPANY_RULES))
def test_cloudformations_actions_for_a_companys_rules_are_allowed_by_a_policy_of_their_own(
    kind: str,
) -> None:
    for action in FOR_COMPANY_RULES[kind]:
        assert action in {asked for _, asked in asked_for(kind)}
        resource = KEY if action.startswith("kms:") else MADE[kind]
        assert is_allowed(action, resource, COMPANY), action
        assert not is_allowed(action, resource, *DEPLOY), action


def test_nothing_is_listed_as_not_needed_that_no_schema_asks_for() -> None:
    for kind, actions in NOT_NEEDED.items():
        assert actions <= {action for _, action in asked_for(kind)}, kind


UNNAMED = {
    "Network": "no resource but *",
    "EncryptionKey": "another stack's",
    "DescribeEncryptionKey": "another stack's",
    "CallbackDomain": "named by a parameter",
    "StreamToFunction": "limited by the function instead",
    "ReadStreamToFunction": "a mapping's id is made up by Lambda",
    "Apis": "an API's id is made up by API Gateway",
    "ApiGatewaysOwnRole": "one for each account",
    "Metrics": "AWS knows no resource for these actions",
    "OwnQueue": "the commands name their queues make-*",
    "SamTransform": "AWS's own",
    "SamBucketStack": "one for each account and region",
    "CreateSamBucket": "one for each account and region",
    "SamBucket": "one for each account and region",
    "AccessLogs": "no resource but *",
    "RulesOfSubscribers": "no resource but *",
    "GenerateTheToken": "no resource but *",
    "QueryResults": "no resource but *",
    "Schedules": "named by logical id",
    "Secrets": "named by logical id",
    "Credentials": "named by logical id",
}
"""Statements with resources whose names lack the stack's name, and the reason."""


@pytest.mark.parametrize("name", [*DEPLOY, COPIES, COMPANY, "OperatePolicy"])
def test_a_statement_is_limited_to_resources_with_the_stacks_name(name: str) -> None:
    for each in deployer.statements(name):
        named = each["Resource"] if isinstance(each["Resource"], list) else [each["Resource"]]
        logical = ("archive/EventArchive-", "dashboard/Dashboard-", "layer:RoomkeeperLayer")
        stray = [arn for arn in named if "roomkeeper" not in arn and not _has(arn, logical)]
        assert bool(stray) == (each["Sid"] in UNNAMED), each["Sid"]


def _has(arn: str, parts: tuple[str, ...]) -> bool:
    return any(part in arn for part in parts)


def test_an_operator_may_query_every_log_group_that_the_commands_query() -> None:
    stack = AStack()
    stack.resources["AWS::Logs::LogGroup"] = {
        name: f"{STACK}-{name}-X" for name in resources("AWS::Logs::LogGroup")
    } | {"HttpApiAccessLogs": f"/aws/vendedlogs/{STACK}/http-api/x"}
    groups = insights.log_groups(cast(Stack, stack))
    assert f"{STACK}-RecordingCleanupLogs-X" in groups
    for group in groups:
        arn = f"arn:aws:logs:{HERE}:log-group:{group}:*"
        for action in ("logs:StartQuery", "logs:FilterLogEvents"):
            assert is_allowed(action, arn, "OperatePolicy"), arn


def test_a_role_is_passed_to_lambda_and_scheduler_alone() -> None:
    [statement] = [
        each
        for name in DEPLOY
        for each in deployer.statements(name)
        if "iam:PassRole" in each["Action"]
    ]
    assert statement["Condition"] == {
        "StringEquals": {"iam:PassedToService": ["lambda.amazonaws.com", "scheduler.amazonaws.com"]}
    }


def test_a_bucket_that_does_not_exist_yet_has_no_condition_on_its_account() -> None:
    """A new bucket belongs to the caller's account, so the condition would only be a risk."""
    allowing = [
        each
        for name in (*DEPLOY, COPIES)
        for each in deployer.statements(name)
        if "s3:CreateBucket" in each["Action"]
    ]
    assert len(allowing) == 2
    assert not [each["Sid"] for each in allowing if "Condition" in each]


def test_no_statement_is_for_everything() -> None:
    for name in (*DEPLOY, COPIES, COMPANY, "OperatePolicy"):
        for each in deployer.statements(name):
            assert each["Effect"] == "Allow"
            actions = [each["Action"]] if isinstance(each["Action"], str) else each["Action"]
            assert not [action for action in actions if re.fullmatch(r"\*|[a-z0-9]+:\*", action)]


@pytest.mark.parametrize("name", [*DEPLOY, COPIES, COMPANY, "OperatePolicy"])
def test_a_policy_is_no_longer_than_iam_accepts(name: str) -> None:
    """6,144 characters without blanks: "IAM and AWS STS quotas"."""
    document = {"Version": "2012-10-17", "Statement": deployer.statements(name)}
    longest = json.dumps(document, separators=(",", ":")).replace("roomkeeper", "x" * 20)
    assert len(longest.replace("eu-west-1", "ap-southeast-99")) <= 6144

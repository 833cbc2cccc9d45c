"""The AWS calls on a deployed stack's resources that test_permissions.py makes with each role."""

from collections.abc import Callable
from typing import Any

from local.testing.template import resources
from tests.support import leaks
from tests.support.deployed import Deployed

Ask = Callable[[Any], object]
"""Makes a call with a client of the call's service."""


def calls(deployed: Deployed) -> dict[tuple[str, str], Ask]:
    """Return the calls by the action and the resource that each needs permission for."""
    return _on_the_table(deployed) | _on_the_rest(deployed)


def _on_the_table(deployed: Deployed) -> dict[tuple[str, str], Ask]:
    name = deployed.stack.outputs["TableName"]
    table = deployed.stack.client("dynamodb").describe_table(TableName=name)["Table"]
    arn, stream = table["TableArn"], table["LatestStreamArn"]
    key = {"pk": {"S": "RECORDING#none"}}
    one: dict[str, Any] = {"TableName": name, "Key": key}
    found: dict[tuple[str, str], Ask] = {
        ("dynamodb:GetItem", arn): lambda db: db.get_item(**one),
        ("dynamodb:UpdateItem", arn): lambda db: db.update_item(
            **one,
            UpdateExpression="REMOVE nothing",
            ConditionExpression="attribute_exists(pk)",
        ),
        ("dynamodb:PutItem", arn): lambda db: db.put_item(
            TableName=name, Item=key, ConditionExpression="attribute_exists(pk)"
        ),
        ("dynamodb:DeleteItem", arn): lambda db: db.delete_item(**one),
        ("dynamodb:BatchGetItem", arn): lambda db: db.batch_get_item(
            RequestItems={name: {"Keys": [key]}}
        ),
        ("dynamodb:BatchWriteItem", arn): lambda db: db.batch_write_item(
            RequestItems={name: [{"DeleteRequest": {"Key": key}}]}
        ),
        ("dynamodb:Query", arn): lambda db: db.query(
            TableName=name,
            KeyConditionExpression="pk = :pk",
            ExpressionAttributeValues={":pk": key["pk"]},
        ),
        ("dynamodb:Scan", arn): lambda db: db.scan(TableName=name, Limit=1),
        ("dynamodb:DescribeTable", arn): lambda db: db.describe_table(TableName=name),
        ("dynamodb:UpdateTable", arn): lambda db: db.update_table(
            TableName=name, DeletionProtectionEnabled=True
        ),
        ("dynamodb:DescribeStream", stream): lambda db: db.describe_stream(StreamArn=stream),
    }
    for index in table["GlobalSecondaryIndexes"]:
        found["dynamodb:Query", f"{arn}/index/{index['IndexName']}"] = _query_of(name, index)
    return found | _on_the_table_by_other_apis(name, arn)


def _on_the_table_by_other_apis(name: str, arn: str) -> dict[tuple[str, str], Ask]:
    """Return calls by transactions, which need the permissions of their parts, and by PartiQL.

    Source: "Actions, resources, and condition keys for Amazon DynamoDB" in the service
    authorization reference.
    """
    check: Any = {
        "TableName": name,
        "Key": {"pk": {"S": "RECORDING#none"}},
        "ConditionExpression": "attribute_exists(pk)",
    }
    clauses = f"FROM \"{name}\" WHERE pk = 'RECORDING#none'"
    return {
        ("dynamodb:ConditionCheckItem", arn): lambda db: db.transact_write_items(
            TransactItems=[{"ConditionCheck": check}]
        ),
        ("dynamodb:PartiQLSelect", arn): lambda db: db.execute_statement(
            Statement=f"SELECT * {clauses}"
        ),
        ("dynamodb:PartiQLDelete", arn): lambda db: db.execute_statement(
            Statement=f"DELETE {clauses}"
        ),
        ("dynamodb:DeleteTable", arn): lambda db: db.delete_table(TableName=name),
    }


def _query_of(table: str, index: dict[str, Any]) -> Ask:
    [hash_key] = [key for key in index["KeySchema"] if key["KeyType"] == "HASH"]
    return lambda db: db.query(
        TableName=table,
        IndexName=index["IndexName"],
        KeyConditionExpression="#key = :none",
        ExpressionAttributeNames={"#key": hash_key["AttributeName"]},
        ExpressionAttributeValues={":none": {"S": "none"}},
    )


def _on_the_rest(deployed: Deployed) -> dict[tuple[str, str], Ask]:
    stack, found = deployed.stack, dict[tuple[str, str], Ask]()
    for secret in leaks.SECRETS:
        found |= _on_secret(stack.outputs[secret])
    for function in resources("AWS::Serverless::Function"):
        found |= _on_function(deployed, deployed.id_of(function))
    for group in resources("AWS::Logs::LogGroup"):
        found |= _on_logs(deployed, deployed.id_of(group))
    for queue in ("DeadLetterQueueUrl", "CopyQueueUrl", "CopyDeadLetterQueueUrl"):
        found |= _on_queue(deployed, stack.outputs[queue])
    return found | _on_bus(deployed) | _on_copies(deployed) | _on_the_account(deployed)


def _on_secret(arn: str) -> dict[tuple[str, str], Ask]:
    return {
        ("secretsmanager:GetSecretValue", arn): lambda sm: sm.get_secret_value(SecretId=arn),
        ("secretsmanager:PutSecretValue", arn): lambda sm: sm.put_secret_value(
            SecretId=arn, SecretString="{}"
        ),
        ("secretsmanager:DescribeSecret", arn): lambda sm: sm.describe_secret(SecretId=arn),
    }


def _on_function(deployed: Deployed, name: str) -> dict[tuple[str, str], Ask]:
    found = deployed.stack.client("lambda").get_function_configuration(FunctionName=name)
    arn = found["FunctionArn"]
    return {
        ("lambda:InvokeFunction", arn): lambda lam: lam.invoke(
            FunctionName=name, InvocationType="DryRun"
        ),
        ("lambda:GetFunctionConfiguration", arn): lambda lam: lam.get_function_configuration(
            FunctionName=name
        ),
        ("lambda:UpdateFunctionConfiguration", arn): lambda lam: lam.update_function_configuration(
            FunctionName=name, Description="changed"
        ),
    }


def _on_logs(deployed: Deployed, group: str) -> dict[tuple[str, str], Ask]:
    logs = deployed.stack.client("logs")
    [found] = logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"]
    arn = found["arn"]
    return {
        ("logs:CreateLogStream", arn): lambda client: client.create_log_stream(
            logGroupName=group, logStreamName="intruder"
        ),
        ("logs:FilterLogEvents", arn): lambda client: client.filter_log_events(logGroupName=group),
        ("logs:DeleteLogGroup", arn): lambda client: client.delete_log_group(logGroupName=group),
    }


def _on_bus(deployed: Deployed) -> dict[tuple[str, str], Ask]:
    ours = deployed.stack.outputs["EventBusArn"]
    default = ours.rpartition("/")[0] + "/default"

    def put(bus: str) -> Ask:
        entry = {"Source": "roomkeeper", "DetailType": "forged", "Detail": "{}"}
        return lambda events: events.put_events(Entries=[entry | {"EventBusName": bus}])

    name = deployed.stack.outputs["EventBusName"]
    rule = ours.replace(":event-bus/", ":rule/") + "/intruder"
    return {("events:PutEvents", bus): put(bus) for bus in (ours, default)} | {
        ("events:PutRule", rule): lambda events: events.put_rule(
            Name="intruder", EventBusName=name, EventPattern='{"source": ["roomkeeper"]}'
        )
    }


def _on_copies(deployed: Deployed) -> dict[tuple[str, str], Ask]:
    """Return calls on the bucket of the copies, on keys of copies and on others."""
    bucket = deployed.stack.outputs["CopyBucketName"]
    arn = f"arn:aws:s3:::{bucket}"
    objects = f"{arn}/recordings/*"
    calls = dict[tuple[str, str], Ask]()
    for resource, key in ((objects, "recordings/none"), (f"{arn}/*", "none")):
        calls |= _on_object(resource, {"Bucket": bucket, "Key": key})
    return calls | {
        ("s3:ListBucket", f"{arn}, without a prefix"): lambda s3: s3.list_objects_v2(Bucket=bucket),
        ("s3:ListBucketVersions", f"{arn}, without a prefix"): lambda s3: s3.list_object_versions(
            Bucket=bucket
        ),
        ("s3:GetBucketPolicy", arn): lambda s3: s3.get_bucket_policy(Bucket=bucket),
        ("s3:PutBucketPolicy", arn): lambda s3: s3.put_bucket_policy(Bucket=bucket, Policy="{}"),
        ("s3:DeleteBucket", arn): lambda s3: s3.delete_bucket(Bucket=bucket),
    }


def _on_object(resource: str, arguments: dict[str, Any]) -> dict[tuple[str, str], Ask]:
    version = arguments | {"VersionId": "none"}
    tags: dict[str, Any] = {"Tagging": {"TagSet": []}}
    upload = arguments | {"UploadId": "none"}
    return {
        ("s3:GetObject", resource): lambda s3: s3.get_object(**arguments),
        ("s3:GetObjectVersion", resource): lambda s3: s3.get_object(**version),
        ("s3:PutObject", resource): lambda s3: s3.put_object(**arguments, Body=b""),
        ("s3:DeleteObject", resource): lambda s3: s3.delete_object(**arguments),
        ("s3:DeleteObjectVersion", resource): lambda s3: s3.delete_object(**version),
        ("s3:PutObjectTagging", resource): lambda s3: s3.put_object_tagging(**arguments, **tags),
        ("s3:PutObjectVersionTagging", resource): lambda s3: s3.put_object_tagging(
            **version, **tags
        ),
        ("s3:ListMultipartUploadParts", resource): lambda s3: s3.list_parts(**upload),
        ("s3:AbortMultipartUpload", resource): lambda s3: s3.abort_multipart_upload(**upload),
    }


def _on_queue(deployed: Deployed, url: str) -> dict[tuple[str, str], Ask]:
    attributes = deployed.stack.client("sqs").get_queue_attributes(
        QueueUrl=url, AttributeNames=["QueueArn"]
    )
    arn = attributes["Attributes"]["QueueArn"]
    return {
        ("sqs:SendMessage", arn): lambda sqs: sqs.send_message(QueueUrl=url, MessageBody="{}"),
        ("sqs:ReceiveMessage", arn): lambda sqs: sqs.receive_message(QueueUrl=url),
        ("sqs:DeleteMessage", arn): lambda sqs: sqs.delete_message(
            QueueUrl=url, ReceiptHandle="none"
        ),
        ("sqs:ChangeMessageVisibility", arn): lambda sqs: sqs.change_message_visibility(
            QueueUrl=url, ReceiptHandle="none", VisibilityTimeout=0
        ),
        ("sqs:GetQueueAttributes", arn): lambda sqs: sqs.get_queue_attributes(
            QueueUrl=url, AttributeNames=["QueueArn"]
        ),
        ("sqs:PurgeQueue", arn): lambda sqs: sqs.purge_queue(QueueUrl=url),
    }


def _on_the_account(deployed: Deployed) -> dict[tuple[str, str], Ask]:
    role = deployed.id_of("ManagementApiRole")
    return {
        # sns:Publish is left out: in the local AWS a topic's default policy allows all principals.
        ("iam:GetRole", role): lambda iam: iam.get_role(RoleName=role),
        ("iam:DeleteRolePolicy", role): lambda iam: iam.delete_role_policy(
            RoleName=role, PolicyName="management-api"
        ),
        ("sns:ListTopics", "*"): lambda sns: sns.list_topics(),
        ("s3:ListAllMyBuckets", "*"): lambda s3: s3.list_buckets(),
        ("cloudformation:DeleteStack", "*"): lambda cfn: cfn.delete_stack(
            StackName=deployed.stack.name
        ),
    }

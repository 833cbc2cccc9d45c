"""Published prices in US dollars: us-east-1, without free tiers.

Source: AWS's price pages in 2025, EventBridge's in June 2026. DynamoDB's on-demand prices are valid
since 1 November 2024. Prices in Europe (Ireland) are the same or up to 10% higher.
"""

MILLION = 1e6

HTTP_API = 1.00 / MILLION  # a request of up to 512 KB; 0.90 above 300 million a month
REST_API = 3.50 / MILLION  # a request; 2.80 above 333 million a month
LAMBDA_REQUEST = 0.20 / MILLION
LAMBDA_GB_SECOND = 0.0000133334  # arm64
WRITE_UNIT = 0.625 / MILLION  # DynamoDB, on demand
READ_UNIT = 0.125 / MILLION
TABLE_GB = 0.25  # a month
RECOVERY_GB = 0.20  # a month: point-in-time recovery
EVENT = 1.00 / MILLION  # EventBridge, a custom event of up to 64 KB
ARCHIVED_GB = 0.10  # once; storage costs less than a cent per gigabyte and is left out
SCHEDULED = 1.00 / MILLION  # EventBridge Scheduler, an invocation
LOG_GB = 0.50  # ingested
METRIC = 0.30  # a custom metric a month
ALARM = 0.10  # a month
DASHBOARD = 3.00  # a month
SECRET = 0.40  # a month
SECRET_READ = 0.05 / 10_000
TRACE = 5.00 / MILLION  # X-Ray, recorded
S3_PUT = 0.005 / 1000  # a PUT, or a part of a multipart upload, in S3 Standard
S3_GB = 0.023  # a month, the first 50 TB in S3 Standard
SQS_REQUEST = 0.40 / MILLION
NAT_GB = 0.045  # through a NAT gateway, which functions in a VPC need to reach Vonage
DATA_OUT_GB = 0.09  # to the internet, the first 10 TB a month

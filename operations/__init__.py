"""The operator's commands for a deployed stack, in an AWS account or on the local AWS."""

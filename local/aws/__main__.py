"""`python -m local.aws`, in MiniStack's own environment: the local AWS, until it is ended."""

from ministack.app import main

from local.aws import event_buses, schedule_roles, stream_retries

stream_retries.install()
schedule_roles.install()
event_buses.install()
main()

"""`make demo`: shows and checks a meeting, the management API and the jobs on the local stack."""

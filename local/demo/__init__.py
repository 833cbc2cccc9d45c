"""`make demo`: shows and checks both products, the management API and the jobs locally."""

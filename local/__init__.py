"""The whole of Roomkeeper on one machine: a local AWS, Vonage emulated, and a demonstration."""

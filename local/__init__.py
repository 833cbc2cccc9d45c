"""Roomkeeper on one machine: the local AWS, the Vonage emulator, and a demonstration."""

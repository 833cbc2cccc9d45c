"""The emulated Video API: archives and sessions, unified and classic. See local/README.md."""

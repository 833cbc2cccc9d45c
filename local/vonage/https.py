"""The self-signed certificate of the emulator's https address."""

import ssl
import tempfile
from pathlib import Path

import trustme


def self_signed() -> ssl.SSLContext:
    """Return a server's TLS context with a self-signed certificate."""
    authority = trustme.CA()
    pem = authority.private_key_pem.bytes() + authority.cert_pem.bytes()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "certificate.pem"
        file.write_bytes(pem)
        context.load_cert_chain(file)
    return context

"""A SHA-256 that can be stopped and continued in another process.

A copy that takes several invocations needs the SHA-256 of the whole file without reading its first
parts again, but `hashlib` does not expose its state. OpenSSL's context is a public structure
(`SHA256_CTX` in openssl/sha.h): plain numbers that can be saved and restored. `hashlib` uses the
same library, so speed and result are the same.
"""

import _hashlib
import base64
import ctypes
import hashlib
from typing import Protocol

Buffer = bytearray | memoryview


class Sha256(Protocol):
    """A SHA-256 in progress."""

    def update(self, data: Buffer) -> None:
        """Add `data`, which is writable memory. Releases the GIL."""

    def digest(self) -> str:
        """Return the SHA-256 of all data so far, in base64."""

    @property
    def state(self) -> bytes | None:
        """The state to continue from; None if this Python's OpenSSL does not expose it."""


class _Context(ctypes.Structure):
    """SHA256_CTX."""

    _fields_ = (
        ("h", ctypes.c_uint32 * 8),
        ("length_low", ctypes.c_uint32),
        ("length_high", ctypes.c_uint32),
        ("data", ctypes.c_uint32 * 16),
        ("pending", ctypes.c_uint),
        ("digest_length", ctypes.c_uint),
    )


class _OpenSslSha256:
    def __init__(self, state: bytes | None) -> None:
        self._context = _Context()
        if state is None:
            _library().SHA256_Init(ctypes.byref(self._context))
        else:
            self._context = _Context.from_buffer_copy(state)

    def update(self, data: Buffer) -> None:
        memory = (ctypes.c_char * len(data)).from_buffer(data)
        _library().SHA256_Update(ctypes.byref(self._context), memory, ctypes.c_size_t(len(data)))

    def digest(self) -> str:
        finished = _Context.from_buffer_copy(bytes(self._context))
        output = ctypes.create_string_buffer(32)
        _library().SHA256_Final(output, ctypes.byref(finished))
        return base64.b64encode(output.raw).decode()

    @property
    def state(self) -> bytes | None:
        return bytes(self._context)


class _HashlibSha256:
    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def update(self, data: Buffer) -> None:
        self._hash.update(data)

    def digest(self) -> str:
        return base64.b64encode(self._hash.digest()).decode()

    @property
    def state(self) -> bytes | None:
        return None


def sha256(state: bytes | None = None) -> Sha256:
    """Return a new SHA-256, or one that continues from `state`.

    In a Python without a shared OpenSSL, `state` is always None, so an interrupted copy starts
    over.

    Raises:
        ValueError: `state` is not a state of this machine's OpenSSL.
    """
    if not is_resumable():
        if state is not None:
            raise ValueError("This Python cannot continue a SHA-256")
        return _HashlibSha256()
    if state is not None and len(state) != ctypes.sizeof(_Context):
        raise ValueError("Not the state of a SHA-256")
    return _OpenSslSha256(state)


def is_resumable() -> bool:
    """Return whether this Python's OpenSSL has the functions with a public state."""
    return hasattr(_library(), "SHA256_Update")


def _library() -> ctypes.CDLL:
    return _LIBRARY


# hashlib's own extension is linked to OpenSSL, so its symbols are found through it.
_LIBRARY = ctypes.CDLL(getattr(_hashlib, "__file__", None))

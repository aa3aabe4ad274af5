"""API keys: a TOML file of their SHA-256 hashes, each with a rate.

[[keys]]
name = "laboratory"
sha256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
rate = 600    # requests a minute
"""

import hmac
import secrets
import time
from dataclasses import dataclass, field
from hashlib import sha256
from math import ceil
from pathlib import Path
from typing import Annotated

from pydantic import ConfigDict, Field, with_config

from bioqa.errors import UsageError
from bioqa.io.typed_toml import Number, Tables, Text, read_toml, validate
from bioqa.serve.errors import RateError

DEFAULT_RATE = 600.0
"""Requests a minute."""
FINGERPRINT = 12
"""Hexadecimal digits of a key's hash in the log."""


@dataclass(frozen=True, slots=True)
class _Key:
    name: Text
    sha256: Annotated[Text, Field(pattern=r"^[0-9a-fA-F]{64}$")]
    rate: Annotated[Number, Field(gt=0)] = DEFAULT_RATE


@with_config(ConfigDict(extra="forbid"))
@dataclass(frozen=True, slots=True)
class _KeyFile:
    keys: Tables[_Key]


@dataclass(slots=True)
class Key:
    """A key that may call the server ``rate`` times a minute, and as often at once; only its hash is known."""

    name: str
    digest: str
    rate: float
    _left: float = field(init=False)
    _at: float = field(init=False)

    def __post_init__(self) -> None:
        self._left, self._at = max(1.0, self.rate), time.monotonic()

    @property
    def fingerprint(self) -> str:
        """The beginning of the hash, which identifies the key in the log."""
        return self.digest[:FINGERPRINT]

    def use(self) -> None:
        """Count one request. Raises RateError if the key has used up its rate."""
        now = time.monotonic()
        self._left = min(max(1.0, self.rate), self._left + (now - self._at) * self.rate / 60)
        self._at = now
        if self._left < 1:
            seconds = max(1, ceil((1 - self._left) * 60 / self.rate))
            raise RateError(
                f"This key may send {self.rate:g} requests a minute. Try again in {seconds} s.",
                retry_after=seconds,
            )
        self._left -= 1


class Keys:
    """The keys that a server accepts."""

    def __init__(self, keys: list[Key]) -> None:
        self._keys = keys

    @classmethod
    def read(cls, path: Path) -> "Keys":
        """The keys in a file.

        Raises:
            UsageError: the file cannot be read, is malformed, or has no key.
        """
        found = validate(_KeyFile, read_toml(path, f"There is no file of keys {path}."), str(path))
        if not found.keys:
            raise UsageError(f"{path} has no keys. Make one with `bioqa serve --new-key NAME`.")
        names = [key.name for key in found.keys]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise UsageError(f"{path} has two keys named {twice}. Rename one.")
        return cls([Key(key.name, key.sha256.lower(), key.rate) for key in found.keys])

    def find(self, given: str) -> Key | None:
        """The key that was given, None if it is unknown. It takes as long for every key."""
        digest = sha256(given.encode("utf-8", "replace")).hexdigest()
        found = None
        for key in self._keys:
            if hmac.compare_digest(key.digest, digest):
                found = key
        return found


def new_key(name: str) -> tuple[str, str]:
    """A new random key, and its table for the file of keys."""
    key = secrets.token_urlsafe(32)
    digest = sha256(key.encode()).hexdigest()
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return key, f'[[keys]]\nname = "{escaped}"\nsha256 = "{digest}"\nrate = {DEFAULT_RATE:g}  # requests a minute\n'

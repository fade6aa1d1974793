"""Where a server is, and how much is asked of it and put up with."""

from __future__ import annotations

import ipaddress
import os
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from attnpo.errors import ConfigError
from attnpo.ranges import AtLeast1, Patience, Seconds, check_settings

NO_KEY = "none"
"""Sent where the environment holds no key: servers at home ask for none, but the header has to be there."""


@dataclass(frozen=True)
class Endpoint:
    """One model on one OpenAI-compatible server.

    Attributes:
        base_url: address up to and including the version, `http://127.0.0.1:8000/v1`.
        model: the name the server knows the model by.
        api_key_env: environment variable that holds the key; the key itself is never a setting.
        concurrency: requests under way at once.
        timeout: seconds one answer may take.
        patience: seconds the server may be gone, or refuse for a while (connection errors, 408, 409, 425, 429, 5xx),
            before it is given up.
    """

    base_url: str
    model: str
    api_key_env: str = "OPENAI_API_KEY"
    concurrency: AtLeast1 = 16
    timeout: Seconds = 600.0
    patience: Patience = 300.0

    def __post_init__(self) -> None:
        # Neither the variable's name nor the address is repeated where it may be the key itself.
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", self.api_key_env):
            raise ConfigError("api_key_env: not a name of an environment variable; give the name, never the key")
        try:
            url = urlsplit(self.base_url)
            host, _ = url.hostname, url.port
        except ValueError as error:
            raise ConfigError(f"base_url: not an address ({error}); example: http://127.0.0.1:8000/v1") from None
        if url.username is not None or url.password is not None:
            raise ConfigError(f"base_url: holds a user or password; put the key into the variable {self.api_key_env}")
        if url.query or url.fragment:
            raise ConfigError("base_url: holds a query or fragment; give the address up to the version, …/v1")
        if url.scheme not in ("http", "https") or not host:
            raise ConfigError(f"base_url: {self.base_url!r} is not an address; example: http://127.0.0.1:8000/v1")
        if not self.model:
            raise ConfigError("model: empty; give the name the server knows the model by")
        check_settings(self)

    @property
    def is_local(self) -> bool:
        """Whether the server is on this machine: no proxy of the environment leads there."""
        host = urlsplit(self.base_url).hostname or ""
        if host == "localhost" or host.endswith(".localhost"):
            return True
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return False

    def read_key(self) -> str:
        """Return the key from the environment, `NO_KEY` where there is none.

        Raises:
            ConfigError: the variable holds what no header can carry.
        """
        key = os.environ.get(self.api_key_env, "").strip()
        if not key.isascii() or not key.isprintable():
            raise ConfigError(f"{self.api_key_env}: the key in this variable holds characters that no key has")
        return key or NO_KEY

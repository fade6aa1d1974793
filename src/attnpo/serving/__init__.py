"""A client for OpenAI-compatible servers that waits out their failures; engines and judges stand on it."""

from attnpo.serving.endpoint import Endpoint
from attnpo.serving.faults import RefusedError
from attnpo.serving.messages import message_text
from attnpo.serving.server import Check, Server, ServerUsage

__all__ = ["Check", "Endpoint", "RefusedError", "Server", "ServerUsage", "message_text"]

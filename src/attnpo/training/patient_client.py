"""A vLLM server that goes away and returns: TRL's client with patience."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from attnpo.errors import TrainingError, first_line

log = logging.getLogger(__name__)


class PatientClient:
    """Stands in for TRL's `VLLMClient` on the process that speaks with the server; what it does not know it passes on.

    A request that fails because the server is away waits until it is back. A server that was started anew holds the
    weights that it was started with: the channel for weights is opened again and the policy's weights are sent before
    anything is sampled. TRL's client tries again by itself and may not notice such a start, so what was sampled counts
    only where the server is still the one that got the weights.

    Args:
        client: TRL's client.
        patience: seconds that the server may stay away (TRL's `vllm_server_timeout`).
        resend: sends the policy's weights; None where other processes would have to take part (sharded weights).
        device: the device of this process, for the channel.
        last_checkpoint: names the newest whole checkpoint, None where there is none.
        pause: waits some seconds.
    """

    def __init__(
        self,
        client: Any,
        patience: float,
        resend: Callable[[], None] | None,
        device: Any,
        last_checkpoint: Callable[[], str | None],
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self.client = client
        self.patience = patience
        self.resend = resend
        self.device = device
        self.last_checkpoint = last_checkpoint
        self.pause = pause
        self.outages = 0
        self._instance = self._server_instance()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.client, name)

    def generate(self, *args: Any, **kwargs: Any) -> Any:
        """Generate, waiting for a server that is away.

        Raises:
            TrainingError: it stayed away, went away again at once, or its weights cannot be renewed.
        """
        start = time.monotonic()
        while True:
            failed: Exception | None = None
            try:
                answer = self.client.generate(*args, **kwargs)
                if self._server_instance() == self._instance:
                    return answer
            except Exception as error:  # TRL raises a bare Exception for an answer of status 5xx
                if not _is_outage(error):
                    raise
                failed = error
            if failed is None:
                self.outages += 1
                log.warning("vLLM server %s was started anew meanwhile; sampling again", self._address)
            else:
                self._wait_for(failed, start)
            if self.resend is None:
                raise self._given_up(
                    "it came back, but the weights are sharded over processes and cannot be sent to it in the middle "
                    "of a step"
                ) from failed
            self._open_channel()
            self.resend()

    def update_named_params(self, *args: Any, **kwargs: Any) -> Any:
        """Send weights, to a server that is there and whose channel is open.

        Raises:
            TrainingError: it stayed away, or went away while weights were sent.
        """
        try:
            instance = self._server_instance()
        except Exception as error:
            if not _is_outage(error):
                raise
            self._wait_for(error, time.monotonic())
            self._open_channel()
        else:
            if instance != self._instance:
                self._open_channel()
        try:
            return self.client.update_named_params(*args, **kwargs)
        except Exception as error:
            if not _is_outage(error):
                raise
            raise self._given_up("it went away while weights were sent to it") from error

    def reset_prefix_cache(self, *args: Any, **kwargs: Any) -> Any:
        """Empty the cache of what older weights read, of a server that is there; one that is away is waited for.

        Raises:
            TrainingError: it stayed away.
        """
        start = time.monotonic()
        while True:
            try:
                return self.client.reset_prefix_cache(*args, **kwargs)
            except Exception as error:
                if not _is_outage(error):
                    raise
                self._wait_for(error, start)

    def _wait_for(self, error: Exception, start: float) -> None:
        self.outages += 1
        log.warning(
            "vLLM server %s is away (%s); waiting up to %g s", self._address, first_line(error)[:200], self.patience
        )
        left = self.patience - (time.monotonic() - start)
        try:
            if left <= 0:
                raise ConnectionError
            self.client.check_server(total_timeout=left)
        except OSError as gone:  # requests' own ConnectionError, which TRL raises, is no ConnectionError of Python's
            raise self._given_up(f"it stayed away for {self.patience:g} s") from gone
        self.pause(1.0)  # a server that answers with errors while it is healthy is not asked without a break

    def _open_channel(self) -> None:
        try:
            self.client.close_communicator()
        except Exception as error:  # what is closed went with the server
            log.debug("closing the channel for weights: %s", error)
        try:
            self.client.init_communicator(device=self.device)
            self._instance = self._server_instance()
        except Exception as error:
            if not _is_outage(error):
                raise
            raise self._given_up("it went away again while its channel for weights was opened") from error

    def _server_instance(self) -> Any:
        """Return what tells a server from the same one started anew, None where it does not say."""
        info = self.client.get_server_info()
        return info.get("instance_id") if isinstance(info, dict) else None

    @property
    def _address(self) -> str:
        return str(getattr(self.client, "base_url", "?"))

    def _given_up(self, why: str) -> TrainingError:
        last = self.last_checkpoint()
        return TrainingError(
            f"vLLM server {self._address}: {why}; last good checkpoint: {last or 'none yet'}; start the server, then "
            "the same command with --resume_from_checkpoint true goes on"
        )


def _is_outage(error: Exception) -> bool:
    # `requests.RequestException` is an OSError; for an answer of status 5xx TRL raises a bare Exception.
    return isinstance(error, OSError) or str(error).startswith("Request failed: 5")

"""Access control of the metrics endpoint: every request is checked here first."""

from __future__ import annotations

import asyncio
import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from aiohttp import web
from aiohttp.abc import AbstractAccessLogger
from aiohttp.http_exceptions import HttpProcessingError

from latency_sweep.contract.metrics import RejectionReason
from latency_sweep.probe.http.client_address import client_of
from latency_sweep.probe.http.connection_limiter import ConnectionLimiter
from latency_sweep.probe.http.limits import EndpointLimits
from latency_sweep.probe.http.listener import Listener
from latency_sweep.probe.http.password_check import PasswordCheck
from latency_sweep.probe.http.token_bucket import TokenBuckets
from latency_sweep.runtime import logs

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from aiohttp.typedefs import Handler, Middleware

    from latency_sweep.probe.http.policy import LivePolicy, Policy
    from latency_sweep.probe.http.token_bucket import TokenBucket

_LOG: Final = logs.logger(__name__)
# An unwanted body is read on for so long, so that its sender sees the response.
_LINGER_SEC: Final = 0.2
_SHUTDOWN_SEC: Final = 2.0
_RETRY_AFTER_SEC: Final = 1
# The parser's limits are wider than the connection limiter's, which count rejections.
_PARSER_FACTOR: Final = 2

_STATUS: Final = {
    RejectionReason.UNAUTHENTICATED: HTTPStatus.UNAUTHORIZED,
    RejectionReason.WRONG_TOKEN: HTTPStatus.UNAUTHORIZED,
    RejectionReason.WRONG_PASSWORD: HTTPStatus.UNAUTHORIZED,
    RejectionReason.BODY: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    RejectionReason.RATE: HTTPStatus.TOO_MANY_REQUESTS,
}


class AccessControl:
    """Serves an application to the clients that its policy admits.

    Args:
        app: what is served; without a router of its own for errors.
        policy: what is asked of clients.
        rejected: called with the reason of each rejection.
        limits: of size, time, rate and number.
        open_paths: served without credentials, for liveness checks.
        on_answer: called for each answer that has been written.
    """

    def __init__(
        self,
        app: web.Application,
        policy: LivePolicy,
        rejected: Callable[[RejectionReason], None],
        *,
        limits: EndpointLimits | None = None,
        open_paths: Collection[str] = (),
        on_answer: Callable[[web.StreamResponse], None] = lambda _: None,
    ) -> None:
        self._policy = policy
        self._rejected = rejected
        self._limits = limits or EndpointLimits()
        self._open_paths = open_paths
        self._accepted = TokenBuckets(self._limits.new_per_sec, self._limits.burst)
        self._others = TokenBuckets(self._limits.new_per_sec, self._limits.burst)
        self._passwords = PasswordCheck()
        app.middlewares.append(self._middleware())
        app.on_response_prepare.append(self._add_headers)
        self._runner = web.AppRunner(
            app,
            handle_signals=False,
            shutdown_timeout=_SHUTDOWN_SEC,
            access_log_class=_answer_logger(on_answer),
            logger=_quiet_logger(),
            max_line_size=self._limits.request_line * _PARSER_FACTOR,
            max_field_size=self._limits.head * _PARSER_FACTOR,
            keepalive_timeout=self._limits.idle_sec * 2,
            lingering_time=_LINGER_SEC,
            auto_decompress=False,
            # Nobody waits for a password check or an answer of a connection that is gone.
            handler_cancellation=True,
        )
        self._listener: Listener | None = None

    async def open(self, host: str, port: int) -> int:
        """Listen; returns the port.

        Raises:
            OSError: the address cannot be listened on.
        """
        await self._runner.setup()
        server = self._runner.server
        assert server is not None
        self._listener = Listener(server, self._policy, self._limits, self._rejected)
        try:
            return await self._listener.start(host, port)
        except OSError:
            await self.close()
            raise

    async def close(self) -> None:
        """Finish the requests in progress, then close everything."""
        if self._listener is not None:
            await self._listener.stop_accepting()
            await self._runner.cleanup()
            await self._listener.wait_closed()
            self._listener = None
        self._passwords.close()

    def _middleware(self) -> Middleware:
        @web.middleware
        async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
            policy = self._policy.current
            limiter = _limiter(request)
            if limiter is not None:
                limiter.understood()
            reason = await self._reason_against(request, policy, limiter)
            if reason is not None:
                if reason is RejectionReason.BODY and limiter is not None:
                    limiter.discard()
                if reason is RejectionReason.RATE:
                    # So a client that simply tries again cannot do so a thousand times a second.
                    await asyncio.sleep(self._limits.rejected_sec)
                extra = {"reason": reason.value, "client": request.remote}
                _LOG.debug("request rejected", extra=extra)
                return self._rejection(reason, policy)
            try:
                response = await handler(request)
            except web.HTTPClientError:
                self._rejected(RejectionReason.NOT_SERVED)
                raise
            if limiter is None or limiter.policy.context is not policy.context:
                # The connection was made under an older policy: the next one follows the new one.
                response.force_close()
            return response

        return check

    async def _reason_against(
        self, request: web.Request, policy: Policy, limiter: ConnectionLimiter | None
    ) -> RejectionReason | None:
        """Why a request is rejected; None if it is accepted.

        The number of requests that are accepted and of others is limited apart: who does not know
        the password cannot use up what those need who do.
        """
        if request.body_exists:
            return RejectionReason.BODY
        client = client_of(request.remote or "")
        needed = policy.credentials.needed
        if needed and request.path in self._open_paths:
            return self._too_many(self._others, client, policy.unauthenticated_bucket)
        header = request.headers.get("Authorization")
        reason = await policy.credentials.rejection(header, self._passwords, client)
        if reason is not None:
            return self._too_many(self._others, client, policy.unauthenticated_bucket) or reason
        if needed and limiter is not None:
            limiter.authenticated = True
        return self._too_many(self._accepted, client, policy.bucket)

    @staticmethod
    def _too_many(
        rates: TokenBuckets, client: str, all_clients: TokenBucket | None
    ) -> RejectionReason | None:
        if rates.take(client) and (all_clients is None or all_clients.take()):
            return None
        return RejectionReason.RATE

    def _rejection(self, reason: RejectionReason, policy: Policy) -> web.Response:
        self._rejected(reason)
        status = _STATUS[reason]
        response = web.Response(status=status, text=f"{status}: {reason.value}\n")
        if status is HTTPStatus.UNAUTHORIZED:
            response.headers["WWW-Authenticate"] = policy.credentials.challenge
        if status is HTTPStatus.TOO_MANY_REQUESTS:
            response.headers["Retry-After"] = str(_RETRY_AFTER_SEC)
        response.force_close()
        return response

    async def _add_headers(self, _: web.Request, response: web.StreamResponse) -> None:
        response.headers.update(self._policy.current.headers)


def _limiter(request: web.BaseRequest) -> ConnectionLimiter | None:
    """The limiter of a request's connection; None once that is gone."""
    protocol = None if request.transport is None else request.transport.get_protocol()
    return protocol if isinstance(protocol, ConnectionLimiter) else None


def _answer_logger(
    on_answer: Callable[[web.StreamResponse], None],
) -> type[AbstractAccessLogger]:
    """The server's access log is where it tells that an answer was written."""

    class AnswerLogger(AbstractAccessLogger):
        def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:
            del time
            limiter = _limiter(request)
            if limiter is not None:
                limiter.answered()
                on_answer(response)

    return AnswerLogger


def _quiet_logger() -> logging.Logger:
    """A logger that does not quote a malformed request, which may hold a password.

    Nor does it log that a client went away before its answer.
    """
    logger = logging.getLogger(f"{__name__}.http")
    logger.addFilter(_is_our_fault)
    return logger


def _is_our_fault(record: logging.LogRecord) -> bool:
    error = None if record.exc_info is None else record.exc_info[1]
    return not isinstance(error, (HttpProcessingError, ConnectionError))

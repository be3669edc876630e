"""Asks a web service for JSON: within a time, a size and its own host; what it says of a failure holds no secret.

What takes long to load is loaded when it is used: this module is loaded by runs that never ask anybody.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from fitprint.errors import MissingExtraError

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

    from httpx import AsyncClient, Response

# What is asked for has some kilobytes, a week of five-minute figures 200.
LARGEST_BYTES = 2**20
REASONS: Mapping[int, str] = {
    401: "the credentials are refused, HTTP 401",
    403: "the credentials do not allow it, HTTP 403",
    404: "not found, HTTP 404",
    429: "too many requests, HTTP 429",
}
# No packed answers: a small one could unpack to any size.
HEADERS: Mapping[str, str] = {"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "fitprint"}

Got = TypeVar("Got")
Get = Callable[..., Awaitable[Any]]
Meanwhile = Callable[[], bool]
LOOK_UP_EVERY_S = 0.1


class Unanswered(Exception):
    """A service did not give what it was asked for. Never leaves the live sources.

    Args:
        reason: In words of ours: nothing that was sent or that came back is in it.
        status: The HTTP status, or None.
        retry_after_s: Seconds that the service told to wait, or None.
    """

    def __init__(self, reason: str, status: int | None = None, retry_after_s: float | None = None) -> None:
        super().__init__(reason)
        self.reason, self.status, self.retry_after_s = reason, status, retry_after_s


def patiently() -> bool:
    """Nothing else is to be done, and nothing ends the try before its time."""
    return False


def senseless() -> Unanswered:
    """What came is not what the service's documentation promises."""
    return Unanswered("its answer makes no sense")


def converse(
    base: str, talk: Callable[[Get], Awaitable[Got]], timeout_s: float, now_s: float, meanwhile: Meanwhile = patiently
) -> Got:
    """Hold one conversation with a service.

    Args:
        base: Address of the service. Nothing is sent anywhere else: redirects are not followed.
        talk: Asks by ``await get(path, params=..., headers=..., auth=...)`` as often as it has to.
        timeout_s: For the whole of it, from the look-up of the host's name to the last byte.
        now_s: Seconds since 1970, where a service tells until when to wait.
        meanwhile: Called ten times a second; what is true of it ends the conversation.

    Raises:
        Unanswered: If it fails.
    """
    import asyncio
    from concurrent.futures import ThreadPoolExecutor

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return _run(base, talk, timeout_s, now_s, meanwhile)
    with ThreadPoolExecutor(1) as pool:  # a notebook's own loop runs in this thread
        return pool.submit(_run, base, talk, timeout_s, now_s, meanwhile).result()


def _run(base: str, talk: Callable[[Get], Awaitable[Got]], timeout_s: float, now_s: float, meanwhile: Meanwhile) -> Got:
    import asyncio

    loop = asyncio.new_event_loop()
    loop.set_default_executor(_look_ups())
    try:
        return loop.run_until_complete(_unless(meanwhile, _conversation(base, talk, timeout_s, now_s)))
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()  # unlike asyncio.run it does not wait for a name server that hangs


def _look_ups() -> ThreadPoolExecutor:
    """Looks names up in threads that an interpreter which ends does not wait for."""
    import threading
    from concurrent.futures import Future, ThreadPoolExecutor

    class LookUps(ThreadPoolExecutor):
        def submit(self, what: Callable[..., Any], /, *args: Any, **more: Any) -> Future[Any]:
            answer: Future[Any] = Future()

            def look_up() -> None:
                try:
                    answer.set_result(what(*args, **more))
                except BaseException as error:
                    answer.set_exception(error)

            threading.Thread(target=look_up, name="look-up", daemon=True).start()
            return answer

    return LookUps(1)


async def _unless(meanwhile: Meanwhile, conversation: Coroutine[Any, Any, Got]) -> Got:
    import asyncio

    task = asyncio.ensure_future(conversation)
    while not (await asyncio.wait({task}, timeout=LOOK_UP_EVERY_S))[0]:
        if meanwhile():
            task.cancel()
            await asyncio.wait({task}, timeout=LOOK_UP_EVERY_S)
            raise Unanswered("the run ended before it answered")
    return task.result()


async def _conversation(base: str, talk: Callable[[Get], Awaitable[Got]], timeout_s: float, now_s: float) -> Got:
    import asyncio

    try:
        import httpx
    except ImportError:
        raise Unanswered(str(MissingExtraError("it", "live"))) from None
    try:
        async with (
            asyncio.timeout(timeout_s),
            httpx.AsyncClient(base_url=base, headers=HEADERS, timeout=timeout_s, follow_redirects=False) as client,
        ):
            return await talk(partial(_get, client, now_s))
    except (TimeoutError, httpx.TimeoutException):
        raise Unanswered("timeout") from None
    except httpx.TransportError:
        raise Unanswered("no connection") from None


async def _get(client: AsyncClient, now_s: float, path: str, **asked: Any) -> Any:
    async with client.stream("GET", path, **asked) as response:
        if response.status_code != 200:
            raise _refused(response, now_s)
        body = await _body(response)
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise senseless() from None


async def _body(response: Response) -> bytes:
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise senseless()
    body = b""
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > LARGEST_BYTES:
            raise Unanswered("its answer is too large")
    return body


def _refused(response: Response, now_s: float) -> Unanswered:
    status = int(response.status_code)
    reason = f"it redirects elsewhere, HTTP {status}" if 300 <= status < 400 else REASONS.get(status, f"HTTP {status}")
    return Unanswered(reason, status, retry_after_s(response.headers.get("Retry-After", ""), now_s))


def retry_after_s(text: str, now_s: float) -> float | None:
    """Seconds to wait out of a Retry-After header, which holds seconds or a date; None where it says nothing."""
    from email.utils import parsedate_to_datetime

    try:
        return float(text) if text.isdecimal() else parsedate_to_datetime(text).timestamp() - now_s
    except (ValueError, OverflowError):
        return None

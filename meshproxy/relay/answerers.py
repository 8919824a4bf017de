"""Functions that answer or hear upstreams in the shape that FastMCP's clients give them, as those of `Handlers`.

A function of `Handlers` takes the request's context and the parameters. FastMCP's take what is listed here, and may be sync or async; how
many arguments a function takes tells which it is.
"""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any, Final

import structlog

from meshproxy.catalog.component import decoded
from meshproxy.relay.downstream import RequestContext
from meshproxy.relay.handlers import Ask, Params, Tell

log = structlog.get_logger(__name__)

MODEL: Final = "meshproxy"
"""What a sampling handler that answers with text alone is said to have asked."""
_telling: Final[set["asyncio.Task[None]"]] = set()


def roots_answerer(given: Any) -> Ask:
    """`roots/list`: a list of URIs, paths and roots, or `given(context)` that gives one."""
    if not callable(given):
        given = list(_listed(given))
    elif _takes(given, 2, 1, "roots"):
        return _as_ask(given)

    async def answer(context: RequestContext, _params: Params) -> dict[str, Any]:
        found = await _awaited(given(context)) if callable(given) else given
        return found if isinstance(found, dict) else {"roots": [_root(root) for root in _listed(found)]}

    return answer


def sampling_answerer(given: Callable[..., Any]) -> Ask:
    """`sampling/createMessage`: `given(messages, params, context)` gives a text, or a result as the SDK has it."""
    if _takes(given, 2, 3, "sampling_handler"):
        return _as_ask(given)

    async def answer(context: RequestContext, params: Params) -> dict[str, Any]:
        from mcp_types import CreateMessageRequestParams  # noqa: PLC0415  # whoever wrote the function has imported the SDK

        asked = CreateMessageRequestParams.model_validate(decoded(params))
        found = await _awaited(given(asked.messages, asked, context))
        if isinstance(found, str):
            return {"role": "assistant", "model": MODEL, "content": {"type": "text", "text": found}}
        return _plain(found)

    return answer


def elicitation_answerer(given: Callable[..., Any]) -> Ask:
    """`elicitation/create`: `given(message, response_type, params, context)` gives the content, or a result with an action.

    `response_type` is `dict`, to be called with the fields of the form by their names; None if a URL is to be opened.
    """
    if _takes(given, 2, 4, "elicitation_handler"):
        return _as_ask(given)

    async def answer(context: RequestContext, params: Params) -> dict[str, Any]:
        from mcp_types import ElicitRequestFormParams, ElicitRequestURLParams  # noqa: PLC0415  # as above

        asked = decoded(params)
        of_url = asked.get("mode") == "url"
        typed = (ElicitRequestURLParams if of_url else ElicitRequestFormParams).model_validate(asked)
        found = _plain(await _awaited(given(typed.message, None if of_url else dict, typed, context)))
        return (
            found if found.get("action") in ("accept", "decline", "cancel") else {"action": "accept", "content": found}
        )

    return answer


def log_hearer(given: Callable[..., Any]) -> Tell:
    """`notifications/message`: `given(message)`, with the level, logger and data of a line as attributes."""
    if _takes(given, 2, 1, "log_handler"):
        return _as_tell(given)

    def hear(_context: RequestContext, params: Params) -> None:
        from mcp_types import LoggingMessageNotificationParams  # noqa: PLC0415  # as above

        _tell(given(LoggingMessageNotificationParams.model_validate(decoded(params))))

    return hear


def progress_hearer(given: Callable[..., Any]) -> Tell:
    """`notifications/progress`: `given(progress, total, message)`."""
    if _takes(given, 2, 3, "progress_handler"):
        return _as_tell(given)

    def hear(_context: RequestContext, params: Params) -> None:
        said = decoded(params)
        _tell(given(said.get("progress"), said.get("total"), said.get("message")))

    return hear


def _takes(given: Callable[..., Any], ours: int, theirs: int, name: str) -> bool:
    """Whether it takes as many arguments as ours do, and not as many as theirs.

    Raises:
        TypeError: it takes neither.
    """
    if not callable(given):
        raise TypeError(f"{name} must be a function")
    signature = inspect.signature(given)
    for count in (ours, theirs):
        try:
            signature.bind(*[None] * count)
        except TypeError:
            continue
        return count == ours
    raise TypeError(
        f"{name} takes the context and the parameters, or, as FastMCP's, {theirs} arguments; this takes {signature}"
    )


def _as_ask(given: Callable[..., Any]) -> Ask:
    """One that may be sync, and give a model of the SDK's."""

    async def answer(context: RequestContext, params: Params) -> dict[str, Any]:
        return _plain(await _awaited(given(context, params)))

    return given if inspect.iscoroutinefunction(given) else answer


def _as_tell(given: Callable[..., Any]) -> Tell:
    """One that may be async."""
    return lambda context, params: _tell(given(context, params))


async def _awaited(found: Any) -> Any:
    return await found if inspect.isawaitable(found) else found


def _tell(found: Any) -> None:
    """Let what was begun end by itself: nobody waits for a notification to be heard. They are begun in order."""
    if inspect.isawaitable(found):
        task = asyncio.ensure_future(_heard(found))
        _telling.add(task)
        task.add_done_callback(_telling.discard)


async def _heard(telling: Awaitable[Any]) -> None:
    try:
        await telling
    except Exception as error:  # noqa: BLE001  # whatever somebody else's function raises
        log.warning("handler.failed", error=repr(error))


def _plain(found: Any) -> dict[str, Any]:
    """A result as a dictionary: of a model of the SDK's or a dataclass, or one already."""
    dump = getattr(found, "model_dump", None)
    plain = dump(mode="json", by_alias=True, exclude_none=True) if callable(dump) else found
    if is_dataclass(plain) and not isinstance(plain, type):
        plain = asdict(plain)
    if not isinstance(plain, dict):
        raise TypeError(f"a handler must give a dictionary or a result of the SDK, not {type(found).__name__}")
    return plain


def _listed(found: Any) -> Iterable[Any]:
    if isinstance(found, str | Path) or not isinstance(found, Iterable):
        raise TypeError("roots must be a list of URIs, paths and roots, or a function that gives one")
    return found


def _root(root: Any) -> dict[str, Any]:
    if isinstance(root, Path):
        return {"uri": root.absolute().as_uri()}
    return _plain(root) if isinstance(root, dict) or hasattr(root, "model_dump") else {"uri": str(root)}

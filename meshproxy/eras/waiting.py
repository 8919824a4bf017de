"""What the bridge between the eras has to wait for: a client's answers to an upstream of the other era. Place: eras, under `bridge`."""

from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

from meshproxy.catalog.rewrite import rewrite_answer
from meshproxy.eras.driver import drive
from meshproxy.eras.parked import ParkingLot
from meshproxy.eras.required_task import request as request_task
from meshproxy.eras.seal import binding_of
from meshproxy.eras.translate import opened_result, result_type, to_legacy
from meshproxy.links.link import Link
from meshproxy.relay.call import Call
from meshproxy.relay.downstream import RequestContext, Result
from meshproxy.wire.codec import Raw, opened

__all__ = ["ask_and_repeat", "park", "resume"]

Publish: TypeAlias = Callable[[Call, Raw], Result]
"""Gives what a caller may have of an upstream's answer."""


async def ask_and_repeat(call: Call, link: Link, first: dict[str, Any]) -> dict[str, Any]:
    """Ask a legacy client what a modern upstream wants to know, which is in `first`, and repeat the call until its result is complete."""

    async def attempt(params: dict[str, Any]) -> dict[str, Any]:
        _, result = opened_result(call.method, await link.request(call.method, params, call))
        result_type(result, call.context.downstream.capabilities)
        return result

    result = await drive(call, call.params, attempt, first)
    return rewrite_answer(call.method, to_legacy(result), call.mount.public)


async def park(lot: ParkingLot, publish: Publish, call: Call, link: Link) -> Result:
    """Send a modern client's call that may ask over a legacy link: its result, or the questions that it asks first.

    The lease is given back when the upstream has answered, which may be after this returns.
    """
    binding = binding_of(call.context, call.method, call.params)
    return await lot.run(call.context, binding, partial(_carry, publish, call, link))


async def resume(lot: ParkingLot, call: Call, binding: bytes) -> Result:
    """Take up the parked call that the retry `call` names, with the answers that it brings."""
    return await lot.resume(
        call.context, binding, opened(call.params.get("requestState")), call.params.get("inputResponses")
    )


async def _carry(publish: Publish, call: Call, link: Link, attended: RequestContext) -> Result:
    """Carry the upstream's side of a parked call, which goes on when the client's request has ended with a question."""
    inner = call.parked(attended)
    try:
        if "task" in inner.params:
            answer = await request_task(link, inner.method, inner.params, inner)
        else:
            answer = await link.request(inner.method, inner.params, inner)
    finally:
        if inner.lease is not None:
            inner.lease.give()
        if inner.ticket is not None:
            inner.ticket.free()
    return publish(inner, answer)

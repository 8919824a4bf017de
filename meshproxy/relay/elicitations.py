"""`Elicitations`: which client was sent to which page, so that it alone hears when it is done with (2025-11-25 client/elicitation).

A completion names an elicitation by its id and belongs to no call: the call may be over, and the connection may be shared.
"""

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Final
from weakref import ReferenceType, ref

from meshproxy.errors import URL_ELICITATION_REQUIRED, RpcError
from meshproxy.relay.downstream import Downstream
from meshproxy.wire.codec import mapping, opened
from meshproxy.wire.protocol import Era

MOST: Final = 10_000
"""Pages that are remembered; of more, the oldest are forgotten. Most completions come within minutes."""


LONGEST: Final = 1024
"""Characters of the id of one that is remembered."""


class Elicitations:
    """The open ones of one upstream. A client of the modern era is not noted: it has no completions."""

    def __init__(self) -> None:
        self._owners: OrderedDict[str, ReferenceType[Downstream]] = OrderedDict()

    def note(self, downstream: Downstream, params: Mapping[str, Any]) -> None:
        """A client is about to be asked, with the parameters of `elicitation/create`, or as an error lists them."""
        number = opened(params.get("elicitationId"))
        if isinstance(number, str) and len(number) <= LONGEST and downstream.era is Era.LEGACY:
            self._owners[number] = ref(downstream)
            if len(self._owners) > MOST:
                self._owners.popitem(last=False)

    def note_error(self, downstream: Downstream, error: RpcError) -> None:
        """A client is about to be told that it must go to some pages first."""
        if error.code == URL_ELICITATION_REQUIRED:
            pages = opened((mapping(error.data) or {}).get("elicitations"))
            for page in pages if isinstance(pages, list) else ():
                if isinstance(page, dict):
                    self.note(downstream, page)

    def owner(self, params: Mapping[str, Any]) -> Downstream | None:
        """Whom a completion with these parameters is for; None if that is not known, or it is gone."""
        number = opened(params.get("elicitationId"))
        found = self._owners.get(number) if isinstance(number, str) else None
        return found() if found is not None else None

"""`ToolResult`: what most tools answer. Place: eras.

Not compiled, for the reason that `meshproxy.wire.message` gives.
"""

import msgspec

from meshproxy.wire.codec import Raw

__all__ = ["ToolResult"]


class ToolResult(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """The members that most results of tools have, and no others."""

    content: list[Raw] | msgspec.UnsetType = msgspec.UNSET
    structured: Raw | msgspec.UnsetType = msgspec.field(name="structuredContent", default=msgspec.UNSET)
    is_error: bool | msgspec.UnsetType = msgspec.field(name="isError", default=msgspec.UNSET)
    meta: Raw | msgspec.UnsetType = msgspec.field(name="_meta", default=msgspec.UNSET)
    result_type: str | msgspec.UnsetType = msgspec.field(name="resultType", default=msgspec.UNSET)

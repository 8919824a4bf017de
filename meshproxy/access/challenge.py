"""`Refusal`: why a request may not come in, and what its sender is told to do. Place: access.

Source: RFC 6750, 3 (the challenge and its errors); RFC 9728, 5.1 (`resource_metadata`); basic/authorization, "Error Handling".
"""

from dataclasses import dataclass
from typing import Final

__all__ = ["Refusal", "challenge"]

_UNSAFE: Final = str.maketrans({'"': "'", "\\": "/", "\r": " ", "\n": " "})


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request may not come in.

    Attributes:
        status: 400, 401, 403, 404 or 503.
        message: what the body says, for a person.
        error: the error of RFC 6750, 3.1; "" where the request showed nothing, or where a challenge would not help.
        scope: all scopes that the operation needs, apart by blanks (RFC 6750, 3).
    """

    status: int
    message: str
    error: str = ""
    scope: str = ""

    def header(self, metadata: str) -> str | None:
        """The value of `WWW-Authenticate`; None where there is nothing to authenticate for. `metadata` is the URL of the resource's, or ""."""
        if self.status in (404, 503) or (self.status == 403 and not self.error):
            return None
        return challenge(
            error=self.error,
            description=self.message if self.error else "",
            scope=self.scope,
            resource_metadata=metadata,
        )


def challenge(*, error: str = "", description: str = "", scope: str = "", resource_metadata: str = "") -> str:
    """A challenge of the scheme Bearer with those of its parameters that are not empty."""
    given = {
        "error": error,
        "error_description": description,
        "scope": scope,
        "resource_metadata": resource_metadata,
    }
    parameters = ['realm="meshproxy"']
    for name, value in given.items():
        if value:
            # The characters of RFC 6750, 3: neither quotes nor backslashes.
            text = value.translate(_UNSAFE).encode("ascii", "replace").decode()
            parameters.append(f'{name}="{text}"')
    return f"Bearer {', '.join(parameters)}"

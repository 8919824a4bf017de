"""URIs and URI templates: `public_uri` puts a namespace in, `origin_uri` and `split_uri` take it out again.

The rules, of which the first that fits holds; the scheme is always kept as it is spelled, since hosts go by it:

    http: and https:, in any case   stay, because clients may fetch them; they route by look-up
    mesh:                           wrapped like what has no `//`, so that nobody else's URI looks like a wrapped one
    file:///rest                    file://namespace/rest
    file://rest                     file://namespace//rest, also when `rest` begins with `//` or an expression
    scheme://rest                   scheme://namespace/rest
    anything else                   mesh://namespace/ and the original, character for character

The text after the namespace is never encoded, decoded or parsed. So the way back is exact for any text, a URI stays a valid
URI (a URI without an authority is made of what a path, query and fragment may hold: RFC 3986, section 3), and templates
(RFC 6570) take the same functions: expanding the public template gives what maps back to the expansion of the origin's.

`file` stands apart because clients whose URL library folds `file://namespace//rest` into `file://namespace/rest` (pydantic's
`AnyUrl`, and so the Python SDK before 2.0) would ask for another file. With this rule `file:///rest`, the form that
everybody uses, has no `//` to fold.
"""

import re
from typing import Final

from meshproxy.naming.names import NAMESPACE_PATTERN

_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(//)?")
_PUBLIC: Final = re.compile(rf"([A-Za-z][A-Za-z0-9+.-]*)://({NAMESPACE_PATTERN})/")
_ROOTED: Final = re.compile(r"/(?![/{])")
_FETCHED: Final = frozenset({"http", "https"})


def public_uri(namespace: str, uri: str) -> str:
    """Give the public form of an upstream's URI or URI template; unchanged if `namespace` is ""."""
    if not namespace:
        return uri
    found = _SCHEME.match(uri)
    if found:
        scheme = found[1].lower()
        if scheme in _FETCHED:
            return uri
        if found[2] and scheme != "mesh":
            rest = uri[found.end() :]
            if scheme == "file":
                rest = rest[1:] if _ROOTED.match(rest) else f"/{rest}"
            return f"{found[0]}{namespace}/{rest}"
    return f"mesh://{namespace}/{uri}"


def split_uri(public: str) -> tuple[str, str] | None:
    """Read a public URI or URI template as `(namespace, origin)`.

    The namespace is a candidate: whether there is such a one is for the caller to look up. None if nothing in `public` can be
    one, and for `http` and `https`.
    """
    found = _PUBLIC.match(public)
    if found is None:
        return None
    scheme = found[1].lower()
    if scheme in _FETCHED:
        return None
    rest = public[found.end() :]
    if scheme == "mesh":
        return found[2], rest
    if scheme == "file":
        rest = rest[1:] if rest.startswith("/") else f"/{rest}"
    return found[2], f"{found[1]}://{rest}"


def origin_uri(namespace: str, public: str) -> str:
    """Give what the upstream of `namespace` calls a public URI or URI template.

    The inverse of `public_uri` for any text. What is not of this namespace (another's, or `http`) is unchanged.
    """
    if not namespace:
        return public
    parts = split_uri(public)
    return parts[1] if parts and parts[0] == namespace else public

"""Origin to public and back: what a component is called at its upstream, and what the mesh calls it.

Pure and total: any text goes in, nothing raises. Names go one way and come back by look-up; URIs come back by themselves.
"""

from meshproxy.naming.names import MAX_NAME, NAMESPACE_PATTERN, default_namespace, may_be_public, public_name
from meshproxy.naming.templates import TemplateMatcher, expanded
from meshproxy.naming.uris import origin_uri, public_uri, split_uri

__all__ = [
    "MAX_NAME",
    "NAMESPACE_PATTERN",
    "TemplateMatcher",
    "default_namespace",
    "expanded",
    "may_be_public",
    "origin_uri",
    "public_name",
    "public_uri",
    "split_uri",
]

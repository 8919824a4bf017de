"""`Reading`: the first half of a load, from bytes to items that have one spelling each. Place: config, under `load`.

Unknown keys are refused here, `defaults` are put into the upstreams, and files of other programs are told from ours.
"""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any, Final

from meshproxy.config.content import Content
from meshproxy.config.document import Item, parse
from meshproxy.config.document import Path as KeyPath
from meshproxy.config.env import interpolate
from meshproxy.config.foreign import URL_SPELLINGS, headless, is_heeded, own_keys, owner_of, transport_of, useless
from meshproxy.config.jsonc import is_json
from meshproxy.config.models import MeshConfig
from meshproxy.config.problems import halves, known_keys, suggestion
from meshproxy.config.secrets import Scrubber
from meshproxy.config.trees import merged
from meshproxy.config.upstream import (
    OF_COMMANDS,
    URL_KEYS,
    conflicts,
)
from meshproxy.errors import ConfigError, Problem

__all__ = ["Reading"]

_SPELLINGS: Final = {"type": "transport", "disabled": "enabled"}
_TYPO: Final = 0.85
"""How alike a client's own key and one of ours are, for the former to be taken for a slip: their keys have many names."""
_SECTIONS: Final = ("server", "reload", "cluster", "profiles", "defaults", "upstreams", "mcpServers")
"""Those of the top level that may be left without a value, as when all of their lines are commented out."""


class Reading:
    """From bytes to a tree of items in one spelling. What is found wrong gathers in `_problems`; `run` of who loads ends with it."""

    def __init__(self, file: str, content: Content, environ: Mapping[str, str], before: MeshConfig | None) -> None:
        self._before = before
        self._file = file
        self._content = content
        self._directory = content.path.parent
        self._environ = environ
        self._problems: dict[Problem, None] = {}
        self._warnings: dict[Problem, None] = {}
        self._secrets: list[str] = []
        self._asked: dict[str, str] = {}
        self._unresolved: set[KeyPath] = set()
        self._lenient = False
        self._ignored: dict[str, Item] = {}
        self._unheeded: dict[str, Item] = {}
        self._has_foreign = False

    # Text to items

    def _parse(self, data: bytes) -> Item:
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            begin = data.rfind(b"\n", 0, error.start) + 1
            column = len(data[begin : error.start].decode("utf-8", "replace")) + 1
            seems = (
                "it looks like UTF-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else f"byte 0x{data[error.start]:02x}"
            )
            self._problem(line, column, "", f"is not UTF-8 text ({seems}); save the file as UTF-8")
            raise self._error() from None
        if self._content.path.suffix.lower() == ".toml":
            self._refuse_foreign("Codex")
        written_as_json = is_json(text, self._content.path.suffix)
        root, flaws = parse(text, is_json=written_as_json)
        for flaw in flaws:
            self._problem(flaw.line, flaw.column, flaw.key, flaw.message)
        if root is None and not flaws:
            self._problem(None, None, "", "is empty; write the MCP servers to merge under upstreams:")
        elif root is not None and not isinstance(root.value, dict):
            what = "a list" if isinstance(root.value, list) else "a single value"
            message = f"must be a mapping of keys to values, not {what}; begin with upstreams: and name each upstream"
            self._problem(root.line, root.column, "", message)
        if root is None or not isinstance(root.value, dict):
            raise self._error()
        if (owner := owner_of(root.mapping, is_json=written_as_json)) is not None:
            self._refuse_foreign(owner)
        if (complaint := headless(root.mapping)) is not None:
            self._problem(None, None, "", complaint)
            raise self._error()
        return root

    def _refuse_foreign(self, owner: str) -> None:
        self._problem(
            None,
            None,
            "",
            f"is a file of {owner}; take its servers over with: {self._importing}",
        )
        raise self._error()

    # One spelling, and the defaults

    def _normalised(self, root: Item) -> tuple[Item, Item | None]:
        """The tree with one spelling of each key and the defaults in the upstreams, and the defaults alone."""
        empty = {key for key, item in root.mapping.items() if key in _SECTIONS and item.value is None}
        top = {key: item for key, item in root.mapping.items() if key != "$schema" and key not in empty}
        defaults = top.pop("defaults", None)
        servers = top.pop("mcpServers", None)
        if servers is not None and "upstreams" not in top:
            self._lenient = True
            top = self._without_own(top)
        top = self._known(root.with_value(top), ()).mapping
        if defaults is not None:
            defaults = self._spelled(self._known(defaults, ("defaults",)))
        if servers is not None and "upstreams" in top:
            self._at_key(servers, "mcpServers is another spelling of upstreams; put all under one of them")
        elif servers is not None:
            top = {**top, "upstreams": servers}
        elif not {"upstreams", "mcpServers"} & root.mapping.keys() and not self._problems:
            self._problem(root.line, root.column, "upstreams", "is missing; write the MCP servers to merge under it")
        if (upstreams := top.get("upstreams")) is not None and isinstance(upstreams.value, dict):
            named = {
                name: item for name, item in upstreams.mapping.items() if not (self._lenient and self._is_useless(item))
            }
            if self._lenient:
                named = {name: self._without_foreign(item) for name, item in named.items()}
            whole = {name: self._upstream(name, item, defaults) for name, item in named.items()}
            top = {**top, "upstreams": upstreams.with_value(whole)}
        self._say_what_is_foreign()
        return root.with_value(top), defaults

    def _without_own(self, top: Mapping[str, Item]) -> dict[str, Item]:
        """The top of an mcpServers file without the keys of the client whose file it is."""
        own = own_keys(top, known_keys(()))
        self._ignored |= {key: top[key] for key in own}
        return {key: item for key, item in top.items() if key not in own}

    def _without_foreign(self, item: Item) -> Item:
        """A server of an mcpServers file in our words, without the keys that are said in those of others."""
        if not isinstance(item.value, dict):
            return item
        kept = dict(item.value)
        if (found := next((kept.pop(key) for key in URL_SPELLINGS if key in kept), None)) is not None:
            kept = {**{key: child for key, child in kept.items() if key not in URL_SPELLINGS}, "url": found}
        for key, child in list(kept.items()):
            if key in ("type", "transport"):
                kept[key] = transport_of(child)
            elif (is_told := is_heeded(key, child)) is not None:
                (self._unheeded if is_told else self._ignored).setdefault(key, child)
                del kept[key]
        return item.with_value(kept)

    def _say_what_is_foreign(self) -> None:
        if self._ignored:
            keys = ", ".join(self._ignored)
            message = f"keys of the client whose file this is are ignored: {keys}"
            self._at_key(next(iter(self._ignored.values())), message, warning=True)
        if self._unheeded:
            keys = ", ".join(self._unheeded)
            message = (
                f"keys that have a counterpart here are not heeded: {keys}; take the file over with: {self._importing}"
            )
            self._at_key(next(iter(self._unheeded.values())), message, warning=True)

    @property
    def _importing(self) -> str:
        return f"meshproxy import {self._file} --into mesh.yaml"

    def _is_useless(self, item: Item) -> bool:
        """Whether an entry of an mcpServers file has no counterpart here; it is said, unless it is disabled anyway."""
        if not isinstance(item.value, dict):
            return False
        why = useless(item.value)
        disabled = item.value.get("disabled")
        if why is not None and not (disabled is not None and disabled.value is True):
            self._at_key(item, why, warning=True)
        return why is not None

    def _known(self, item: Item, path: KeyPath) -> Item:
        """An item without the keys that nobody knows, which are reported."""
        if isinstance(item.value, list):
            return item.with_value([self._known(child, (*path, index)) for index, child in enumerate(item.value)])
        if path == ("profiles",):
            return item.with_value({key: self._known(child, (*path, key)) for key, child in item.mapping.items()})
        if not (known := known_keys(path)) or not isinstance(item.value, dict):
            return item
        kept = {}
        for key, child in item.mapping.items():
            if key in known:
                kept[key] = self._known(child, (*path, key)) if path or key != "upstreams" else child
                continue
            is_lenient = self._lenient and path[:1] == ("upstreams",)
            if is_lenient and len(path) == 2 and not get_close_matches(key, known, n=1, cutoff=_TYPO):
                self._ignored.setdefault(key, child)
                continue
            hint = suggestion(key, path)
            self._at_key(child, "unknown key" + (f"; {hint}" if hint else ""), warning=is_lenient)
        return item.with_value(kept)

    def _spelled(self, item: Item) -> Item:
        """`type` as `transport`, and `disabled` as its contrary."""
        if not isinstance(item.value, dict):
            return item
        keys = dict(item.mapping)
        for other, key in _SPELLINGS.items():
            if (found := keys.pop(other, None)) is None:
                continue
            if key in keys:
                self._at_key(found, f"{other} is another spelling of {key}; remove one of them")
                continue
            if key == "enabled":
                value = self._switch(found)
                found = found.with_value(not value if isinstance(value, bool) else value)
            keys[key] = found
        return item.with_value(keys)

    def _upstream(self, name: str, item: Item, defaults: Item | None) -> Item:
        """An upstream with known keys in one spelling, and with its defaults."""
        if item.value is None:
            item = item.with_value({})
        if not isinstance(item.value, dict):
            return item
        before = len(self._problems)
        item = self._known(item, ("upstreams", name))
        misspelled = len(self._problems) > before
        item = self._spelled(item)
        keys = dict(item.mapping)
        if self._lenient:
            foreign = URL_KEYS if "command" in keys else OF_COMMANDS if "url" in keys or "urls" in keys else ()
            keys = {
                key: child for key, child in keys.items() if key not in foreign or child.value not in ({}, [], "", None)
            }
        transport = keys["transport"].value if "transport" in keys else None
        for key, message in conflicts(keys, transport):
            if key:
                self._at_key(keys[key], message)
            elif not misspelled:
                self._at_key(item, message)
        if defaults is None or not isinstance(defaults.value, dict):
            return item.with_value(keys)
        foreign = URL_KEYS if "command" in keys else OF_COMMANDS
        shared = {key: child for key, child in defaults.mapping.items() if key not in foreign}
        return merged(item.with_value(shared), item.with_value(keys))

    def _switch(self, item: Item) -> Any:
        """A boolean, be it written or referred to; anything else as it is."""
        if not isinstance(item.value, str):
            return item.value
        found = interpolate(item.value, self._directory, self._environ, self._asked)
        return {"true": True, "false": False}.get(found.value.strip().lower(), item.value)

    # What is found wrong

    def _at_key(self, item: Item, message: str, *, warning: bool = False) -> None:
        self._problem(item.key_line, item.key_column, item.key, message, warning=warning)

    def _problem(self, line: int | None, column: int | None, key: str, message: str, *, warning: bool = False) -> None:
        found = Problem(self._file, line, column, key, *halves(message))
        (self._warnings if warning else self._problems)[found] = None

    def _error(self) -> ConfigError:
        return ConfigError(self._in_order(self._problems))

    def _in_order(self, problems: Iterable[Problem]) -> tuple[Problem, ...]:
        scrub = Scrubber(self._secrets).scrub
        clean = (
            Problem(one.file, one.line, one.column, one.key, scrub(one.message), one.hint and scrub(one.hint))
            for one in problems
        )
        return tuple(sorted(clean, key=lambda one: (one.line or 0, one.column or 0)))

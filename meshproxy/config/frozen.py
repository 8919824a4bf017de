"""Mappings that cannot change, so that what the user wrote can be compared and hashed."""

from collections.abc import Iterator, Mapping
from typing import Any, Generic, TypeVar, get_args

from pydantic import GetCoreSchemaHandler
from pydantic_core import core_schema

from meshproxy.config.secrets import HIDDEN

V = TypeVar("V")


class FrozenMapping(Mapping[str, V], Generic[V]):
    """A mapping from text, equal to any other with the same items, hashable if its values are; keeps the order it was given."""

    __slots__ = ("_items",)

    def __init__(self, items: Mapping[str, V] | None = None) -> None:
        self._items: dict[str, V] = dict(items or {})

    def __getitem__(self, key: str) -> V:
        return self._items[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __hash__(self) -> int:
        return hash(frozenset(self._items.items()))

    def __repr__(self) -> str:
        return repr(self._items)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        """Validated as a dictionary of the values' type, and dumped as one."""
        return core_schema.no_info_before_validator_function(
            lambda given: dict(given) if isinstance(given, FrozenMapping) else given,
            core_schema.no_info_after_validator_function(cls, handler(cls.accepted(source))),
            serialization=core_schema.plain_serializer_function_ser_schema(cls.dumped),
        )

    @classmethod
    def accepted(cls, source: Any) -> Any:
        """The type of the dictionary that is frozen; `source` is the annotation."""
        (value,) = get_args(source)
        return dict[str, value]  # type: ignore[valid-type]  # a type made at run time

    def dumped(self) -> dict[str, Any]:
        """What `model_dump` makes of it."""
        return dict(self._items)


class SecretMapping(FrozenMapping[str]):
    """One whose values are secrets: neither its repr nor a dump shows them."""

    __slots__ = ()

    def __repr__(self) -> str:
        return repr(self.dumped())

    def dumped(self) -> dict[str, Any]:
        return dict.fromkeys(self, HIDDEN)

"""The options of a generated data set, which determine every byte of it."""

from __future__ import annotations

import difflib
import hashlib
import json
import math
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import parse_qsl

from portbev.errors import ConfigError

if TYPE_CHECKING:
    from typing_extensions import Self


@dataclass(frozen=True)
class GeneratedOptions:
    """Base of frozen dataclasses of options. Fields are int, float or str, or ``image_size`` (width, height).

    Attributes:
        where: name of the data in messages.
        format: what the manifest of such data says that they are.
        generator_version: increased whenever the same options would generate other bytes than before.
    """

    where: ClassVar[str] = "generated data"
    format: ClassVar[str] = ""
    generator_version: ClassVar[int] = 1

    @classmethod
    def from_query(cls, query: str) -> Self:
        """Options from a query such as ``seed=1&image_size=480x270``.

        Raises:
            ConfigError: an option is unknown, or its value has the wrong type or is out of range.
        """
        values: dict[str, Any] = {}
        for name, text in parse_qsl(query, keep_blank_values=True):
            values[name] = _parse(name, text, cls._type_of(name), cls.where)
        return cls(**values)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Options from a JSON mapping, as :meth:`as_dict` gives it.

        Raises:
            ConfigError: an option is unknown, or its value is out of range.
        """
        for name in values:
            cls._type_of(name)
        return cls(**values)

    def as_dict(self) -> dict[str, Any]:
        """All options as JSON values."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    def resolved(self) -> dict[str, Any]:
        """:meth:`as_dict` with the effective values of options that were left out; the digest depends on it."""
        return self.as_dict()

    def digest(self) -> str:
        """16 hex digits that identify these options and the generator's version."""
        text = json.dumps([self.generator_version, self.resolved()], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def manifest(self) -> dict[str, Any]:
        """The first entries of the data set's manifest (see :data:`portbev.data.generated.growing.MANIFEST`)."""
        return {"format": self.format, "generator": self.generator_version, "digest": self.digest()}

    def check_whole(self, name: str, low: int, high: int) -> None:
        """Raise a ConfigError unless the option is a whole number from ``low`` to ``high``."""
        value = getattr(self, name)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise self.wrong(name, f"a whole number from {low} to {high}")

    def check_real(self, name: str, low: float, high: float, what: str = "a number") -> None:
        """Raise a ConfigError unless the option is a finite number from ``low`` to ``high``."""
        if not (math.isfinite(getattr(self, name)) and low <= getattr(self, name) <= high):
            raise self.wrong(name, f"{what} from {low:g} to {high:g}")

    def check_image_size(self, low: int, high: int) -> None:
        """Convert ``image_size`` to whole numbers; raise a ConfigError unless each side is from ``low`` to ``high``."""
        size = tuple(int(side) for side in getattr(self, "image_size"))  # noqa: B009 - a field of subclasses
        object.__setattr__(self, "image_size", size)
        if len(size) != 2 or not all(low <= side <= high for side in size):
            raise self.wrong("image_size", f"WIDTHxHEIGHT, each side from {low} to {high}")

    def wrong(self, name: str, wanted: str) -> ConfigError:
        """The error for an option whose value is not ``wanted``."""
        return _wrong(name, wanted, getattr(self, name), self.where)

    @classmethod
    def _type_of(cls, name: str) -> str:
        types = {field.name: str(field.type) for field in fields(cls)}
        if name not in types:
            near = difflib.get_close_matches(name, types, n=1, cutoff=0.0)
            cure = f"Did you mean {near[0]!r}? Known: {', '.join(types)}"
            raise ConfigError(f"unknown option {name!r}", where=cls.where, cure=cure)
        return types[name]


def parse_image_size(text: str, where: str = GeneratedOptions.where) -> tuple[int, int]:
    """``"480x270"`` as (480, 270).

    Raises:
        ConfigError: the text is not two whole numbers with an x between them.
    """
    width, cross, height = text.lower().partition("x")
    if not (cross and width.isdecimal() and height.isdecimal()):
        raise _wrong("image_size", "WIDTHxHEIGHT such as 480x270", text, where)
    return int(width), int(height)


def _parse(name: str, text: str, kind: str, where: str) -> Any:
    if name == "image_size":
        return parse_image_size(text, where)
    if kind == "str":
        return text
    convert, wanted = (float, "a number") if kind == "float" else (int, "a whole number")
    try:
        return convert(text)
    except ValueError:
        raise _wrong(name, wanted, text, where) from None


def _wrong(name: str, wanted: str, value: Any, where: str) -> ConfigError:
    return ConfigError(f"{name} must be {wanted}, not {value!r}", where=where)

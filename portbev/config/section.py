"""What every section of a configuration is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, ClassVar, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationInfo, field_validator

from portbev.config.meaning import Meaning

Key = tuple[str, Any, Meaning]


class Section(BaseModel):
    """Base of all sections: an unknown key is an error, values are checked when set, numbers are finite.

    The string below a field says what it means, for people: ``portbev config explain`` and docs/configuration.md show
    it. A unit stands in brackets at its end: ``[m]``.

    Attributes:
        fields_mean: what the fields mean that do not say it themselves (see :class:`Meaning`).
    """

    model_config = ConfigDict(extra="forbid", validate_assignment=True, allow_inf_nan=False)
    fields_mean: ClassVar[Meaning] = Meaning.WHAT

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_for_a_number(cls, value: Any, info: ValidationInfo) -> Any:
        """YAML reads yes, no, on and off as true and false, which would count as 1 and 0."""
        if info.field_name is not None and _holds_bool(value):
            types = set(_types(cls.model_fields[info.field_name].annotation))
            if types & {int, float} and bool not in types:
                raise ValueError("should be a number, not true or false")
        return value


def absolute(text: str) -> str:
    """A path as it is found from any folder: ``~`` written out, relative to where this process runs."""
    return str(Path(text).expanduser().absolute())


Place = Annotated[str, AfterValidator(absolute)]
"""A field that names a file or folder; the record keeps it as it is found from anywhere."""


def _holds_bool(value: Any) -> bool:
    return isinstance(value, bool) or (isinstance(value, (list, tuple)) and any(map(_holds_bool, value)))


def _types(annotation: Any) -> Iterator[Any]:
    """The types that an annotation is made of."""
    yield annotation
    for part in get_args(annotation):
        yield from _types(part)


def keys_of(section: Section) -> Iterator[Key]:
    """Every key below ``section`` with dots, its value as JSON holds it, and its meaning.

    Sections are walked into; lists stay whole, and so do empty mappings.
    """
    yield from _walk(section, section.model_dump(mode="json"), "", None)


def _walk(section: Section, values: dict[str, Any], prefix: str, given: Meaning | None) -> Iterator[Key]:
    for name, field in type(section).model_fields.items():
        said = given or next((mark for mark in field.metadata if isinstance(mark, Meaning)), None)
        inner = getattr(section, name)
        if isinstance(inner, Section):
            yield from _walk(inner, values[name], f"{prefix}{name}.", said)
        else:
            meaning = said or type(section).fields_mean
            yield from ((key, value, meaning) for key, value in flatten(values[name], prefix + name).items())


def flatten(value: Any, prefix: str = "") -> dict[str, Any]:
    """Nested mappings as ``a.b.c`` -> value; lists stay whole."""
    if not isinstance(value, dict) or (prefix and not value):
        return {prefix: value}
    flat: dict[str, Any] = {}
    for key, inner in value.items():
        flat.update(flatten(inner, f"{prefix}.{key}" if prefix else str(key)))
    return flat

"""A reader of pickles that can build plain values, tensors and arrays, and nothing else.

A pickle is a program that names functions and calls them. Here a name becomes a :class:`Global`, which is text, and the
instructions that would call it look the text up in a table of the caller's (:data:`Makers`): those functions build
values from values. Every other name makes a :class:`StandIn`. No module is imported for a name, nothing is taken from
a module by name, and no method of a built object is called, so that there is nothing for a file to reach.

The pure-Python unpickler is the base: it never reserves memory that a file only declares (the one in C reserves room
for as many bytes, and for as many remembered objects, as an instruction claims).
"""

from __future__ import annotations

import pickle
import struct
import sys
from collections.abc import Callable, Hashable, Mapping
from typing import Any, ClassVar, Protocol

from portbev.tensorfiles.standins import Global, StandIn

Makers = Mapping[str, Callable[..., Any]]
"""Full names, and what makes the value that a call of this name stands for."""
Builders = Mapping[type, Callable[[Any, Any], None]]
"""Types, and what gives a state to a value of this type that was made without it."""
PersistentLoad = Callable[[Any], Any]


class Source(Protocol):
    """A file whose ``read`` gives no more than there is."""

    def read(self, size: int = ..., /) -> bytes: ...

    def readline(self) -> bytes: ...


def load(source: Source, makers: Makers, builders: Builders, persistent_load: PersistentLoad | None = None) -> Any:
    """The value that the pickle at the position of ``source`` describes.

    Raises:
        pickle.UnpicklingError: it is no whole pickle, or asks for what no checkpoint needs.
    """
    reader = _Unpickler(source, makers, builders, persistent_load)
    try:
        return reader.load()
    except pickle.UnpicklingError:
        raise
    except (
        EOFError,
        IndexError,
        KeyError,
        ValueError,
        TypeError,
        AttributeError,
        OverflowError,
        AssertionError,
        NotImplementedError,
        struct.error,
        RuntimeError,
    ) as error:
        raise pickle.UnpicklingError(f"{type(error).__name__}: {error}") from error


class _Unpickler(pickle._Unpickler):
    dispatch: ClassVar[dict[int, Callable[..., None]]] = dict(pickle._Unpickler.dispatch)
    # of the base class, set when it loads
    stack: list[Any]
    append: Callable[[Any], None]
    read: Callable[[int], bytes]
    pop_mark: Callable[[], list[Any]]

    def __init__(
        self, source: Source, makers: Makers, builders: Builders, persistent_load: PersistentLoad | None
    ) -> None:
        super().__init__(source, encoding="latin1")  # files of Python 2
        self._makers, self._builders, self._persistent = makers, builders, persistent_load

    def find_class(self, module: str, name: str) -> Global:
        return Global(str(module), str(name))

    def get_extension(self, code: int) -> None:
        raise pickle.UnpicklingError("a registered extension")

    def persistent_load(self, pid: Any) -> Any:
        if self._persistent is None:
            raise pickle.UnpicklingError("a persistent name outside a file of torch.save")
        return self._persistent(pid)

    def _make(self, made_by: object, args: object) -> Any:
        arguments = args if isinstance(args, tuple) else (args,)
        if not isinstance(made_by, Global):
            return StandIn(made_by.kind if isinstance(made_by, StandIn) else type(made_by).__name__, arguments)
        if made_by.name in ("copyreg._reconstructor", "copy_reg._reconstructor") and len(arguments) == 3:
            made, content = self._make(arguments[0], ()), arguments[2]
            if isinstance(made, StandIn) and isinstance(content, dict):
                made.mapping = content
            return made
        if made_by.name == "torch._tensor._rebuild_from_type_v2" and len(arguments) == 4:
            return self._make(arguments[0], arguments[2])
        maker = self._makers.get(made_by.name)
        return StandIn(made_by.name, arguments) if maker is None else maker(*arguments)

    def _instantiate(self, klass: object, args: object) -> None:  # instructions INST and OBJ
        self.append(self._make(klass, tuple(args) if isinstance(args, list) else args))

    def load_reduce(self) -> None:
        args = self.stack.pop()
        self.stack[-1] = self._make(self.stack[-1], args)

    def load_newobj_ex(self) -> None:
        self.stack.pop()  # keywords
        self.load_reduce()

    def load_build(self) -> None:
        state = self.stack.pop()
        target = self.stack[-1]
        if isinstance(target, StandIn):
            target.state = state
        elif builder := self._builders.get(type(target)):
            builder(target, state)

    def load_setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._set(self.stack[-1], [key, value])

    def load_setitems(self) -> None:
        pairs = self.pop_mark()
        self._set(self.stack[-1], pairs)

    def load_dict(self) -> None:
        pairs = self.pop_mark()
        made: dict[Any, Any] = {}
        self._set(made, pairs)
        self.append(made)

    def _set(self, target: object, pairs: list[Any]) -> None:
        into = target.mapping if isinstance(target, StandIn) else target
        if not isinstance(into, dict) or len(pairs) % 2:
            raise pickle.UnpicklingError("items for something that is no mapping")
        for key, value in zip(pairs[::2], pairs[1::2], strict=True):
            into[checked_key(key)] = value

    def load_append(self) -> None:
        value = self.stack.pop()
        self._extend(self.stack[-1], [value])

    def load_appends(self) -> None:
        values = self.pop_mark()
        self._extend(self.stack[-1], values)

    def _extend(self, target: object, values: list[Any]) -> None:
        into = target.items if isinstance(target, StandIn) else target
        if not isinstance(into, list):
            raise pickle.UnpicklingError("elements for something that is no list")
        into.extend(values)

    def load_additems(self) -> None:
        values = self.pop_mark()
        target = self.stack[-1]
        if not isinstance(target, set):
            raise pickle.UnpicklingError("elements for something that is no set")
        target.update(checked_key(value) for value in values)

    def load_frozenset(self) -> None:
        self.append(frozenset(checked_key(value) for value in self.pop_mark()))

    def load_bytearray8(self) -> None:
        (size,) = struct.unpack("<Q", self.read(8))
        if size > sys.maxsize:
            raise pickle.UnpicklingError("an array of impossible size")
        self.append(bytearray(self.read(size)))

    for _code, _method in (
        (pickle.REDUCE, load_reduce),
        (pickle.NEWOBJ, load_reduce),
        (pickle.NEWOBJ_EX, load_newobj_ex),
        (pickle.BUILD, load_build),
        (pickle.SETITEM, load_setitem),
        (pickle.SETITEMS, load_setitems),
        (pickle.DICT, load_dict),
        (pickle.APPEND, load_append),
        (pickle.APPENDS, load_appends),
        (pickle.ADDITEMS, load_additems),
        (pickle.FROZENSET, load_frozenset),
        (pickle.BYTEARRAY8, load_bytearray8),
    ):
        dispatch[_code[0]] = _method


def checked_key(key: object) -> Hashable:
    """``key``, where looking it up is quick: nested tuples could be made to take for ever.

    Raises:
        pickle.UnpicklingError: no key of any checkpoint.
    """
    scalars = (str, bytes, int, float, complex, bool, type(None), Global, StandIn)
    if isinstance(key, scalars) or (isinstance(key, tuple) and all(isinstance(part, scalars) for part in key)):
        return key
    raise pickle.UnpicklingError(f"a {type(key).__name__} as a key")

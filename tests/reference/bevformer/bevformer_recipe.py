"""The recipe of the recorded BEVFormer cases: a module that lies beside them."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import pytest
from numpy.typing import NDArray


class Recipe(Protocol):
    """What the tests use of it."""

    def noise(self, seed: str, name: str, shape: Any) -> NDArray[np.float64]: ...

    def fill(self, seed: str, name: str, shape: Any, like: Any = None) -> NDArray[Any]: ...

    def image(self, seed: str, frame: int, case: dict[str, Any]) -> NDArray[np.float32]: ...

    def lidar2img(self, case: dict[str, Any]) -> NDArray[np.float64]: ...

    def can_bus_abs(self, frame: dict[str, Any]) -> NDArray[np.float64]: ...

    def can_bus_rel(self, prev: dict[str, Any] | None, cur: dict[str, Any]) -> NDArray[np.float64]: ...


def load_recipe(case: Path) -> Recipe:
    """``recipe.py`` of a case or of the folder above it."""
    home = next((path for path in (case / "recipe.py", case.parent / "recipe.py") if path.is_file()), None)
    if home is None:
        pytest.skip(f"{case.name} has no recipe.py")
    spec = importlib.util.spec_from_file_location("bevformer_recipe_of_the_case", home)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return cast(Recipe, module)

"""BEVFormer as a plugin of portbev."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from portbev.hookspecs import hookimpl

if TYPE_CHECKING:
    from portbev.bench.models import BenchModel
    from portbev.convert.config import ConfigReader
    from portbev.export.interface import ModelForms
    from portbev.models import ModelFamily


@hookimpl
def portbev_models() -> list[ModelFamily]:
    """The family ``bevformer``."""
    from portbev_bevformer.family import BevFormerFamily

    return [BevFormerFamily()]


@hookimpl
def portbev_published() -> list[Path]:
    """Figures that others published of this family."""
    return [Path(__file__).with_name("bevformer_readme.yaml")]


@hookimpl
def portbev_bench_models() -> list[BenchModel]:
    """What ``portbev bench`` measures of this family."""
    from portbev_bevformer.bench import MODEL

    return [MODEL]


@hookimpl
def portbev_config_readers() -> list[ConfigReader]:
    """Configurations of the original."""
    from portbev_bevformer.original_config import OriginalConfigs

    return [OriginalConfigs()]


@hookimpl
def portbev_exports() -> list[ModelForms]:
    """This family as a graph of tensors."""
    from portbev_bevformer.export import BevFormerForms

    return [BevFormerForms()]

"""Configuration: YAML with ``extends:``, validated, with overrides."""

from portbev.config.layers import read_layers
from portbev.config.load import config_digest, dump_config, load_config, meanings
from portbev.config.meaning import Meaning
from portbev.config.schema import ComputeSection, RunConfig

__all__ = [
    "ComputeSection",
    "Meaning",
    "RunConfig",
    "config_digest",
    "dump_config",
    "load_config",
    "meanings",
    "read_layers",
]

"""Configuration: YAML with ``extends:``, validated, with overrides."""

from portbev.config.load import config_digest, dump_config, load_config, read_layers
from portbev.config.schema import RunConfig

__all__ = ["RunConfig", "config_digest", "dump_config", "load_config", "read_layers"]

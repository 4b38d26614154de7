"""Configuration: YAML with ``extends:``, validated, with overrides."""

from portbev.config.load import LATER_KEYS, NEUTRAL_KEYS, config_digest, dump_config, load_config, read_layers
from portbev.config.schema import RunConfig

__all__ = ["LATER_KEYS", "NEUTRAL_KEYS", "RunConfig", "config_digest", "dump_config", "load_config", "read_layers"]

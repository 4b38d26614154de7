"""What every section of a configuration is."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """Base of all sections: an unknown key is an error, values are checked when set."""

    model_config = ConfigDict(extra="forbid", validate_assignment=True)

"""The base of settings and of facts that travel between functions and into files."""

from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    """A pydantic model that does not change and takes no field that it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")

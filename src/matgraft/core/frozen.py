"""The base of settings and of facts that travel between functions and into files."""

from pydantic import BaseModel, ConfigDict, model_validator


class Frozen(BaseModel):
    """A pydantic model that does not change and takes no field that it does not know.

    What follows from its fields is written with them, and left out where they are read back.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _without_what_follows(cls, content: object) -> object:
        if not isinstance(content, dict):
            return content
        return {name: value for name, value in content.items() if name not in cls.model_computed_fields}

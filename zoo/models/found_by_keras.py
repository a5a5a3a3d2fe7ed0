"""Lets Keras find the zoo's classes in a model that it loads.

Keras looks a class up by its registered name, and the zoo's classes are registered where they are defined, in modules
that import Keras and keras-hub. `import zoo` imports neither. So, as soon as Keras is there, each name is registered
for a stand-in that imports the class when a model is loaded that holds it.
"""

from __future__ import annotations

import importlib
from typing import Any

from zoo.models.families import FAMILIES

PACKAGE = "text_zoo"
"""What stands before the names of registered classes."""
HOMES = {
    "PortableDropout": "zoo.models.dropout",
    "SegmentEmbedding": "zoo.models.layers",
    "SelfAttention": "zoo.models.layers",
    "TokenEmbedding": "zoo.models.layers",
    "TransformerEncoder": "zoo.models.layers",
    **{f"{family.class_prefix}Backbone": "zoo.models.encoder" for family in FAMILIES.values()},
}
"""Name of a registered class, and the module that has it."""


class _StandIn:
    """A class that is imported when an object of it is made."""

    def __init__(self, name: str) -> None:
        self._name = name

    def from_config(self, config: dict[str, Any]) -> Any:
        """An object of the class, as Keras asks for one."""
        home = importlib.import_module(HOMES[self._name])
        return getattr(home, self._name).from_config(config)


def announce(keras: Any) -> None:
    """Register the classes that are not there yet with Keras, the module."""
    known = keras.saving.get_custom_objects()
    for name in HOMES:
        known.setdefault(f"{PACKAGE}>{name}", _StandIn(name))

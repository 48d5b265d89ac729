"""What a data set asks: one label a cell, or several attributes a cell."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

Kind = Literal["single_label", "multi_attribute"]


@dataclasses.dataclass(frozen=True)
class Task:
    """The question a classifier answers, in the words of its data set.

    Attributes:
        kind: `single_label` (softmax over classes) or `multi_attribute` (one
            normal-or-abnormal question per attribute; logit > 0 means abnormal).
        names: the classes, or the attributes, in the order of the logits.
        deciding_parts: for each name the parts that decide it, where that is
            known: what guidance asks attention to lie on, and what localisation
            is measured against.
    """

    kind: Kind
    names: tuple[str, ...]
    deciding_parts: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)

    @property
    def num_outputs(self) -> int:
        return len(self.names)

    def to_dict(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "names": list(self.names),
            "deciding_parts": {name: list(parts) for name, parts in self.deciding_parts.items()},
        }

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> "Task":
        return cls(
            kind=value["kind"],
            names=tuple(value["names"]),
            deciding_parts={name: tuple(parts) for name, parts in value["deciding_parts"].items()},
        )

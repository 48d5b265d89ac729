"""`spermjax export RUN`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import tyro

from spermjax.commands.parse import parse


def main(arguments: Sequence[str]) -> int:
    """Writes a run's model for use elsewhere."""

    def export(
        run: Annotated[Path, tyro.conf.Positional],
        format: Literal["safetensors", "stablehlo"] = "safetensors",
        attention: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
        out: Path | None = None,
    ) -> int:
        """Write a run's best checkpoint for use elsewhere.

        safetensors holds the parameters, which --model.weights reads back; stablehlo holds
        the whole function, for any batch size, which `jax.export.deserialize` runs without
        spermjax. What the outputs mean lies beside the file as JSON.

        Args:
            run: the run folder.
            format: safetensors or stablehlo.
            attention: let the stablehlo function return attention besides logits.
            out: the file; RUN/export/model.FORMAT when not given.
        """
        from spermjax.workflow.export import export as write
        from spermjax.workflow.trained import load_trained

        print(f"model: {write(load_trained(run), format, out, attention=attention)}")
        return 0

    return parse(export, arguments, "export")

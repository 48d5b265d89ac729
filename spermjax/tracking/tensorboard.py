"""TensorBoard's event files, written without TensorFlow."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from spermjax.errors import ConfigError


class TensorBoard:
    """Writes scalars and figures to `<run>/tensorboard`, for `tensorboard --logdir`.

    Args:
        run: the run's folder.
        resume_step: step that the run goes on from; what was written after it is hidden.

    Raises:
        ConfigError: tensorboardX is not installed.
    """

    def __init__(self, run: Path, *, resume_step: int | None):
        try:
            from tensorboardX import SummaryWriter
        except ImportError:
            raise ConfigError(
                "--tracking.tensorboard needs tensorboardX: pip install 'spermjax[tensorboard]'"
            ) from None
        purge = None if resume_step is None else resume_step + 1
        self._writer = SummaryWriter(str(run / "tensorboard"), purge_step=purge)
        self._step = resume_step or 0

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self._step = step
        for name, value in values.items():
            self._writer.add_scalar(name, float(value), step)

    def figure(self, step: int, name: str, image: UInt8[np.ndarray, "height width 3"], caption: str) -> None:
        del caption
        self._writer.add_image(name, image, step, dataformats="HWC")

    def summary(self, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(f"summary/{name}", float(value), self._step)

    def artifact(self, name: str, kind: str, folder: Path) -> None:
        """TensorBoard keeps no files."""

    def alert(self, title: str, text: str) -> None:
        self._writer.add_text(title, text, self._step)

    def complete(self) -> None:
        """The scalars say it all."""

    def finish(self) -> None:
        self._writer.close()

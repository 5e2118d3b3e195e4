"""The scheduler of a pipeline directory, of the class that `model_index.json` names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from creditline.errors import InvalidInput
from creditline.generator.parts.model_index import read_part_json

PREDICTIONS = ("epsilon", "v_prediction")
_CONFIG = "scheduler_config.json"


def open_scheduler(folder: Path, kind: Any) -> Any:
    """Open the scheduler.

    Args:
        folder: The folder `scheduler`.
        kind: Class of the scheduler.

    Raises:
        InvalidInput: The configuration cannot be used, or is of flow matching or of an unknown prediction.
    """
    config = read_part_json(folder, _CONFIG)
    try:
        scheduler = kind.from_config(config)
    except Exception as error:  # constructors raise what they like for a configuration that is not theirs
        raise InvalidInput(
            f"{folder / _CONFIG} is no configuration of a {kind.__name__} ({type(error).__name__}: {error});"
            " use the pipeline's own",
            field="generator",
        ) from error
    prediction = scheduler.config.get("prediction_type", PREDICTIONS[0])
    if "Flow" in kind.__name__ or prediction == "flow_prediction" or scheduler.config.get("use_flow_sigmas"):
        raise InvalidInput(
            f"{folder / _CONFIG} is a scheduler of flow matching ({kind.__name__}); only diffusion models"
            f" that predict {' or '.join(PREDICTIONS)} are supported",
            field="generator",
        )
    if prediction not in PREDICTIONS:
        raise InvalidInput(
            f"the scheduler in {folder.parent} has prediction_type {prediction!r}; only"
            f" {' and '.join(PREDICTIONS)} are supported",
            field="prediction_type",
        )
    if getattr(scheduler, "alphas_cumprod", None) is None:
        raise InvalidInput(
            f"{folder / _CONFIG} is a {kind.__name__}, which has no noise levels alphas_cumprod; use a"
            " scheduler of Stable Diffusion, such as DDIMScheduler",
            field="generator",
        )
    return scheduler

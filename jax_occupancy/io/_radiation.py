"""The radiation that model and data agree on."""

from jax_occupancy.io._model import Model
from jax_occupancy.io._reflections import Reflections

_NOUNS = {"xray": "X-rays", "neutron": "neutrons", "electron": "electrons"}


def agreed_radiation(model: Model, data: Reflections, *, asked: str | None = None) -> tuple[str, str | None]:
    """Find out what the crystal was measured with: what was asked for, else what the files say, else X-rays.

    Args:
        asked: "xray", "neutron" or "electron", which decides; None leaves it to the files.

    Returns:
        The radiation, and a note where the files say something else or it is not plainly X-rays.

    Raises:
        ValueError: If model and data contradict each other and nothing was asked for.

    Example:
        >>> from jax_occupancy.example import read_example
        >>> agreed_radiation(*read_example())
        ('xray', None)
    """
    by_data: tuple[str, ...] = () if data.radiation is None else (data.radiation,)
    said = [(model.path, model.radiations), (data.path or "the data", by_data)]
    listed = " and ".join(
        f"{path} states {' and '.join(_NOUNS[one] for one in kinds)}" for path, kinds in said if kinds
    )
    if asked is not None:
        contradicted = any(kinds and asked not in kinds for _, kinds in said)
        return asked, f"radiation: {_NOUNS[asked]}, as asked for, although {listed}" if contradicted else None
    if by_data and model.radiations and by_data[0] not in model.radiations:
        raise ValueError(
            f"{listed}: these contradict each other, so say what the data were measured with: radiation=..."
        )
    stated: tuple[str, ...] = by_data or model.radiations or ("xray",)
    if len(stated) > 1:
        radiation = "xray" if "xray" in stated else stated[0]
        return radiation, f"{listed}; {_NOUNS[radiation]} are taken for these data: choose with radiation=..."
    radiation = "".join(stated)
    note = None if radiation == "xray" else f"radiation: {_NOUNS[radiation]} ({listed}; radiation=... decides)"
    return radiation, note

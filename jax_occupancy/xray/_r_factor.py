"""Agreement of model and data."""

import numpy as np
from jaxtyping import Bool, Float


def r_factor(
    observed: Float[np.ndarray, " reflections"],
    model_amplitude: Float[np.ndarray, " reflections"],
    free: Bool[np.ndarray, " reflections"],
) -> tuple[float, float]:
    """R = Σ|F_obs − |F_model|| / ΣF_obs of the working and of the free set.

    Args:
        observed: Observed amplitudes.
        model_amplitude: Amplitudes of the model on the same scale.
        free: True in the test set.

    Returns:
        R-work and R-free; NaN for a set without reflections.

    Example:
        >>> import numpy as np
        >>> r_factor(np.array([10.0, 20.0, 5.0]), np.array([9.0, 22.0, 4.0]), np.array([False, False, True]))
        (0.1, 0.2)
    """
    observed, model_amplitude, free = np.asarray(observed), np.asarray(model_amplitude), np.asarray(free)
    misfit = np.abs(observed - model_amplitude)
    total = [observed[chosen].sum() for chosen in (~free, free)]
    working, test = (
        float(misfit[chosen].sum() / sum_) if sum_ else float("nan")
        for chosen, sum_ in zip((~free, free), total, strict=True)
    )
    return working, test

"""Numbers for narrow columns."""

import math


def whole(value: float) -> str:
    """A log-likelihood as a whole number; nothing for NaN.

    Example:
        >>> whole(12.6), whole(-0.2), whole(math.nan)
        ('13', '0', '')
    """
    return str(round(value)) if math.isfinite(value) else ""


def two_digits(value: float) -> str:
    """A standard uncertainty by itself with two digits; nothing for NaN.

    Example:
        >>> two_digits(0.0312), two_digits(0.12), two_digits(math.nan)
        ('.031', '.12', '')
    """
    if not math.isfinite(value):
        return ""
    decimals = 3 if value < 0.0995 else 2
    return f"{value:.{decimals}f}".removeprefix("0")

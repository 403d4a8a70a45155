"""Numbers for narrow columns."""

import math


def log_likelihood(value: float) -> str:
    """A log-likelihood, with a decimal where it is small enough to be doubted; nothing for NaN.

    Example:
        >>> log_likelihood(12.6), log_likelihood(2.71), log_likelihood(-0.02), log_likelihood(math.nan)
        ('13', '2.7', '0.0', '')
    """
    if not math.isfinite(value):
        return ""
    return f"{value:.0f}" if abs(value) >= 9.95 else f"{value:z.1f}"


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

"""Numbers as text, the way crystallographers write them."""

import math


def with_esd(value: float, esd: float) -> str:
    """A number with its standard uncertainty in units of the last digit; without one, with three decimals.

    One digit of the uncertainty is shown, two if the first is 1 (rule of 2 to 19 of Acta Cryst. C's notes for
    authors), and as many decimals of the value.

    >>> with_esd(0.5712, 0.0412), with_esd(0.5712, 0.0123), with_esd(0.5712, 0.0097), with_esd(12.3, 1.44)
    ('0.57(4)', '0.571(12)', '0.571(10)', '12.3(14)')
    """
    if not (math.isfinite(esd) and esd > 0):
        return f"{value:.3f}"
    mantissa, exponent = f"{esd:.1e}".split("e")
    decimals = -int(exponent)
    if float(mantissa) < 2:
        decimals += 1
    decimals = max(decimals, 0)
    # "z" writes -0.00 as 0.00
    return f"{value:z.{decimals}f}({round(esd * 10**decimals)})"


def at_bound(value: float, limit: float) -> str:
    """An occupancy on a bound with its one-sided 95 % limit, rounded away from the bound.

    >>> at_bound(0.0, 0.0231), at_bound(1.0, 0.9512), at_bound(0.0, math.nan)
    ('0.00 (<0.03)', '1.00 (>0.95)', '0.00')
    """
    if not math.isfinite(limit):
        return f"{value:.2f}"
    if limit < value:
        return f"{value:.2f} (>{math.floor(round(limit * 100, 6)) / 100:.2f})"
    return f"{value:.2f} (<{max(math.ceil(round(limit * 100, 6)), 1) / 100:.2f})"


def of_sum(value: float, esd: float) -> str:
    """What several occupancies sum to; where equations leave no freedom, with two decimals.

    >>> of_sum(0.388, 0.031), of_sum(1.0, 1e-9)
    ('0.39(3)', '1.00')
    """
    return with_esd(value, esd) if esd > 1e-6 else f"{value:.2f}"


def with_decimals(value: float | int, decimals: int) -> str:
    """A number with so many decimals; nothing for NaN."""
    return f"{value:z.{decimals}f}" if math.isfinite(value) else ""


def log_likelihood(value: float) -> str:
    """A log-likelihood for a narrow column, with a decimal where it is small enough to be doubted.

    >>> log_likelihood(12.6), log_likelihood(2.71), log_likelihood(-0.02), log_likelihood(math.nan)
    ('13', '2.7', '0.0', '')
    """
    return with_decimals(value, 0 if abs(value) >= 9.95 else 1)


def two_digits(value: float) -> str:
    """A standard uncertainty by itself for a narrow column.

    >>> two_digits(0.0312), two_digits(0.12), two_digits(math.nan)
    ('.031', '.12', '')
    """
    return with_decimals(value, 3 if value < 0.0995 else 2).removeprefix("0")

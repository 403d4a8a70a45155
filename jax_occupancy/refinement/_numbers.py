"""Numbers with their standard uncertainties, the way crystallographers write them."""

import math


def with_esd(value: float, esd: float) -> str:
    """A number with its standard uncertainty in units of the last digit.

    One digit of the uncertainty is shown, two if the first is 1 (rule of 2 to 19 of Acta Cryst. C's notes for
    authors), and as many decimals of the value.

    Args:
        value: the number.
        esd: its standard uncertainty, in the same units; NaN or zero where there is none.

    Returns:
        Such as 0.57(4); without an uncertainty the value with three decimals.

    Example:
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
    """An occupancy on a bound with its one-sided limit, rounded away from the bound.

    Args:
        value: the occupancy, 0 or all that its set has.
        limit: the one-sided 95 % limit; NaN where there is none.

    Returns:
        Such as 0.00 (<0.03).

    Example:
        >>> at_bound(0.0, 0.0231), at_bound(1.0, 0.9512), at_bound(0.0, math.nan)
        ('0.00 (<0.03)', '1.00 (>0.95)', '0.00')
    """
    if not math.isfinite(limit):
        return f"{value:.2f}"
    if limit < value:
        return f"{value:.2f} (>{math.floor(round(limit * 100, 6)) / 100:.2f})"
    return f"{value:.2f} (<{max(math.ceil(round(limit * 100, 6)), 1) / 100:.2f})"

"""What all pictures have in common: the figure, colours, sizes and names."""

import io
import warnings
from typing import Any

import matplotlib.figure
from matplotlib.axes import Axes

# Okabe and Ito, Color Universal Design (2008).
BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
BLUE, VERMILLION, PURPLE = "#0072B2", "#D55E00", "#CC79A7"
GREY = "#8C8C8C"
# One for each member of a set or series; each comes with a marker of its own, for print without colours.
COLOURS = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, BLACK)
MARKERS = ("o", "s", "^", "D", "v", "P", "X")

# In points.
SMALL, NORMAL = 7, 8
# In inches: the columns of a journal, and what is left of a sheet of paper inside its margins.
COLUMN, PAGE, PAGE_HEIGHT = 3.5, 7.0, 9.8
# Longest name that is shown whole.
LONGEST = 24


class Figure(matplotlib.figure.Figure):
    """A matplotlib figure that belongs to no window: it shows itself in a notebook and is freed when it is let go.

    Figures of pyplot stay in memory until they are closed, and need a display in some installations.

    Example:
        >>> figure = Figure(figsize=(1, 1), dpi=72)
        >>> figure._repr_png_()[1:4]
        b'PNG'
    """

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **{"layout": "constrained", "facecolor": "white", "dpi": 150} | kwargs)

    def _repr_png_(self) -> bytes:
        return self.to_bytes("png", dpi=self.dpi)

    def to_bytes(self, kind: str, *, dpi: float | int = 300) -> bytes:
        """The content of a file, "png" (of so many dots per inch), "svg" or "pdf"; the same picture, the same bytes."""
        buffer = io.BytesIO()
        metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind, {})
        with matplotlib.rc_context({"svg.hashsalt": "jax_occupancy"}):
            self.savefig(buffer, format=kind, dpi=dpi, metadata=metadata)
        return buffer.getvalue()

    def savefig(self, *args: Any, **kwargs: Any) -> None:
        """As matplotlib's, without a warning for each letter that the font lacks; it is shown as a box."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Glyph .* missing from")
            super().savefig(*args, **kwargs)


def axes_or_new(ax: Axes | None, *, width: float = COLUMN, height: float = 2.4) -> Axes:
    """The user's axes, or those of a new figure of this size in inches."""
    return Figure(figsize=(width, height)).add_subplot() if ax is None else ax


def inches(ax: Axes) -> tuple[float, float]:
    """Width and height of axes as they are now."""
    figure = ax.get_figure(root=True)
    assert figure is not None
    box = ax.get_window_extent()
    return box.width / figure.dpi, box.height / figure.dpi


def tidy(ax: Axes, *, x: str = "", y: str = "", title: str = "") -> None:
    """Label axes, with letters that can be read in print, and take away what says nothing."""
    ax.set_xlabel(x, fontsize=SMALL)
    ax.set_ylabel(y, fontsize=SMALL)
    ax.set_title(title, fontsize=NORMAL, loc="left")
    ax.tick_params(which="both", labelsize=SMALL, width=0.6)
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_linewidth(0.6)


def say_only(ax: Axes, text: str) -> None:
    """Say in words why there is nothing to draw."""
    ax.set_axis_off()
    ax.text(0.5, 0.5, text, transform=ax.transAxes, ha="center", va="center", fontsize=SMALL, wrap=True)


def shown(name: str, *, longest: int = LONGEST) -> str:
    """A name that matplotlib shows as it is, with its middle left out ("a gro… name") if it is too long."""
    if len(name) > longest:
        tail = longest // 2
        name = name[: longest - tail - 1] + "…" + name[-tail:]
    # What stands between two of these would be set as mathematics.
    return name.replace("$", r"\$")

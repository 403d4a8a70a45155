"""The command in this process, which saves the start of another Python."""

import contextlib
import io
import sys
from typing import NamedTuple
from unittest import mock

import jax

from jax_occupancy.cli import main


class Ended(NamedTuple):
    """How a command ended, and the settings of JAX that it asked for."""

    code: int
    output: str
    errors: str
    settings: dict


def command(*arguments, cwd):
    """Run the command in a folder, without changing the precision of JAX."""
    output, errors = io.StringIO(), io.StringIO()
    with (
        contextlib.chdir(cwd),
        contextlib.redirect_stdout(output),
        contextlib.redirect_stderr(errors),
        mock.patch.object(sys, "argv", ["jax-occupancy", *map(str, arguments)]),
        mock.patch.object(jax.config, "update") as update,
    ):
        try:
            main()
        except SystemExit as end:
            settings = dict(call.args for call in update.call_args_list)
            return Ended(end.code or 0, output.getvalue(), errors.getvalue(), settings)
    raise AssertionError("a command ends with an exit code")

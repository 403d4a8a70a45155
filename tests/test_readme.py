"""Every Python block of the README runs, top to bottom, in one namespace; what its text names exists."""

import inspect
import re
from pathlib import Path

import pytest
import typer

from jax_occupancy import OccupancyTensor
from jax_occupancy.cli import app
from jax_occupancy.groups import UserSet, parse_toml

README = Path(__file__).parents[1] / "README.md"
BLOCKS = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.S)
NAMES = [
    "shape",
    "collapsed_shape",
    "expansion_mask",
    "sharing_groups",
    "group_map",
    "refinable_mask",
    "refinable_params",
    "fixed_values",
    "set_group_occupancy",
    "get_group_occupancy",
    "clamp",
    "from_residue_groups",
    "freeze",
    "unfreeze",
    "freeze_all",
    "unfreeze_all",
    "update_refinable_mask",
    "get_refinable_atoms",
    "get_frozen_atoms",
    "get_refinable_count",
    "get_fixed_count",
]
ARGUMENTS = [
    "initial_values",
    "sharing_groups",
    "refinable_mask",
    "requires_grad",
    "dtype",
    "device",
    "name",
    "use_sigmoid",
]


def section(title):
    return README.read_text().split(f"\n## {title}\n")[1].split("\n## ")[0]


def test_python_blocks_run(capsys):
    assert len(BLOCKS) >= 2
    namespace = {}
    for block in BLOCKS:
        exec(compile(block, str(README), "exec"), namespace)
    assert "A/2/SER:A" in capsys.readouterr().out


@pytest.mark.parametrize("marker", ["example-command", "test-command"])
def test_the_commands_are_where_the_checks_look_for_them(marker):
    assert re.search(rf"<!-- {marker} -->\n```bash\npython3 .*\n```", README.read_text())


def test_the_file_of_groups_is_read():
    (block,) = re.findall(r"```toml\n(.*?)```", section("Groups"), flags=re.S)
    user = parse_toml(block)
    assert list(user.groups) == ["pose1", "pose2", "bound", "apo", "zinc"]
    assert user.groups["zinc"].fixed == 0.5
    assert user.sets == (UserSet(("bound", "apo")), UserSet(("pose1", "pose2"), "incomplete", "bound"))
    assert (user.remove, user.link) == (("//S",), ("//A/45-48",))
    assert (user.separate, user.individual) == (("//A/60",), ("//W/1-20",))


def test_the_options_of_the_guide_exist():
    commands = typer.main.get_command(app).commands
    options = {name for command in commands.values() for p in command.params for name in [*p.opts, *p.secondary_opts]}
    told = set(re.findall(r"(?<![-\w])--[a-z][-a-z]*", section("Refine your own structure") + section("Groups")))
    assert len(told) > 10
    assert told <= options | {"--help"}


@pytest.mark.parametrize("name", NAMES)
def test_every_public_name_is_in_the_migration_table(name):
    assert re.search(rf"\b{name}\b", section("Coming from the PyTorch class"))
    assert hasattr(OccupancyTensor, name)


@pytest.mark.parametrize("name", ARGUMENTS)
def test_every_argument_is_in_the_migration_table(name):
    assert re.search(rf"\b{name}=", section("Coming from the PyTorch class"))
    parameter = inspect.signature(OccupancyTensor.__init__).parameters[name]
    assert (parameter.kind is parameter.KEYWORD_ONLY) == (name not in ("initial_values", "sharing_groups"))

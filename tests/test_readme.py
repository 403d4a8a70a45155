"""Every Python block of the README runs, top to bottom, in one namespace."""

import re
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"
BLOCKS = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.S)


def test_python_blocks_run(capsys):
    assert len(BLOCKS) >= 3
    namespace = {}
    for block in BLOCKS:
        exec(compile(block, str(README), "exec"), namespace)
    assert "A/2/SER:A" in capsys.readouterr().out


@pytest.mark.parametrize("marker", ["example-command", "test-command"])
def test_the_commands_are_where_the_checks_look_for_them(marker):
    assert re.search(rf"<!-- {marker} -->\n```bash\npython3 .*\n```", README.read_text())


def test_every_public_name_of_the_guide_is_in_the_migration_table():
    table = README.read_text().split("## Coming from the PyTorch class")[1].split("##")[0]
    names = "shape collapsed_shape expansion_mask sharing_groups group_map refinable_params fixed_values "
    names += (
        "set_group_occupancy get_group_occupancy clamp from_residue_groups freeze unfreeze freeze_all unfreeze_all "
    )
    names += "update_refinable_mask get_refinable_atoms get_frozen_atoms get_refinable_count get_fixed_count"
    assert [name for name in names.split() if name not in table] == []

"""Every command of the README runs in an environment that was made by the README alone."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from jax_occupancy import write_example
from jax_occupancy.example import write_map_example

CHECKOUT = Path(__file__).parents[1]
README = (CHECKOUT / "README.md").read_text()
(EXAMPLE,) = re.findall(r"<!-- example-command -->\n```bash\n(.*)\n```", README)
INSTALL = EXAMPLE.rsplit(" && ", 1)[0]
OFFLINE = r"Connection|connection|Retrying|name resolution|timed out"


def commands() -> list[str]:
    """Lines of the bash blocks and what stands between backticks, each once, none that another one begins with."""
    blocks = re.findall(r"```bash\n(.*?)```", README, flags=re.S)
    inline = re.findall(r"(?<!`)`([^`]+)`(?!`)", re.sub(r"```.*?```", "", README, flags=re.S))
    lines = [line.rsplit(" && ", 1)[-1] for block in blocks for line in block.splitlines()] + inline
    split = [
        " ".join(shlex.split(line, comments=True)).removeprefix(".venv/bin/") for line in lines if "jax-occ" in line
    ]
    found = sorted({line for line in split if re.match(r"jax-occupancy (refine|groups|series) ", line)})
    # The structures of the measurements are not part of a checkout.
    return [a for a in found if "1g8a" not in a and not any(b.startswith(a + " ") for b in found)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A checkout with the README's environment and the files that its commands name; needs an index of packages."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(CHECKOUT / name, folder)
    shutil.copytree(CHECKOUT / "jax_occupancy", folder / "jax_occupancy", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "notebooks").mkdir()
    done = run(INSTALL, folder)
    if done.returncode and re.search(OFFLINE, done.stderr):
        pytest.skip(f"pip can't install: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stderr
    files = write_example(folder)
    shutil.copy(files.model, folder / "model.pdb")
    for name in ("data", "t000", "t010", "t100"):
        shutil.copy(files.reflections, folder / f"{name}.mtz")
    particle = write_map_example(tmp_path_factory.mktemp("particle"))
    for file, name in ((particle.model, "particle.pdb"), (particle.half1, "half1.mrc"), (particle.half2, "half2.mrc")):
        shutil.copy(file, folder / name)
    return folder


def run(command: str, folder: Path) -> subprocess.CompletedProcess:
    """As in a shell of somebody who has nothing but Python."""
    keep = {
        name: value for name, value in os.environ.items() if name.startswith(("JAX_COMP", "JAX_PERS", "HOME", "PIP"))
    }
    path = [str(folder / ".venv" / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]]
    environment = keep | {"PATH": os.pathsep.join(path)}
    return subprocess.run(["bash", "-c", command], cwd=folder, env=environment, capture_output=True, text=True)


def test_the_commands_are_found():
    assert {command.split()[1] for command in commands()} == {"refine", "groups", "series"}
    assert len(commands()) >= 4


@pytest.mark.parametrize("command", commands())
def test_a_command_does_what_it_says(command, folder):
    outputs = ""
    if "--example" in command:  # every kind of output, in one run
        outputs = " -o out.cif --report out.html --csv out.csv --json out.json"
    done = run(command + outputs, folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout
    for option, name in re.findall(r"(-o|--\w+) (\S+\.\w+)", command + outputs):
        assert (folder / name).stat().st_size > 100, option
    if outputs:
        assert "the truth is known" in done.stdout
        listed = run("jax-occupancy groups out.cif", folder)
        assert listed.returncode == 0, listed.stderr
        assert "A/6/GLN:A" in listed.stdout

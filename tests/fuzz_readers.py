"""Damaged files for every reader: each must be read, or refused in a sentence that names the file.

The tests try a few hundred; `python tests/fuzz_readers.py 20000` tries that many of each kind and says what went wrong.
"""

import sys
import tempfile
import traceback
import warnings
from pathlib import Path

import gemmi
import numpy as np

from jax_occupancy import (
    OccupancyTensor,
    automatic_groups,
    load_tensor,
    read_model,
    read_reflections,
    save_tensor,
    write_example,
    write_model,
)
from jax_occupancy.io import read_groups, write_groups

READERS = {
    "model.pdb": read_model,
    "model.cif": read_model,
    "data.mtz": read_reflections,
    "data-sf.cif": read_reflections,
    "groups.toml": read_groups,
    "groups.refmac": read_groups,
    "groups.eff": read_groups,
    "tensor.npz": load_tensor,
}
# What is put in place of a piece of a file.
BITES = b"nan|inf|1e999|-|-1|0|9|1.5|(2)|1_0|0x1|999999999999|****|A|_|?|.|#|'|\"|{|}|[|]|=|(|)|;\n| |\n|\r|\0".split(
    b"|"
)
BITES += b"loop_|data_|END|TER|MODEL|ATOM  |HETATM|ANISOU|CRYST1|\xff|\xe9|\xc3\xa9".split(b"|")
LINES_OF_EACH = 40


def write_good_files(folder):
    """One good and small file for every reader."""
    files = write_example(folder)
    lines = files.model.read_text().splitlines()
    atoms = [line for line in lines if line.startswith(("ATOM", "HETATM"))]
    header = [line for line in lines if line.startswith(("CRYST1", "EXPDTA", "REMARK   3"))]
    (folder / "model.pdb").write_text("\n".join([*header, *atoms[-LINES_OF_EACH:], "END", ""]))
    model = read_model(folder / "model.pdb")
    write_model(model, folder / "model.cif", model.atoms["occupancy"])
    mtz = gemmi.read_mtz_file(str(files.reflections))
    mtz.set_data(np.array(mtz.array)[: 3 * LINES_OF_EACH])
    mtz.write_to_file(str(folder / "data.mtz"))
    (folder / "data-sf.cif").write_text(gemmi.MtzToCif().write_cif_to_string(mtz))
    # free groups, which every format can say
    waters = model.atoms.tail(12)
    for name in ("groups.toml", "groups.refmac", "groups.eff"):
        write_groups(folder / name, automatic_groups(waters), waters)
    save_tensor(folder / "tensor.npz", OccupancyTensor([0.5, 1.0]))
    for path in (files.model, files.reflections):
        path.unlink()


def mutant(content, rng):
    """The content with a few pieces flipped, cut, repeated, moved or overwritten, or all that follows lost."""
    data = bytearray(content)
    for _ in range(rng.integers(1, 5)):
        if not data:
            break
        at, length = int(rng.integers(len(data))), int(rng.choice([1, 2, 4, 8, 30, 80, 400]))
        bite = BITES[rng.integers(len(BITES))]
        piece = bytes(data[at : at + length])
        match int(rng.integers(7)):
            case 0:
                data[at] ^= 1 << int(rng.integers(8))
            case 1:
                del data[at : at + length]
            case 2:
                data[at:at] = piece * int(rng.integers(1, 4))
            case 3:
                data[at : at + len(bite)] = bite
            case 4:
                data[at:at] = bite
            case 5:
                del data[at : at + length]
                to = int(rng.integers(len(data) + 1))
                data[to:to] = piece
            case 6:
                del data[at if rng.random() < 0.3 else len(data) :]
    return bytes(data)


def wrong_end(read, file):
    """What is wrong with how a reader ends on a file; None if it reads it or refuses it in a sentence."""
    try:
        read(file)
    except (ValueError, OSError) as error:
        if file.name in str(error):
            return None
        return f"the message does not name the file: {type(error).__name__}: {error}"
    except Exception:
        return traceback.format_exc(limit=-3)
    return None


def wrong_ends(name, folder, *, count, seed=0):
    """The distinct wrong ends of a reader on damaged copies of its good file, each with the content of the first."""
    good, found = (folder / name).read_bytes(), {}
    (folder / "damaged").mkdir(exist_ok=True)
    file = folder / "damaged" / name
    rng = np.random.default_rng([seed, list(READERS).index(name)])
    for _ in range(count):
        content = mutant(good, rng)
        file.write_bytes(content)
        if (end := wrong_end(READERS[name], file)) is not None:
            found.setdefault(end, content)
    return found


if __name__ == "__main__":
    warnings.simplefilter("error")
    with tempfile.TemporaryDirectory() as folder:
        write_good_files(Path(folder))
        bad = 0
        for name in sys.argv[2:] or READERS:
            ends = wrong_ends(name, Path(folder), count=int(sys.argv[1]), seed=len(sys.argv))
            bad += len(ends)
            print(f"{name}: {len(ends)} wrong ends", flush=True)
            for end, content in ends.items():
                print(end, content[:200])
        sys.exit(bad > 0)

"""A bundle for a machine with a GPU, Python, torch and transformers but no registry: wheels, SmolLM2, templates.

    python benchmarks/gpu_bundle.py --output build/gpu --python 3.12

It is one archive in parts of at most `--part_mib` MiB: where one copy is bounded by 64, a part fits beside a checkout.
Copy the checkout there, into it the parts, one after another, with the script, and there:

    sh build/gpu/install.sh && export PYTHONPATH=/tmp/attnpo/site-packages:$PWD/src
    python3 -m attnpo reproduce --world gsm --minutes 9 --jobs 1 --max_steps 40 --schedule_steps 10 --responses 256 \\
        --num_eval 1000 --num_unseen 500 \\
        --training num_problems=4096 per_device_train_batch_size=64 gradient_accumulation_steps=4 \\
        --pack "$OUT/cells.tar.xz"

`install.sh` compares the archive's checksum, unpacks it into `/tmp/attnpo/site-packages` and says what is not met then.
The archive of `--pack` holds the small files of what is finished, no model, no checkpoint. Unpacked into
`runs/reproduce-gsm` of the checkout that is copied to a fresh machine, those cells are left alone there and the same
command goes on with the others; a cell that was not finished begins anew.

`reasoning-gym` requires a dozen further packages: the problems' templates alone travel.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import subprocess
import sys
import tarfile
import tomllib
from collections.abc import Collection
from importlib.util import find_spec
from pathlib import Path

from package_closure import Find, closure, in_wheels, installed
from packaging.utils import canonicalize_name

from attnpo.models.named import SMOLLM2_PACKAGE, find_smollm2

HERE = Path(__file__).parent
THERE = frozenset(
    {"torch", "transformers", "filelock", "fsspec", "huggingface-hub", "jinja2", "numpy"}
    | {"packaging", "pyyaml", "safetensors", "sympy", "tqdm"}
)
"""What the machine has: torch and transformers, and of what these require all that attnpo comes to as well."""
EXTRAS = ("gguf", "peft")
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_27_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")
MIB = 2**20
TEMPLATES = ("utils.py", "arithmetic/gsm_symbolic/generators_00_49.py", "arithmetic/gsm_symbolic/generators_50_99.py")
"""Files of reasoning-gym that the problems are made with."""
STAND_IN = """\"\"\"Of reasoning-gym, the templates of gsm_symbolic alone.\"\"\"

from types import SimpleNamespace


def create_dataset(name, **settings):
    from reasoning_gym.arithmetic.gsm_symbolic import generators_00_49, generators_50_99

    found = {**vars(generators_00_49), **vars(generators_50_99)}
    prefix = "generate_"
    return SimpleNamespace(
        generators={int(n.removeprefix(prefix)): made for n, made in found.items() if n.startswith(prefix)}
    )
"""
ARCHIVE = "bundle.tar"
INSTALL = """#!/bin/sh
# sh install.sh: the parts beside this file, joined and unpacked
set -eu
# Data sets are pickled for their fingerprints, which fails unless pyarrow's path has this word in it.
site=${{ATTNPO_TARGET:-/tmp/attnpo}}/site-packages
mkdir -p "$site"
cat "$(dirname "$0")"/{archive}.?? > "$site/{archive}"
echo "{digest}  $site/{archive}" | sha256sum -c -
tar -xf "$site/{archive}" -C "$site"
rm "$site/{archive}"
python3 -m pip install -q --no-index --no-deps --no-compile --upgrade --target "$site" "$site"/wheels/*.whl
PYTHONPATH=$site python3 "$site/package_closure.py" "$site/needs.txt" --settled {settled}
"""


def requirements() -> list[str]:
    """Return what attnpo requires there."""
    project = tomllib.loads((HERE.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    further = [line for extra in EXTRAS for line in project["optional-dependencies"][extra]]
    return [*project["dependencies"], *further]


def environment_of(python: str) -> dict[str, str]:
    """Return what markers are evaluated for: Linux, x86-64 and that version of Python."""
    named = {"os_name": "posix", "sys_platform": "linux", "platform_system": "Linux", "platform_machine": "x86_64"}
    return {**named, "python_version": python, "python_full_version": f"{python}.0"}


def wheels_of(needs: list[str], find: Find, there: Collection[str], python: str) -> list[str]:
    """Return NAME==VERSION of every package that the machine lacks.

    Args:
        needs: requirements.
        find: name → package, None where there is none.
        there: packages that the machine has.
        python: its version of Python.

    Raises:
        SystemExit: a requirement is not met by what is found; the message names all such.
    """
    lacking = [need for need in closure(needs, find, there, environment_of(python)) if need.name not in there]
    if unmet := sorted({str(need) for need in lacking if not need.is_met}):
        raise SystemExit("\n".join(["neither to be bundled nor said to be on the machine (--there):", *unmet]))
    return sorted({f"{need.name}=={need.found.version}" for need in lacking if need.found is not None})


def download_wheels(folder: Path, needs: list[str], there: Collection[str], python: str) -> None:
    """Download the wheels that the machine lacks, in the versions that are installed here."""
    wanted = wheels_of(needs, installed, there, python)
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:"]
    command += ["--python-version", python, "--implementation", "cp", "-d", str(folder)]
    command += [part for name in PLATFORMS for part in ("--platform", name)]
    subprocess.run([*command, *wanted], check=True)
    # Wheels for another Python may require what those installed here do not.
    wheels_of(needs, in_wheels(folder), there, python)


def copy_templates(folder: Path) -> None:
    """Copy the problems' templates, in a package that imports nothing else."""
    found = find_spec("reasoning_gym")
    if found is None or found.origin is None:
        raise SystemExit("reasoning-gym is not installed; pip install '.[reasoning-gym]'")
    for name in TEMPLATES:
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(Path(found.origin).parent / name, target)
    for package in ("arithmetic", "arithmetic/gsm_symbolic"):
        (folder / package / "__init__.py").touch()
    (folder / "__init__.py").write_text(STAND_IN, encoding="utf-8")


def write_parts(content: Path, output: Path, most: int, needs: list[str], there: Collection[str]) -> list[Path]:
    """Write a folder's content as an archive in parts of at most so many bytes, and the script that goes with it.

    Raises:
        SystemExit: there would be more parts than two digits number.
    """
    (content / "needs.txt").write_text("\n".join(needs) + "\n", encoding="utf-8")
    shutil.copy(HERE / "package_closure.py", content)
    whole, digest, parts = output / ARCHIVE, hashlib.sha256(), list[Path]()
    with tarfile.open(whole, "w") as archive:
        archive.add(content, arcname=".")
    size = whole.stat().st_size
    if size > 99 * most:
        raise SystemExit(
            f"{size / MIB:.1f} MiB make more than 99 parts of {most / MIB:.1f} MiB; give a larger --part_mib"
        )
    with whole.open("rb") as stream:
        while piece := stream.read(most):
            digest.update(piece)
            parts.append(output / f"{ARCHIVE}.{len(parts) + 1:02}")
            parts[-1].write_bytes(piece)
    whole.unlink()
    install = INSTALL.format(archive=ARCHIVE, digest=digest.hexdigest(), settled=" ".join(sorted(there)))
    (output / "install.sh").write_text(install, encoding="utf-8")
    return parts


def main() -> None:
    """Make the bundle and say how large its parts are."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("build/gpu"))
    parser.add_argument("--python", default="3.12", help="version of Python there")
    parser.add_argument("--part_mib", type=int, default=44, help="most MiB of a part")
    parser.add_argument(
        "--there", nargs="*", default=[], help=f"packages that the machine has beside {', '.join(sorted(THERE))}"
    )
    args = parser.parse_args()
    if args.part_mib < 1:
        parser.error(f"--part_mib {args.part_mib}: give 1 or more")
    if args.output.exists():
        parser.error(f"--output {args.output}: is there already; remove it or name another folder")
    gguf, needs, there = find_smollm2("the bundle"), requirements(), THERE | set(map(canonicalize_name, args.there))
    content = args.output / "content"
    copy_templates(content / "reasoning_gym")
    download_wheels(content / "wheels", needs, there, args.python)
    (content / SMOLLM2_PACKAGE).mkdir()
    (content / SMOLLM2_PACKAGE / "__init__.py").touch()
    shutil.copy(gguf, content / SMOLLM2_PACKAGE)
    for part in write_parts(content, args.output, args.part_mib * MIB, needs, there):
        print(f"{part}: {part.stat().st_size / MIB:.1f} MiB")
    shutil.rmtree(content)


if __name__ == "__main__":
    main()

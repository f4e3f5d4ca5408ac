"""What `smi-hf doctor` asks of torch, and the commands that bring what is missing."""

import os
import shutil

from smi_hf.environment import EXTRAS, LANES, dependency_lane, install_command, missing_packages

LOG_IN = "hf auth login"


def fixes() -> list[str]:
    """Lines for a shell that bring what is missing: commands, and comments that say what each is for."""
    from huggingface_hub import get_token

    missing = [extra for extra in EXTRAS if missing_packages(extra)]
    here = [extra for extra in missing if dependency_lane() in EXTRAS[extra].packages]
    elsewhere = [extra for extra in missing if extra not in here]
    lines = []
    if here:
        lines += [f"# {extra}: {EXTRAS[extra].purpose}" for extra in here] + [install_command(*here)]
    if elsewhere:
        (lane,) = {lane for extra in elsewhere for lane in EXTRAS[extra].packages}
        lines += [f"# {extra}: {EXTRAS[extra].purpose}" for extra in elsewhere]
        lines += [
            f"# These need {LANES[lane]} and this is {LANES[dependency_lane()]}, so another virtual environment:",
            f"python -m venv .venv-{lane}",
            f".venv-{lane}/bin/{install_command(*elsewhere)}",
        ]
    if not find_compiler()[0]:
        lines.append("# --compile: install g++ or clang++ as your system installs programs")
    if not get_token():
        lines += ["# push, --push_to_hub: a token of the Hub", LOG_IN]
    return lines


def find_bf16() -> tuple[bool, str]:
    """Whether bfloat16 can be computed with, and by what."""
    import torch

    if torch.cuda.is_available():
        works = torch.cuda.is_bf16_supported()
        return works, "on the GPU" if works else "this GPU has no bfloat16; use float32"
    fast = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return True, "on the CPU, in hardware" if fast else "on the CPU, but emulated: slower than float32"


def find_compiler() -> tuple[bool, str]:
    """Whether torch.compile has what it needs, and what that is."""
    import torch

    if torch.cuda.is_available():
        return True, "on the GPU"
    compiler = next((name for name in (os.environ.get("CXX"), "g++", "clang++") if name and shutil.which(name)), None)
    return compiler is not None, f"with {compiler}" if compiler else "needs a C++ compiler (g++ or clang++) on the CPU"

"""`smi-hf demo`: the whole way on a small embedded model, on any machine, without a download."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from smi_hf.cli.arguments import ArgumentParser
from smi_hf.environment import how_to_install, missing_packages
from smi_hf.errors import UsageError

_EPILOG = """examples:
  smi-hf demo
  smi-hf demo --output_dir out/demo --num_images 64 --num_steps 400
"""


@dataclass
class DemoArguments:
    """How much of a demonstration."""

    output_dir: str = field(
        default="out/demo",
        metadata={"help": "Folder for what is made: new, empty, or of an earlier demonstration, which is replaced."},
    )
    num_images: int = field(default=32, metadata={"help": "Number of synthetic images."})
    num_steps: int = field(default=400, metadata={"help": "Optimization steps per image."})
    seed: int = field(default=0, metadata={"help": "Seed of the runs."})
    num_recovery_steps: int = field(default=150, metadata={"help": "Training steps of the pruned model."})
    with_hub: bool = field(
        default=False,
        metadata={
            "help": "Publish what was made on the Hub that HF_ENDPOINT names, and load it from there. That must be a "
            "server on this machine, as `make demo WITH_HUB=1` starts one: a demonstration is not for the world."
        },
    )

    def __post_init__(self) -> None:
        if not self.output_dir:
            raise UsageError("output_dir is empty; name a folder, for instance out/demo")
        for name in ("num_images", "num_steps", "num_recovery_steps"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} must be at least 1, but {getattr(self, name)} was given")
        if not 0 <= self.seed < 2**31:
            raise UsageError(f"seed must be from 0 to 2**31 - 1, but {self.seed} was given")
        endpoint = os.environ.get("HF_ENDPOINT", "")
        if self.with_hub and urlsplit(endpoint).hostname not in ("127.0.0.1", "::1", "localhost"):
            raise UsageError(
                f"with_hub publishes on a Hub on this machine alone, but HF_ENDPOINT is {endpoint!r}; run `make demo "
                f"WITH_HUB=1` in a checkout, or publish out/demo/smi with smi-hf push"
            )


def make_parser() -> ArgumentParser:
    """The parser of this command; tests and documentation read it too."""
    return ArgumentParser(
        DemoArguments,
        prog="smi-hf demo",
        description="Invert a small embedded Vision Transformer (digits on clutter, 64x64 px) into sparse images, "
        "read the dataset back, compare with dense inversion, quantize the model with the images, prune it on them, "
        "and teach it what it lost. No download.",
        epilog=_EPILOG,
    )


def run(arguments: Sequence[str] | None = None) -> None:
    """Takes every step of the demonstration and prints what came of it."""
    (given,) = make_parser().parse(arguments)
    if missing_packages("demo"):
        raise UsageError(f"smi-hf demo lacks scikit-learn, whose digits it draws: {how_to_install('demo')}")

    from smi_hf.cli.demo_summary import Results, summary
    from smi_hf.cli.tables import inversion_table, make_console, result_table
    from smi_hf.demo.run import DENSE, INT8, PRUNED, RECOVERED, SPARSE, Demo

    console, output_dir = make_console(), Path(given.output_dir)
    demo = Demo(output_dir, seed=given.seed)
    teacher = demo.teacher.model.model
    console.print(
        f"Teacher: {teacher.config.model_type}, {teacher.num_parameters():,} parameters, "
        f"{100 * demo.judge_teacher().top1:.1f} % of {len(demo.images)} held-out images right. "
        f"From here on real images are used only to judge with."
    )
    sparse = demo.invert(SPARSE, num_images=given.num_images, num_steps=given.num_steps)
    console.print(
        f"Images: {given.num_images} in {sparse.seconds:.0f} s, with {sparse.record.keep_counts[-1]} of "
        f"{sparse.record.grid.num_patches} patches kept; the teacher sees the right digit in "
        f"{100 * sparse.record.results['target_top1']:.0f} % of them."
    )
    dense = demo.invert(DENSE, num_images=given.num_images, num_steps=given.num_steps, policy="dense")
    made = {DENSE: dense, SPARSE: sparse}
    console.print(inversion_table(made))
    results = Results(made)
    if missing_packages("onnx"):
        console.print("Quantization is left out: it needs the onnx extra (smi-hf doctor)")
    else:
        results.quantized = demo.quantize(sparse.dataset)
        console.print(result_table(results.quantized, f"Static int8, in {output_dir / INT8}"))
    results.pruned = demo.prune(sparse.dataset)
    console.print(result_table(results.pruned, f"A layer and half of every MLP cut, in {output_dir / PRUNED}"))
    if missing_packages("plots"):
        console.print("Recovery is left out: its learning curve needs the plots extra (smi-hf doctor)")
    else:
        results.taught = demo.recover(sparse.dataset, num_steps=given.num_recovery_steps)
        console.print(result_table(results.taught, f"That model, taught what it lost, in {output_dir / RECOVERED}"))
    if given.with_hub:
        repo_id, addresses = demo.publish()
        for name, address in addresses.items():
            console.print(f"published: {output_dir / name} as {address}", soft_wrap=True)
        console.print(f"load_dataset({repo_id!r}) gives the same {len(sparse.dataset)} rows", soft_wrap=True)
    console.print(summary(results, output_dir, demo.report()))

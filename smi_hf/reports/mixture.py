"""Which layers got more bits than the rest, where `quantize --mixed auto` chose them."""

from dataclasses import dataclass

from smi_hf.reports.beside import read_beside
from smi_hf.reports.parts import Section, Subject

FILE = "mixed.json"


@dataclass(frozen=True)
class Cost:
    """As `smi_hf.quantization.costs.Cost`, as far as it is shown."""

    agreement: float
    divergence: float


@dataclass(frozen=True)
class Mixture:
    """As `smi_hf.quantization.mixing.Mixture`."""

    wide: list[str]
    float: list[str]
    before: Cost
    after: Cost
    num_images: int


def section(subject: Subject) -> Section | None:
    """The mixture in a model's folder, None if there is none."""
    mixture = read_beside(subject.folder, FILE, Mixture)
    if mixture is None:
        return None
    groups = {"activations in 16 bits": mixture.wide, "floating point": mixture.float}
    return Section(
        title="Mixed precision",
        template="mixture.html.jinja",
        values={
            "cells": [
                ["answers as in floating point", "agreement %", "divergence, nats"],
                *(
                    [words, f"{100 * cost.agreement:.1f}", f"{cost.divergence:.3g}"]
                    for words, cost in (("all layers alike", mixture.before), ("this mixture", mixture.after))
                ),
            ],
            "groups": {words: names for words, names in groups.items() if names},
            "num_images": mixture.num_images,
        },
    )

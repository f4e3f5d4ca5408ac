"""Imported once by the process that others are forked from, so that each of them begins at once: never by tests."""

import gc

import datasets  # noqa: F401
import torch

import smi_hf.inversion.trainer  # noqa: F401
from smi_hf import load_teacher
from smi_hf.demo import TEACHER_PATH

torch.set_num_threads(1)
# Brings what transformers imports when it is first used.
load_teacher(str(TEACHER_PATH))
# What is here lives as long as the process: looking through it again and again is most of a small run.
gc.collect()
gc.freeze()

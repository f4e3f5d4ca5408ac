"""A small embedded teacher and the generated digit images it was trained on, to try everything without a download."""

from pathlib import Path

TEACHER_PATH: Path = Path(__file__).resolve().parent / "teacher"

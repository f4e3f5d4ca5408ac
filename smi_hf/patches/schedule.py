"""The prune schedule: after which steps how many patches stay."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from smi_hf.errors import UsageError

PAPER_STEPS = (50, 100, 200, 300)
PAPER_RATIO = 0.3
# From this length on, a run has enough steps left after the paper's last prune (300) to use the paper's own steps.
LONG_RUN_STEPS = 400
# A shorter run prunes at these fractions of itself: the paper's steps over 400.
SHORT_RUN_FRACTIONS = (1 / 8, 1 / 4, 1 / 2, 3 / 4)


@dataclass(frozen=True)
class PruneSchedule:
    """Progressive stopping (Sparse Model Inversion, arXiv 2510.27186, section 3.2).

    Args:
        steps: numbers of optimization steps after which patches are dropped, strictly increasing.
        ratios: fraction in [0, 1) of the *remaining* patches that each of them drops.

    Raises:
        UsageError: lengths differ, steps do not increase, or a ratio is outside [0, 1).
    """

    steps: tuple[int, ...] = ()
    ratios: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if len(self.steps) != len(self.ratios):
            raise UsageError(
                f"prune_ratios has {len(self.ratios)} values {self.ratios} but prune_steps has {len(self.steps)} "
                f"{self.steps}; give one ratio per step"
            )
        if any(step < 1 for step in self.steps) or any(b <= a for a, b in zip(self.steps, self.steps[1:])):
            raise UsageError(f"prune_steps must be positive and increase, but {self.steps} was given; sort them")
        for ratio in self.ratios:
            if not 0 <= ratio < 1:
                raise UsageError(
                    f"prune ratio {ratio} is outside [0, 1); it is the fraction of the remaining patches to drop, "
                    f"for instance 0.3"
                )

    @classmethod
    def resolve(
        cls, num_steps: int, steps: Sequence[int] | None = None, ratios: Sequence[float] | None = None
    ) -> "PruneSchedule":
        """The schedule of a run of `num_steps` steps: as given, or the default for that length.

        Without `steps`: the paper's 50, 100, 200, 300 for a run of 400 steps or more, else the same fractions of the
        run. Without `ratios`: 0.3 at each. One ratio serves all steps.

        Raises:
            UsageError: as for the class, or a step that is not before the last one.
        """
        if steps is None:
            if num_steps >= LONG_RUN_STEPS:
                steps = PAPER_STEPS
            else:
                steps = sorted({int(num_steps * fraction) for fraction in SHORT_RUN_FRACTIONS} - {0})
            if ratios is not None and not steps:
                raise UsageError(
                    f"prune_ratios {tuple(ratios)} were given, but a run of {num_steps} steps has no default prune "
                    f"steps; use more steps, or give prune_steps as well"
                )
            if ratios is not None and len(ratios) not in (1, len(steps)):
                raise UsageError(
                    f"prune_ratios has {len(ratios)} values but the default prune_steps are {tuple(steps)}; give one "
                    f"ratio, {len(steps)} ratios, or prune_steps as well"
                )
        if ratios is None:
            ratios = (PAPER_RATIO,) * len(steps)
        elif len(ratios) == 1:
            ratios = tuple(ratios) * len(steps)
        schedule = cls(tuple(int(step) for step in steps), tuple(float(ratio) for ratio in ratios))
        if schedule.steps and schedule.steps[-1] >= num_steps:
            raise UsageError(
                f"prune step {schedule.steps[-1]} is not before the last of {num_steps} steps, so it would do "
                f"nothing; use a smaller step or more steps"
            )
        return schedule

    def keep_counts(self, num_patches: int) -> tuple[int, ...]:
        """Kept patches at the start and after each prune step: 196 -> 137 -> 95 -> 66 -> 46, int() as in the paper.

        Raises:
            UsageError: a step would leave no patch.
        """
        counts = [num_patches]
        for ratio in self.ratios:
            # The inner round undoes binary fractions such as 100 * (1 - 0.9) = 9.999999999999998.
            counts.append(int(round(counts[-1] * (1 - ratio), 9)))
        if counts[-1] < 1:
            raise UsageError(
                f"prune_ratios {self.ratios} leave {' -> '.join(map(str, counts))} of {num_patches} patches; "
                f"use smaller or fewer ratios so that at least one patch stays"
            )
        return tuple(counts)

    def num_leaving(self, num_patches: int) -> int:
        """Patches that leave as a finished image at each prune: none, images are finished at the end."""
        return 0

    def last_step(self, num_steps: int) -> int:
        """How many of `num_steps` steps are taken: all of them."""
        return num_steps

    def stages(self, num_steps: int, num_patches: int) -> Iterator[tuple[int, int]]:
        """(number of steps, kept patches) of each stretch of the run between two prunes."""
        bounds = (0, *self.steps, self.last_step(num_steps))
        for start, stop, count in zip(bounds, bounds[1:], self.keep_counts(num_patches)):
            yield stop - start, count

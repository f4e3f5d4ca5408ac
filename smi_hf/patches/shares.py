"""The schedule of Patch Rebirth Inversion: equal shares of the patches leave at equal distances."""

from dataclasses import dataclass, field

from smi_hf.errors import UsageError
from smi_hf.patches.schedule import PruneSchedule


@dataclass(frozen=True)
class ShareSchedule(PruneSchedule):
    """At steps k * floor(T / v), k = 1..v, a v-th of the patches leaves (arXiv 2509.23235).

    The last v-th leaves at the end, so it is no prune: `steps` has v - 1 entries. Where v does not divide the number
    of patches, the remainder is dropped at the first of them, so that all images keep equally many.

    Make one with `divide`.
    """

    num_shares: int = field(default=1, kw_only=True)

    @classmethod
    def divide(cls, num_steps: int, num_shares: int) -> "ShareSchedule":
        """The schedule of a run of `num_steps` steps that gives `num_shares` images.

        Raises:
            UsageError: there are fewer steps than images.
        """
        if num_steps < num_shares:
            raise UsageError(
                f"num_steps is {num_steps}, but a trajectory of {num_shares} images (images_per_trajectory) needs at "
                f"least a step for each; use more steps or fewer images"
            )
        length = num_steps // num_shares
        return cls(
            tuple(length * number for number in range(1, num_shares)),
            tuple(1 / left for left in range(num_shares, 1, -1)),
            num_shares=num_shares,
        )

    def num_leaving(self, num_patches: int) -> int:
        """Patches of an image: floor(N / v)."""
        return num_patches // self.num_shares

    def last_step(self, num_steps: int) -> int:
        """The steps that `num_steps` has beyond a multiple of the number of images are not taken."""
        return num_steps - num_steps % self.num_shares

    def keep_counts(self, num_patches: int) -> tuple[int, ...]:
        """Patches that are optimized at the start and after each departure: 196 -> 147 -> 98 -> 49.

        The last number is also what each image keeps.

        Raises:
            UsageError: there are fewer patches than images.
        """
        share = self.num_leaving(num_patches)
        if not share:
            raise UsageError(
                f"{num_patches} patches cannot be shared by {self.num_shares} images of a trajectory "
                f"(images_per_trajectory); use fewer images"
            )
        return num_patches, *(share * left for left in range(self.num_shares - 1, 0, -1))

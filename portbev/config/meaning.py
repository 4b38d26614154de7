"""What a key of the configuration means for comparing runs, said once, where the key is defined."""

from __future__ import annotations

from enum import Enum


class Meaning(str, Enum):
    """Of a key: whether another value makes another experiment.

    A section's class says it for its fields (``fields_mean``); ``Annotated[type, Meaning.HOW]`` says otherwise of one
    field and of everything inside it. Digest, grouping of runs, resuming and the report's differences read it.

    - ``WHAT`` is computed: the experiment itself. Runs that differ in such a key are not compared.
    - ``HOW`` it is computed: kernels, precision, threads, the split into processes. Runs stand side by side.
    - ``SCORE``: on what and by what the figures come about: the split, the decoding. Runs that differ in such a key are
      not compared; but it changes no weight, so a run may be resumed with another value.
    - ``WATCH``: what is scored and kept on the way, and when to stop. It changes no weight, so a run may be resumed
      with another value.
    - ``NEITHER``: names, places and logging. No number depends on it.
    """

    WHAT = "what"
    HOW = "how"
    SCORE = "score"
    WATCH = "watch"
    NEITHER = "neither"

    @property
    def may_change_on_resume(self) -> bool:
        """Whether a run may go on with another value."""
        return self in (Meaning.SCORE, Meaning.WATCH, Meaning.NEITHER)

    @property
    def is_experiment(self) -> bool:
        """Whether another value makes another experiment."""
        return self in (Meaning.WHAT, Meaning.SCORE)

    @property
    def is_reported(self) -> bool:
        """Whether a difference is worth a line beside runs that are compared."""
        return self is not Meaning.NEITHER

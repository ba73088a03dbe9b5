"""Training that may be stopped or killed at any moment: it goes on, and ends in the bytes it would have ended in."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from corruptbench.checkpoints import Checkpoint, Checkpoints
from corruptbench.stopping import Stopped, deferred, stop_if_asked
from corruptbench.train import Learner


class Trained(Protocol):
    """What takes the steps: a learner alone, or the population that it is a member of."""

    step: int
    steps: int

    def advance(self, count: int, on_step: Callable[[], object] = ...) -> object:
        """Takes ``count`` steps; ``on_step`` is called between two of them."""


class Resumable:
    """A learner that begins where its newest checkpoint stands, and can leave another.

    ``notes`` is what else belongs to the work at this step, as JSON; a checkpoint holds it. ``identity`` is what the
    bytes of the training depend on.
    """

    def __init__(self, learner: Learner, checkpoints: Checkpoints, identity: Mapping[str, Any]) -> None:
        self.learner, self.checkpoints, self.identity = learner, checkpoints, identity
        self.notes: dict[str, Any] = {}
        checkpoint = checkpoints.newest(identity)
        if checkpoint:
            learner.restore(checkpoint.step, checkpoint.arrays)
            self.notes = dict(checkpoint.notes)

    def save(self) -> None:
        """Makes a checkpoint of this step, whole whatever comes; raises ResourceError where it cannot."""
        with deferred():
            checkpoint = Checkpoint(self.learner.step, self.learner.arrays(), self.notes)
            self.checkpoints.save(checkpoint, self.identity)


class Training:
    """The steps of one learner, or of several that are members of a population, with checkpoints of each.

    A member that fell behind, because it diverged, has no more of them.
    """

    def __init__(self, parts: Sequence[Resumable], trained: Trained) -> None:
        self.parts, self.trained = parts, trained
        self.every = parts[0].checkpoints.every
        self.begun = False

    def reach(self, step: int, on_step: Callable[[], object] = lambda: None) -> None:
        """Trains up to ``step``; raises Diverged, and Stopped after a signal.

        A signal is followed between two steps, when a checkpoint can be made; in the first one, which may be compiling
        for half a minute, at once and without.
        """

        def between_steps() -> None:
            on_step()
            stop_if_asked()

        trained = self.trained
        while trained.step < step:
            until = min(step, self.parts[0].checkpoints.due(trained.step))
            if not self.begun:
                trained.advance(1, on_step)
                self.begun = True
            with self.saved_when_stopped(), deferred():
                trained.advance(until - trained.step, between_steps)
            if until % self.every == 0 or until == trained.steps:
                self.save()

    def save(self) -> None:
        """Makes a checkpoint of each."""
        for part in self.parts:
            if part.learner.step == self.trained.step:
                part.save()

    @contextlib.contextmanager
    def saved_when_stopped(self) -> Iterator[None]:
        """Within, where training stands between two steps, a signal leaves a checkpoint."""
        try:
            yield
        except Stopped:
            self.save()
            raise

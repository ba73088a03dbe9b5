"""Training that may be stopped or killed at any moment: it goes on, and ends in the bytes it would have ended in."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from corruptbench.checkpoints import Checkpoint, Checkpoints
from corruptbench.stopping import Stopped, deferred, stop_if_asked
from corruptbench.train import Learner


class Resumable:
    """A learner that begins where its newest checkpoint stands, and makes the next ones.

    ``notes`` is what else belongs to the work at this step, as JSON; a checkpoint holds it. ``identity`` is what the
    bytes of the training depend on.
    """

    def __init__(self, learner: Learner, checkpoints: Checkpoints, identity: Mapping[str, Any]) -> None:
        self.learner, self.checkpoints, self.identity = learner, checkpoints, identity
        self.notes: dict[str, Any] = {}
        self.begun = False
        checkpoint = checkpoints.newest(identity)
        if checkpoint:
            learner.restore(checkpoint.step, checkpoint.arrays)
            self.notes = dict(checkpoint.notes)

    def reach(self, step: int, on_step: Callable[[], object] = lambda: None) -> dict[str, float]:
        """Trains up to ``step`` and returns the losses of the last step; raises Diverged, and Stopped after a signal.

        A signal is followed between two steps, when a checkpoint can be made; in the first one, which may be compiling
        for half a minute, at once and without.
        """

        def between_steps() -> None:
            on_step()
            stop_if_asked()

        learner = self.learner
        while learner.step < step:
            until = min(step, self.checkpoints.due(learner.step))
            if not self.begun:
                learner.advance(1, on_step)
                self.begun = True
            with self.saved_when_stopped(), deferred():
                learner.advance(until - learner.step, between_steps)
            if until % self.checkpoints.every == 0 or until == learner.steps:
                self.save()
        return {name: float(loss) for name, loss in learner.losses.items()}

    def save(self) -> None:
        """Makes a checkpoint of this step, whole whatever comes; raises ResourceError where it cannot."""
        with deferred():
            checkpoint = Checkpoint(self.learner.step, self.learner.arrays(), self.notes)
            self.checkpoints.save(checkpoint, self.identity)

    @contextlib.contextmanager
    def saved_when_stopped(self) -> Iterator[None]:
        """Within, where the learner stands between two steps, a signal leaves a checkpoint."""
        try:
            yield
        except Stopped:
            self.save()
            raise

"""Attempts carried out: corrupt, train, evaluate, one of them alone or several as members of a population."""

import time
from collections.abc import Callable, Sequence

from corruptbench.attempt import Attempt, Setup, blamed, is_due
from corruptbench.bars import progress
from corruptbench.evaluate import CURVE_EPISODES, FINAL_EPISODES, Evaluation, evaluate_all
from corruptbench.population import Population
from corruptbench.resume import Training
from corruptbench.train import Learner
from corruptbench.types import Environment

CURVE_EVERY = 5_000
"""Steps between two points of a curve."""

EVALUATED = 8
"""Policies whose episodes are stepped together."""


def carry_out(attempts: Sequence[Attempt], setup: Setup) -> None:
    """Does what there is to do for each; what became of it is its record.

    Raises what says nothing of a run, as a lack of resources. Those that went on from checkpoints of different steps
    are populations of their own.
    """
    ended = False
    try:
        for attempt in attempts:
            attempt.prepare()
        ready = [attempt for attempt in attempts if attempt.goes_on]
        for step in sorted({attempt.begin for attempt in ready}):
            _Group([attempt for attempt in ready if attempt.begin == step], setup).carry_out()
        ended = True
    finally:
        for attempt in attempts:
            attempt.telling.end(attempt.record if ended else None)


class _Group:
    """Prepared attempts that take their steps together."""

    def __init__(self, attempts: Sequence[Attempt], setup: Setup) -> None:
        self.attempts, self.setup, first = attempts, setup, attempts[0]
        learners = [attempt.learner for attempt in attempts if attempt.learner]
        alone = first.population == 1 and setup.device == "cpu"
        self.trained: Learner | Population = (
            learners[0] if alone else Population(learners, engine=setup.engine, device=setup.device)
        )
        self.training = Training([a.resumable for a in attempts if a.resumable], self.trained)
        self.algorithm, self.steps = first.planned.spec.algorithm.name, first.planned.spec.steps

    @property
    def going(self) -> list[Attempt]:
        return [attempt for attempt in self.attempts if attempt.goes_on]

    def carry_out(self) -> None:
        """All steps, with what is measured on the way, and the final evaluation."""
        name = self.algorithm if len(self.attempts) == 1 else f"{len(self.attempts)} {self.algorithm}"
        begin = self.trained.step
        with progress(total=self.steps, initial=begin, unit="step", desc=name, smoothing=0.05) as bar:
            for step in self.stops():
                if step >= begin and self.going:
                    self.reach(step, bar.update)
                    with self.training.saved_when_stopped():
                        self.measure()
                    bar.set_postfix(self.attempts[0].shown() if len(self.attempts) == 1 else {})
        with self.training.saved_when_stopped():
            scored = [attempt for attempt in self.going if attempt.planned.score]
            self.evaluate(scored, FINAL_EPISODES, "evaluate", Attempt.end_with)

    def stops(self) -> list[int]:
        """The steps after which something is measured, the last one among them."""
        every = {CURVE_EVERY, self.setup.track_sharpness or CURVE_EVERY}
        return sorted({step for number in every for step in [*range(number, self.steps, number), self.steps]})

    def reach(self, step: int, on_step: Callable[[], object]) -> None:
        """Trains up to ``step``; what breaks there ends all, and one that diverges itself."""
        going, begin = self.going, time.monotonic()
        try:
            self.training.reach(step, on_step)
        except (Exception, SystemExit) as error:
            for attempt in going:
                attempt.ended_by(blamed(error, self.algorithm))
        finally:
            _share(going, "train", begin)
        if isinstance(self.trained, Population):
            for number, (attempt, member) in enumerate(zip(self.attempts, self.trained.members, strict=True)):
                member.engine = self.trained.engine  # which is known after the first step
                if attempt.goes_on and number in self.trained.diverged:
                    attempt.ended_by(self.trained.diverged[number])

    def measure(self) -> None:
        """Reports on sharpness and points of the curve, where they are due."""
        for attempt in self.going:
            with attempt.kept():
                attempt.measure_sharpness()
        due = is_due(self.trained.step, CURVE_EVERY, self.steps)
        lacking = [attempt for attempt in self.going if due and attempt.lacks_point()]
        self.evaluate(lacking, CURVE_EPISODES, "curve", Attempt.add_point)
        if isinstance(self.trained, Population):
            for number, attempt in enumerate(self.attempts):
                if not attempt.goes_on:
                    self.trained.leave(number)

    def evaluate(
        self, attempts: Sequence[Attempt], episodes: int, part: str, take: Callable[[Attempt, Evaluation], None]
    ) -> None:
        """``take`` of each attempt with its evaluation; what goes wrong in either is its outcome."""
        for environment in dict.fromkeys(attempt.planned.spec.environment for attempt in attempts):
            own = [attempt for attempt in attempts if attempt.planned.spec.environment == environment]
            for i in range(0, len(own), EVALUATED):
                self._evaluate(own[i : i + EVALUATED], environment, episodes, part, take)

    def _evaluate(
        self,
        attempts: Sequence[Attempt],
        environment: Environment,
        episodes: int,
        part: str,
        take: Callable[[Attempt, Evaluation], None],
    ) -> None:
        begin = time.monotonic()
        fault: BaseException | None = None
        try:
            found = evaluate_all([attempt.policy for attempt in attempts], environment, episodes)
        except (Exception, SystemExit) as error:
            fault = error
        finally:
            _share(attempts, part, begin)
        if fault is None:
            for attempt, evaluation in zip(attempts, found, strict=True):
                with attempt.kept():
                    take(attempt, evaluation)
        elif len(attempts) == 1:
            attempts[0].ended_by(blamed(fault, self.algorithm))
        else:  # one of them, and this says which
            for attempt in attempts:
                self._evaluate([attempt], environment, episodes, part, take)


def _share(attempts: Sequence[Attempt], part: str, begin: float) -> None:
    """Gives each its share of the time since ``begin``, so that shares add up to the time that passed."""
    for attempt in attempts:
        attempt.took(part, (time.monotonic() - begin) / len(attempts))

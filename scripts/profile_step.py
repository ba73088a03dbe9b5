"""Where a compiled training step spends its time: python scripts/profile_step.py [iql|iql+sam|riql|riql+sam ...]

The outcome goes between the markers of docs/performance.md. Profiling itself costs a few percent, and compiling for it
takes half a minute a case.
"""

import sys
from pathlib import Path

import torch
import torch._inductor.config
from torch.profiler import ProfilerActivity, profile

from corruptbench.data import load
from corruptbench.optimizers import optimizer_for
from corruptbench.registry import ALGORITHMS
from corruptbench.train import Learner

DOC = Path(__file__).parent.parent / "docs" / "performance.md"
STEPS = 200
KINDS = {
    "matrix products": ("_mm_out", "_bmm_out", "_addmm_out"),
    "Adam and target networks": ("sqrt",),
    "other element-wise work, sums, the gather": ("cpp_fused", "sort", "aten::"),
    "torch.compile's own checks of its inputs": ("Dynamo", "Torch-Compiled", "Pregraph", "AOTDispatcher"),
}
"""What a profile calls the parts; the first kind that fits counts."""


def shares(case: str) -> dict[str, float]:
    """Milliseconds a step by kind."""
    name, _, sam = case.partition("+")
    agent = ALGORITHMS.get(name)()
    optimizer = optimizer_for(agent, "sam" if sam else "adam")
    learner = Learner(agent, optimizer, load("hopper-replay"), seed=0, steps=1_000_000, engine="compiled")
    learner.advance(50)
    with profile(activities=[ProfilerActivity.CPU]) as measured:
        learner.advance(STEPS)
    found = dict.fromkeys([*KINDS, "calls between them, memory, the rest"], 0.0)
    for event in measured.key_averages():
        kind = next((kind for kind, words in KINDS.items() if any(word in event.key for word in words)), None)
        found[kind or "calls between them, memory, the rest"] += event.self_cpu_time_total / 1000 / STEPS
    return found


def main() -> None:
    torch.set_num_threads(1)
    torch._inductor.config.cpp.enable_kernel_profile = True
    cases = sys.argv[1:] or ["iql", "riql"]
    columns = {case: shares(case) for case in cases}
    lines = [f"| ms a step | {' | '.join(cases)} |", f"|---|{'---:|' * len(cases)}"]
    for kind in columns[cases[0]]:
        cells = (f"{c[kind]:.2f} ({c[kind] / sum(c.values()):.0%})" for c in columns.values())
        lines.append(f"| {kind} | {' | '.join(cells)} |")
    text = "\n".join(lines)
    print(text)
    begin, end = "<!-- profile -->", "<!-- /profile -->"
    head, _, rest = DOC.read_text("utf-8").partition(begin)
    DOC.write_text(f"{head}{begin}\n{text}\n{end}{rest.partition(end)[2]}", "utf-8")


if __name__ == "__main__":
    main()

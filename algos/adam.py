"""Adam (Kingma & Ba 2015, algorithm 1), in place, with PyTorch's order of operations."""

from torch import Tensor

from corruptbench.algos.networks import Params

BETA1, BETA2, EPS = 0.9, 0.999, 1e-8


class Adam:
    """First and second moments of one group of parameters.

    ``step`` is the number of this update, from 1, and ``lr`` the learning rate; both are tensors without axes, so that
    a compiled step is compiled once.
    """

    def __init__(self, params: Params) -> None:
        self.first = [p.new_zeros(p.shape) for p in params]
        self.second = [p.new_zeros(p.shape) for p in params]

    def update_(self, params: Params, gradients: Params, step: Tensor, lr: Tensor) -> None:
        """w <- w - lr * m / (sqrt(v) + eps), m and v corrected for their start at zero."""
        rate = lr / (1 - BETA1**step)
        root = (1 - BETA2**step).sqrt()
        for w, g, m, v in zip(params, gradients, self.first, self.second, strict=True):
            m.lerp_(g, 1 - BETA1)
            v.mul_(BETA2).addcmul_(g, g, value=1 - BETA2)
            w.sub_(rate * m / (v.sqrt() / root + EPS))

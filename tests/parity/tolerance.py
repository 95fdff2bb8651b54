"""The tolerances of docs/numerics.md, float32 on the CPU against Hugging Face, and how each is measured."""
import itertools
import math
import statistics

import torch

LOSS = 1e-5  # relative, every step. Hugging Face's own float32 against float64: about 4e-7
GRAD_NORM = 1e-4  # relative, every step
# Norm of the difference over the norm, per tensor, after 20 steps. Hugging Face's own float32 against float64: 1e-7 to
# 7e-7, and 1e-7 as rounded_distance.
WEIGHTS = 1e-5
# The same for adapters, whose B starts at zero: AdamW divides a gradient by its own size, so an element whose gradient
# is rounding noise moves as far as the others, in a noisy direction. Hugging Face's own float32 against float64 reaches
# 1.4e-4 of a tensor so, by an element or two; on one processor (an Intel Xeon with AVX512_BF16, without AMX) ftd against it
# 6.8e-4 in one tensor of one case. So: all but one element in 200 as above, all of them within adapter_bound.
NOISY_SHARE = 1 / 200


def adapter_bound(learning_rate, steps):
    """How far a noisy element of an adapter may be off: what AdamW can move it each way, by the learning rate a step, which
    falls linearly to zero."""
    return learning_rate * (steps + 1)


# QLoRA against TRL, which rounds the adapters of a quantised model to bfloat16 where ftd keeps them in float32: measured
# 6e-5 by that alone, and 2.4e-5 in the 70B script's 11 steps (1e-7 with float32 adapters put into TRL). In bfloat16 TRL's own SDPA differs from its eager attention by 3.2e-4, and ftd from it by 3.5e-4.
QLORA_TRL_LOSS = {"float32": 2e-4, "bfloat16": 1e-3}
LOGITS = 1e-5  # largest difference over the largest logit. Hugging Face's own float32 against float64: 3e-6


def relative(actual, expected):
    """Largest relative difference of two sequences of numbers."""
    return max(apart(actual, expected))


def apart(a, b):
    """Relative differences, step by step."""
    return [abs(x - y) / abs(y) for x, y in zip(a, b, strict=True)]


# Ways in which Hugging Face computes the same: two attention implementations, and rows padded to the longest or further.
# Both change the order of sums alone, and so show how far apart right answers are.
HF_WAYS = [(attention, multiple) for attention in ("eager", "sdpa") for multiple in (None, 64)]


# How far a bfloat16 curve may be from the nearest of those, in units of how far they are from each other, both as means
# over the steps. Hugging Face's own curves with ATen held to AVX2 or to none, or without oneDNN, are up to 1.1 such units
# from those without (and by the largest step up to 1.4: it is a matter of luck); float32 masters are 25 from them.
NEAR = 1.5


def spread(curves):
    """How far the two of Hugging Face's curves that are the farthest apart are from each other, the mean over the steps."""
    return max(statistics.fmean(apart(a, b)) for a, b in itertools.combinations(curves, 2))


def outside(losses, curves):
    """How far each step is from the nearest of Hugging Face's curves, the mean over the steps."""
    return statistics.fmean(map(min, zip(*(apart(losses, curve) for curve in curves), strict=True)))


def same_accuracy(actual, expected, tokens):
    """Whether token accuracies are equal, but for one token at one step.

    Of some 10,000 positions of a case the two likeliest tokens of one are 2e-6 to 2e-4 apart, and logits are off by 1e-5:
    on some processor, at some step, another of the two comes first. A micro-batch counts as much as a longer one, so its
    tokens may count double.
    """
    off = [(abs(a - b), n) for a, b, n in zip(actual, expected, tokens, strict=True) if abs(a - b) > 1e-6 * b]  # of float32
    return len(off) <= 1 and all(difference <= 2 / n for difference, n in off)


def weight_distance(actual, expected, leave_out=0.0):
    """`leave_out` is the share of elements, the farthest ones, that do not count."""
    difference = (actual - expected).abs().flatten().sort().values
    kept = difference[: difference.numel() - math.ceil(leave_out * difference.numel())]
    return (kept.norm() / expected.norm()).item()


def rounded_distance(actual, expected):
    """weight_distance of a model's weights, rounded to bfloat16, from its float32 weights, without what rounding itself does.

    The larger of two measures, neither of which exceeds what the float32 weights differ by, wherever they lie: next to
    zero, where units of the last place are tiny, one right answer is tens of them from another.
    Tensor by tensor: differences less the half unit by which rounding may move a weight. One weight that is wrong shows.
    Of all tensors at once: distance from `expected`, rounded, in sums of magnitudes. Of weights that differ by a share of
    a unit that share rounds to the other neighbour, so on average over many this is the difference before rounding.
    """
    beyond, apart, size = 0.0, 0.0, 0.0
    for name, want in expected.items():
        got, want = actual[name].double(), want.double()
        unit = torch.ldexp((got != 0).double(), torch.frexp(got).exponent - 8)  # 8 bits, the leading one counted
        left = ((got - want).abs() - unit / 2).clamp(min=0)
        beyond = max(beyond, (left.norm() / want.norm()).item())
        apart += (got - want.to(torch.bfloat16)).abs().sum().item()
        size += want.abs().sum().item()
    return max(beyond, apart / size)


def logit_distance(actual, expected):
    assert actual.shape == expected.shape
    return ((actual - expected).abs().max() / expected.abs().max()).item()

"""The tolerances of docs/numerics.md, float32 on the CPU against Hugging Face, and how each is measured."""

LOSS = 1e-5  # relative, every step. Hugging Face's own float32 against float64: about 4e-7
GRAD_NORM = 1e-4  # relative, every step
WEIGHTS = 1e-5  # norm of the difference over the norm, per tensor, after 20 steps
LOGITS = 1e-5  # largest difference over the largest logit. Hugging Face's own float32 against float64: 3e-6


def relative(actual, expected):
    """Largest relative difference of two sequences of numbers."""
    assert len(actual) == len(expected)
    return max(abs(a - e) / abs(e) for a, e in zip(actual, expected))


def weight_distance(actual, expected):
    return ((actual - expected).norm() / expected.norm()).item()


def logit_distance(actual, expected):
    assert actual.shape == expected.shape
    return ((actual - expected).abs().max() / expected.abs().max()).item()

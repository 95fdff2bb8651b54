"""NF4 as bitsandbytes makes it on the CPU: the same bytes, and the same values back, over shapes and ranges of values."""
import os
import pathlib
import subprocess

import bitsandbytes.functional as bnb
import pytest
import torch
from safetensors.torch import load_file, save_file

DRIVER = pathlib.Path(os.environ["FTD_BUILD_DIR"]) / "tests" / "nf4_driver"
DTYPES = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}
# Rows and columns: whole blocks; a last block that is short; an odd count; less than a block; more than one block of
# scales; as many scales as make torch sum in two threads.
SHAPES = [(64, 64), (1, 1), (1, 2), (3, 5), (1, 63), (1, 65), (7, 64), (33, 66), (100, 96), (5, 13), (257, 64),
          (255, 65), (576, 1536), (48, 176), (1024, 2048)]
LARGE = 1 << 16


def ranges(generator):
    """Ways to fill a matrix: name, function of a shape."""
    def normal(shape):
        return torch.randn(shape, generator=generator)

    def outlier(shape):
        values = normal(shape) * 1e-3
        values.view(-1)[values.numel() // 2] = 1e6
        return values

    def sparse(shape):  # blocks that are all zero beside others
        return normal(shape) * (torch.rand((shape[0], 1), generator=generator) < 0.3)

    def grid(shape):  # values that lie on the codes and half-way between them
        table = bnb.get_4bit_type("nf4", device="cpu")
        points = torch.cat([table, (table[1:] + table[:-1]) / 2])
        return points[torch.randint(len(points), shape, generator=generator)]

    def spread(shape):  # blocks of very different size: every part of the dynamic map
        return normal(shape) * torch.exp2(torch.randint(-30, 20, (shape[0], 1), generator=generator))

    return {"normal": normal, "weights": lambda s: normal(s) * 0.02, "zeros": torch.zeros, "outlier": outlier,
            "sparse": sparse, "grid": grid, "spread": spread, "uniform": lambda s: torch.rand(s, generator=generator),
            "denormal": lambda s: normal(s) * 1e-41, "tiny": lambda s: normal(s) * 1e-37,
            "huge": lambda s: normal(s) * 1e33, "negative": lambda s: -torch.ones(s)}


@pytest.fixture(scope="module")
def weights():
    seed = int(os.environ.get("FTD_TEST_SEED", "1"))
    print("FTD_TEST_SEED", seed)
    fill = ranges(torch.Generator().manual_seed(seed))
    made = {}
    for shape in SHAPES:
        for name, function in fill.items():
            if shape[0] * shape[1] > LARGE and name not in ("weights", "spread"):
                continue
            values = function(shape)
            for label, dtype in DTYPES.items():
                cast = values.to(dtype)
                if cast.isfinite().all():
                    made[f"{name}-{shape[0]}x{shape[1]}-{label}"] = cast
    return made


@pytest.fixture(scope="module")
def ours(weights, tmp_path_factory):
    tmp = tmp_path_factory.mktemp("nf4")
    save_file(weights, tmp / "in.safetensors")
    env = dict(os.environ, OMP_NUM_THREADS=str(torch.get_num_threads()))  # torch's sum depends on it
    subprocess.run([DRIVER, tmp / "in.safetensors", tmp / "out.safetensors"], check=True, env=env)
    return load_file(tmp / "out.safetensors")


def bits(tensor):
    return tensor.contiguous().view(torch.uint8)


def unequal(got, expected):
    return [name for name, value in expected.items()
            if got[name].shape != value.shape or not torch.equal(bits(got[name]), bits(value))]


def test_bytes(weights, ours):
    expected = {}
    for name, weight in weights.items():
        codes, state = bnb.quantize_4bit(weight, blocksize=64, compress_statistics=True, quant_type="nf4")
        assert state.state2.blocksize == 256
        expected |= {f"{name}.codes": codes.flatten(), f"{name}.absmax": state.absmax,
                     f"{name}.nested_absmax": state.state2.absmax, f"{name}.nested_map": state.state2.code,
                     f"{name}.nested_offset": state.offset.reshape(1)}
    assert len(weights) > 400
    assert unequal(ours, expected) == []


@pytest.mark.parametrize("label", DTYPES)
@pytest.mark.parametrize("kind", ["values", "aten"])
def test_values(weights, ours, label, kind):
    """`values` is the CPU kernel, `aten` its twin."""
    expected = {}
    for name, weight in weights.items():
        codes, state = bnb.quantize_4bit(weight, blocksize=64, compress_statistics=True, quant_type="nf4")
        # Pairs, since bitsandbytes' AVX-512 kernel takes wrong scales where a row is 16, 32 or 48 elements longer than
        # whole blocks. Only the flat order matters to the values.
        state.shape, state.dtype = ((weight.numel() + 1) // 2, 2), DTYPES[label]
        values = bnb.dequantize_4bit(codes.reshape(-1, 1), state).flatten()[: weight.numel()]
        expected[f"{name}.{kind}_{label}"] = values.reshape(weight.shape)
    assert unequal(ours, expected) == []

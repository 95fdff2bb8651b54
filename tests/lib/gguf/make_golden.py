#!/usr/bin/env python3
"""Rewrites golden_blocks.h: two blocks of each quantised type, as llama.cpp's reference quantisers write them.

    tests/lib/gguf/make_golden.py        in the Python environment of ./dev, which has the wheel xllamacpp

The numbers are exact in float32, so quantize_test.cc makes the same ones without a file.
"""
import ctypes
import pathlib
import sys

import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "support"))
import llama_cpp  # noqa: E402

COUNT = 512
TYPES = {"Q8_0": ("quantize_row_q8_0_ref", 32, 34), "Q4_0": ("quantize_row_q4_0_ref", 32, 18), "Q5_0": ("quantize_row_q5_0_ref", 32, 22),
         "Q5_1": ("quantize_row_q5_1_ref", 32, 24), "Q4_K": ("quantize_row_q4_K_ref", 256, 144),
         "Q5_K": ("quantize_row_q5_K_ref", 256, 176), "Q6_K": ("quantize_row_q6_K_ref", 256, 210)}
SMALL_BLOCKS = 6  # of 32 numbers: enough to meet a group of zeros and one of large numbers


def numbers():
    """A congruential generator's upper bits as multiples of 1/4096, in groups of 32 of several sizes, one of them 0."""
    state, values = 12345, []
    for i in range(COUNT):
        state = (state * 1664525 + 1013904223) % 2**32
        size = (1.0, 8.0, 0.125, 0.0, 1.0, 64.0)[i // 32 % 6]
        values.append(((state >> 16) - 32768) / 4096 * size)
    return np.array(values, np.float32)


def main():
    values, lines = numbers(), []
    for name, (function, block, size) in TYPES.items():
        count = SMALL_BLOCKS * block if block == 32 else COUNT
        out = ctypes.create_string_buffer(count // block * size)
        getattr(llama_cpp.library(), function)(values.ctypes.data_as(ctypes.c_void_p), out, ctypes.c_int64(count))
        text = out.raw.hex()
        rows = [text[i:i + 90] for i in range(0, len(text), 90)]
        lines.append(f"inline constexpr char k{name.replace('_', '')}Blocks[] =\n" + "\n".join(f'    "{row}"' for row in rows) + ";\n")
    (HERE / "golden_blocks.h").write_text(
        "// What llama.cpp's reference quantisers make of quantize_test.cc's numbers; by make_golden.py.\n#pragma once\n\n"
        "namespace ftd::gguf {\n\n" + "\n".join(lines) + "\n}  // namespace ftd::gguf\n")


if __name__ == "__main__":
    main()

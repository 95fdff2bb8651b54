"""What a run of the kit came to: steps and their figures, as a table for people and as JSON for programs."""
import dataclasses
import json
import os

NEAR = 0.1  # a figure this close to the predicted range counts as predicted

# What each figure should be on one H100 SXM with 80 GB: (lowest, highest, unit). A reading of the code and NVIDIA's data
# sheets say so; no machine has. docs/performance.md shows the same table.
PREDICTED = {
    "product, 16384 rows": (640, 730, "TFLOP/s"),
    "own kernel, 16384 rows": (2200, None, "GB/s"),
    "attention forward, 16384 rows": (260, 260, "TFLOP/s"),
    "attention backward, deterministic, 16384 rows": (150, 150, "TFLOP/s"),
    "8B LoRA, 8 × 2048, speed": (11800, 15300, "tok/s"),
    "8B LoRA, 8 × 2048, MFU": (38, 49, "%"),
    "8B LoRA, 8 × 2048, step": (1.07, 1.39, "s"),
    "8B LoRA, 8 × 2048, memory": (69, 69, "GB"),
    "8B LoRA, 8 Alpaca rows, speed": (11000, 13000, "tok/s"),
    "8B LoRA, 8 Alpaca rows, MFU": (35, 40, "%"),
    "8B LoRA, 32 Alpaca rows, speed": (14000, 14000, "tok/s"),
    "8B LoRA, 32 Alpaca rows, MFU": (43, 43, "%"),
    "8B LoRA, 8 × 2048, over transformers + PEFT": (1.6, None, "×"),
    "8B LoRA, 2 × 2048, over transformers + PEFT": (None, None, "×"),
    "8B QLoRA, 8 × 2048, speed": (13500, 13500, "tok/s"),
    "8B QLoRA, 8 × 2048, memory": (59, 59, "GB"),
    "8B QLoRA, 8 × 2048, loading": (None, 12, "s"),
    "3B full, hf_parity, speed": (21000, 21000, "tok/s"),
    "3B full, hf_parity, MFU": (43, 43, "%"),
    "3B full, hf_parity, memory": (56, 56, "GB"),
    "3B full, fp32_master, speed": (19000, 19000, "tok/s"),
    "3B full, fp32_master, MFU": (39, 39, "%"),
    "3B full, fp32_master, memory": (None, 84, "GB"),
    "3B full, fp32_master, recomputed": (5, 12, "layers"),
    "70B QLoRA, 8 × 2048, speed": (1190, 1190, "tok/s"),
    "70B QLoRA, 8 × 2048, MFU": (34, 34, "%"),
    "70B QLoRA, 8 × 2048, memory": (72, 72, "GB"),
}


def amount(value):
    """A number with as many digits as matter."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def span(low, high):
    if low is None:
        return "–" if high is None else f"≤ {amount(high)}"
    if high is None:
        return f"≥ {amount(low)}"
    return f"≈ {amount(low)}" if low == high else f"{amount(low)} to {amount(high)}"


@dataclasses.dataclass
class Figure:
    """Something measured, beside what was predicted of it."""
    name: str
    measured: float
    unit: str = ""

    @property
    def predicted(self):
        low, high, _ = PREDICTED.get(self.name, (None, None, ""))
        return low, high

    @property
    def verdict(self):
        low, high = self.predicted
        if low is not None and self.measured < low * (1 - NEAR):
            return "below"
        if high is not None and self.measured > high * (1 + NEAR):
            return "above"
        return "" if low is high is None else "as predicted"

    def as_json(self):
        return {**dataclasses.asdict(self), "predicted": self.predicted, "verdict": self.verdict}


@dataclasses.dataclass
class Step:
    """One step of the run. Only wrong results make it fail: a figure is never too low."""
    name: str
    status: str = "passed"  # or failed, skipped
    rc: int | None = None  # exit status of the last process
    seconds: float = 0.0
    notes: list = dataclasses.field(default_factory=list)
    figures: list = dataclasses.field(default_factory=list)

    def note(self, text):
        self.notes.append(" ".join(text.split()))

    def figure(self, name, measured, unit=""):
        if measured is not None:
            self.figures.append(Figure(name, measured, PREDICTED[name][2] if name in PREDICTED else unit))

    def expect(self, holds, text):
        """Fails the step, but lets it continue, unless `holds`."""
        if not holds:
            self.status = "failed"
            self.note(text)

    def as_json(self):
        return {**dataclasses.asdict(self), "seconds": round(self.seconds, 2), "figures": [f.as_json() for f in self.figures]}


class Report:
    def __init__(self, path):
        self.path = path
        self.machine = {}
        self.steps = []

    def count(self, status):
        return sum(step.status == status for step in self.steps)

    def write(self):
        """After every step, whole: a run that is killed leaves what it has found."""
        content = {"machine": self.machine, "steps": [step.as_json() for step in self.steps],
                   **{status: self.count(status) for status in ("passed", "failed", "skipped")}}
        unfinished = self.path.with_suffix(".unfinished")
        unfinished.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        os.replace(unfinished, self.path)

    def table(self):
        lines = [f"{name}: {value}" for name, value in self.machine.items()] + [""]
        for step in self.steps:
            lines.append(f"{step.status:<8}{step.seconds:6.1f} s  {step.name:<24} {'; '.join(step.notes)}".rstrip())
            for figure in step.figures:
                expected = f"predicted {span(*figure.predicted)}" if figure.verdict else ""
                measured = f"{amount(figure.measured)} {figure.unit}"
                lines.append(f"{'':18}{figure.name:<52}{measured:<16}{expected:<28}{figure.verdict}".rstrip())
        lines.append("")
        lines.append(f"{self.count('passed')} passed, {self.count('failed')} failed, {self.count('skipped')} skipped")
        return "\n".join(lines)

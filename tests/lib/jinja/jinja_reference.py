"""What transformers renders, and what ftd renders, in one form: {"text", "generations"} or {"error"}."""
import datetime
import json
import os
import pathlib
import re
import subprocess

import jinja2
from transformers.utils import chat_template_utils

DRIVER = pathlib.Path(os.environ.get("FTD_BUILD_DIR", "build")) / "tests" / "render_lines"
NOW = [2024, 2, 29, 7, 5, 9]
ADDRESS = re.compile(r" at 0x[0-9a-f]+>")


class PinnedClock(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls(*NOW)


chat_template_utils.datetime = PinnedClock


def theirs(template, variables):
    """As _render_with_assistant_indices does it, for any variables."""
    blocks, spans = [], []
    try:
        compiled = chat_template_utils._compile_jinja_template(template)
        with compiled.environment.activate_tracker(blocks, spans):
            for block in compiled.generate(**variables):
                blocks.append(block)
            text = "".join(blocks)
    except Exception as error:
        raised = type(error) is jinja2.exceptions.TemplateError  # what raise_exception raises, and nothing else
        return {"error": str(error) if raised else f"{type(error).__name__}: {error}", "raised": raised}
    return {"text": text, "generations": [list(span) for span in spans]}


def ours(cases, watched=None):
    """The answers of render_lines, with offsets of generation blocks in characters, as Python has them."""
    lines = [json.dumps({"template": template, "variables": variables, "now": NOW, **({"watched": watched} if watched else {})})
             for template, variables in cases]
    run = subprocess.run([DRIVER], input="".join(line + "\n" for line in lines), capture_output=True, text=True,
                         encoding="utf-8", timeout=600)
    assert run.returncode == 0, run.stderr
    answers = [json.loads(line) for line in run.stdout.split("\n")[:-1]]
    assert len(answers) == len(cases)
    for answer in answers:
        if "text" in answer:
            data = answer["text"].encode()
            answer["generations"] = [[len(data[:at].decode()) for at in (begin, end)] for begin, end, _ in answer["generations"]]
    return answers


def problem(template, variables, got):
    """How `got` differs from what transformers renders; None where it does not."""
    want = theirs(template, variables)
    if re.match(r"NameError: name '(inf|nan)'", want.get("error", "")):  # Jinja2's compiler writes such constants as names
        return None
    if want.get("raised") or got.get("raised"):
        same = got.get("raised") == want.get("raised") and got["error"] == want["error"]
        return None if same else f"raise_exception: ftd {got}, transformers {want}"
    if "error" in want:
        return None if "error" in got else f"transformers has {want['error'][:200]}, ftd the text {got['text'][:200]!r}"
    if ADDRESS.search(want["text"]):  # no two runs of Python agree on it, so ftd refuses
        return None if "error" in got else f"ftd renders an address as {got['text'][:200]!r}"
    if "error" in got:
        return f"ftd has {got['error'][:200]}, transformers the text {want['text'][:200]!r}"
    if got["text"] != want["text"]:
        return f"ftd {got['text'][:400]!r}, transformers {want['text'][:400]!r}"
    spans = [[min(at, len(want["text"])) for at in span] for span in want["generations"]]
    return None if got["generations"] == spans else f"spans: ftd {got['generations']}, transformers {spans}"


def problems(cases, limit=20):
    """(template, problem) of the cases that differ, at most `limit`."""
    found = []
    for (template, variables), got in zip(cases, ours(cases), strict=True):
        if (difference := problem(template, variables, got)) is not None:
            found.append((template[-600:], difference))
            if len(found) == limit:
                break
    return found

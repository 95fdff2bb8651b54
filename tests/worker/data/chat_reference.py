"""What transformers makes of a conversation: text, token ids, and the mask of what an assistant says.

Masks come from three places: from transformers, where a template marks turns by {% generation %}; from TRL's marked twin of a
template, where both write the same text; and for the others from the definition, read off the text: a turn's own tokens and
those that end it, found by the marks of the template's family.
"""
import pathlib
import re

import trl
from transformers import PreTrainedTokenizerFast

DIR = pathlib.Path(trl.__file__).parent / "chat_templates"
# Templates that write text alone; the others want pictures, or lists as content.
VISION = {"idefics3", "llava_next", "qwen2_5_vl", "qwen3_vl", "smolvlm", "lfm2_2_5_vl"}
TEMPLATES = {path.stem: path.read_text() for path in sorted(DIR.glob("*.jinja")) if path.stem.removesuffix("_training") not in VISION}
# What stands before an answer, and what ends it with all that belongs to it, by family.
MARKS = {
    "llama3": (r"<\|start_header_id\|>assistant<\|end_header_id\|>\n\n", r"<\|eot_id\|>|<\|eom_id\|>"),
    "chatml": (r"<\|im_start\|>assistant\n", r"<\|im_end\|>\n?"),
    "gemma4": (r"<\|turn>model\n", r"(?=<\|turn>|\Z)"),
    "glm": (r"<\|assistant\|>", r"<\|user\|>|<\|observation\|>|<\|system\|>|(?=<\|assistant\|>)|\Z"),
}
FAMILY = {"llama3_1": "llama3", "llama3_2": "llama3", "qwen3": "chatml", "qwen3_5_nothink": "chatml", "qwen3_5_think": "chatml",
          "qwen3_6": "chatml", "lfm2_2_5": "chatml", "lfm2_2_5_v2": "chatml", "glm4moe": "glm",
          "gemma4": "gemma4", "gemma4_v2": "gemma4", "gemma4_v3": "gemma4", "gemma4_v4": "gemma4", "gemma4_v5": "gemma4"}


def tokenizer_of(model):
    return PreTrainedTokenizerFast.from_pretrained(model)


def apply(tokenizer, template, row):
    """(text, ids, the characters of each token); raises what the template raises."""
    kwargs = {"chat_template": template, "tools": row.get("tools"), **row.get("chat_template_kwargs", {})}
    text = tokenizer.apply_chat_template(row["messages"], tokenize=False, **kwargs)
    out = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    return text, out["input_ids"], out["offset_mapping"]


def spans_of_transformers(tokenizer, template, row):
    from transformers.utils import chat_template_utils

    messages = [{key: value for key, value in message.items() if value is not None} for message in row["messages"]]
    variables = {**tokenizer.special_tokens_map, **row.get("chat_template_kwargs", {})}
    _, spans = chat_template_utils.render_jinja_template(
        conversations=[messages], tools=row.get("tools"), chat_template=template, return_assistant_tokens_mask=True, **variables)
    return spans[0]


def spans_by_definition(name, text):
    begin, end = MARKS[FAMILY[name]]
    spans = []
    for header in re.finditer(begin, text):
        found = re.compile(end).search(text, header.end())
        spans.append((header.end(), found.end() if found else len(text)))
    # Gemma's answers of tools, and the mark that asks for one which the conversation lacks.
    answers = [found.span() for found in re.finditer(r"<\|tool_response>(?:(?:(?!<\|turn>).)*?<tool_response\|>)?", text, re.DOTALL)]
    return [piece for span in spans for piece in without(span, answers)]


def without(span, holes):
    """What is left of a span."""
    begin, end = span
    pieces = []
    for hole_begin, hole_end in holes:
        if begin <= hole_begin and hole_end <= end:
            pieces.append((begin, hole_begin))
            begin = hole_end
    return [*pieces, (begin, end)]


def mask_of(spans, offsets):
    """1 for each token that holds a character of a span."""
    return [int(any(begin < stop and start < end for begin, end in spans if begin < end)) for start, stop in offsets]

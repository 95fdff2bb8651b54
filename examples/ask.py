#!/usr/bin/env python3
"""Asks a fine-tuned adapter a question, and the model without it, by transformers and PEFT.

usage: python examples/ask.py ADAPTER_DIR QUESTION
"""
import json
import pathlib
import sys
import warnings

from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer, logging

# Without the blank behind the colon: in the rows it belongs to the first word of the answer, as one token.
PROMPT = (
    "Below is an instruction that describes a task, paired with an input that provides further context. "
    "Write a response that appropriately completes the request.\n"
    "### Instruction: {}\n\n### Input: \n\n### Response:"
)


def main():
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    adapter, question = sys.argv[1:]
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    warnings.simplefilter("ignore", FutureWarning)
    base = json.loads((pathlib.Path(adapter) / "adapter_config.json").read_text())["base_model_name_or_path"]
    tokenizer = AutoTokenizer.from_pretrained(base)
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), adapter)
    inputs = tokenizer(PROMPT.format(question), return_tensors="pt")

    def answer():
        ids = model.generate(**inputs, max_new_tokens=50, do_sample=False, pad_token_id=tokenizer.eos_token_id)
        return tokenizer.decode(ids[0][inputs["input_ids"].shape[1]:], skip_special_tokens=True).strip()

    with model.disable_adapter():
        print("before:", answer())
    print("after: ", answer())


if __name__ == "__main__":
    main()

"""Run by vLLM's Python, for vllm_test.py: the greedy tokens after each prompt, of a model and, if one is given, with an adapter.

    python vllm_answers.py PROMPTS.json ANSWERS.json COUNT MODEL [ADAPTER]      both files are lists of lists of token ids
"""
import json
import sys

from vllm import LLM, SamplingParams
from vllm.lora.request import LoRARequest


def main():
    prompts_file, answers_file, count, model, *adapter = sys.argv[1:]
    with open(prompts_file) as file:
        prompts = [{"prompt_token_ids": ids} for ids in json.load(file)]
    llm = LLM(model, dtype="float32", enable_lora=bool(adapter), max_model_len=256, enforce_eager=True)
    params = SamplingParams(temperature=0, max_tokens=int(count), ignore_eos=True)
    request = LoRARequest("first", 1, adapter[0]) if adapter else None
    outputs = llm.generate(prompts, params, lora_request=request)
    with open(answers_file, "w") as file:
        json.dump([list(output.outputs[0].token_ids) for output in outputs], file)


if __name__ == "__main__":
    main()

"""The job by TRL's SFTTrainer with PEFT, with the settings of NVIDIA's scripts; see peer.py.

What the scripts leave to TRL is left to TRL, gradient checkpointing too, which is on; --no-checkpointing turns it off.
"""
import time

from datasets import Dataset
from peer import arguments, load_model, report, texts
from torch.utils.data import SequentialSampler
from transformers import AutoTokenizer, TrainerCallback
from trl import SFTConfig, SFTTrainer


class FileOrder(SFTTrainer):
    def _get_train_sampler(self, *_, **__):
        return SequentialSampler(self.train_dataset)


class Clock(TrainerCallback):
    def __init__(self):
        self.start, self.ends = None, []

    def on_step_begin(self, *_, **__):
        self.start = self.start or time.time()

    def on_step_end(self, *_, **__):
        self.ends.append(time.time())


def main():
    args = arguments()
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    tokenizer.pad_token = tokenizer.eos_token
    model = load_model(args)
    checkpointing = {"gradient_checkpointing": False} if args.no_checkpointing else {}
    config = SFTConfig(
        output_dir="unused", per_device_train_batch_size=args.batch_size, max_steps=args.max_steps,
        learning_rate=args.learning_rate, max_length=args.seq_length, logging_steps=1, save_strategy="no",
        report_to="none", use_cpu=True, bf16=args.dtype == "bfloat16", dataset_text_field="text", disable_tqdm=True, seed=42,
        **checkpointing)
    clock = Clock()
    rows = Dataset.from_list([{"text": text} for text in texts(args.dataset, tokenizer.eos_token)])
    trainer = FileOrder(model=model, processing_class=tokenizer, train_dataset=rows, args=config, callbacks=[clock])
    trainer.train()
    log = [entry for entry in trainer.state.log_history if "loss" in entry]
    totals = [0, *(int(entry["num_tokens"]) for entry in log)]
    report(clock.start, clock.ends, [b - a for a, b in zip(totals, totals[1:])], [entry["loss"] for entry in log])


if __name__ == "__main__":
    main()

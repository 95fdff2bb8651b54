"""The job by a bare loop over transformers and PEFT, without checkpointing: the real bar; see peer.py."""
import time

import torch
from peer import arguments, load_model, report, texts
from transformers import AutoTokenizer


def batches(ids, size, eos):
    """Micro-batches in file order, wrapping, right-padded to the longest row."""
    k = 0
    while True:
        rows = [ids[(k + j) % len(ids)] for j in range(size)]
        k += size
        width = max(map(len, rows))
        x_BT = torch.tensor([row + [eos] * (width - len(row)) for row in rows])
        mask_BT = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
        yield x_BT, mask_BT, x_BT.masked_fill(mask_BT == 0, -100)


def main():
    args = arguments()
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    model = load_model(args)
    model.train()
    ids = [row[: args.seq_length] for row in tokenizer(texts(args.dataset, tokenizer.eos_token))["input_ids"]]
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=args.learning_rate, weight_decay=0.0)
    if args.compile:
        model = torch.compile(model, dynamic=True)  # every batch is another width
    start, ends, tokens, losses = time.time(), [], [], []
    data = batches(ids, args.batch_size, tokenizer.eos_token_id)
    for step, (x_BT, mask_BT, labels_BT) in zip(range(args.max_steps), data):
        for group in optimizer.param_groups:
            group["lr"] = args.learning_rate * (args.max_steps - step) / args.max_steps
        loss = model(input_ids=x_BT, attention_mask=mask_BT, labels=labels_BT, use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        tokens.append(int(mask_BT.sum()))
        ends.append(time.time())
    report(start, ends, tokens, losses)


if __name__ == "__main__":
    main()

"""Prints what a tracker's own library has of a run, as JSON: {metric: [[step, value], …]}. Run by the library's interpreter.

    python read_tracker.py wandb|mlflow|trackio
"""
import glob
import json
import os
import struct
import sys

KEYS = ("train/loss", "train/grad_norm", "eval/loss")


def wandb_records():
    """The records of WANDB_DIR's runs. Their files are in LevelDB's log format: blocks of 32 KiB, and in them pieces of a CRC
    (4 bytes), a length (2), a type (1: whole, 2: first, 3: middle, 4: last) and the bytes."""
    from wandb.proto import wandb_internal_pb2
    block, head = 32768, 7
    for path in glob.glob(os.path.join(os.environ["WANDB_DIR"], "wandb", "offline-run-*", "*.wandb")):
        data = open(path, "rb").read()
        at, record = head, b""  # after the file's own header
        while at + head <= len(data):
            if block - at % block < head:
                at += block - at % block
                continue
            _, length, kind = struct.unpack_from("<IHB", data, at)
            record += data[at + head:at + head + length]
            at += head + length
            if kind in (1, 4):
                yield wandb_internal_pb2.Record.FromString(record)
                record = b""


def wandb_points():
    points = {key: [] for key in KEYS}
    for record in wandb_records():
        row = {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
        for key in KEYS:
            if key in row:
                points[key].append([row["train/global_step"], row[key]])
    return points


def mlflow_points():
    import mlflow
    client = mlflow.MlflowClient()
    [run] = client.search_runs([client.get_experiment_by_name("ftd").experiment_id])
    assert run.info.status == "FINISHED" and run.data.params["lora.rank"] == "8"
    return {key: [[point.step, point.value] for point in client.get_metric_history(run.info.run_id, key)] for key in KEYS}


def trackio_points():
    from trackio.sqlite_storage import SQLiteStorage
    logs = SQLiteStorage.get_logs("ftd", "first")
    return {key: [[row["step"], row[key]] for row in logs if key in row] for key in KEYS}


print(json.dumps({"wandb": wandb_points, "mlflow": mlflow_points, "trackio": trackio_points}[sys.argv[1]]()))

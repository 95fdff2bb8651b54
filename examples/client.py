#!/usr/bin/env python3
"""A client of ftd without any of its code: grpcio asks the running daemon for its API (server reflection) and uses it.

usage: python examples/client.py unix:PATH MODEL_DIR DATASET.jsonl
Uploads the rows, submits a LoRA job, follows it to its end, and survives a restart of the daemon on the way.
"""
import hashlib
import pathlib
import sys
import uuid

import grpc
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase


class FineTuning:
    """The service ftd.v1.FineTuning, as the server describes it. `message(name)` is a message class of ftd.v1."""

    def __init__(self, address):
        self.channel = grpc.insecure_channel(address)
        self.pool = DescriptorPool(ProtoReflectionDescriptorDatabase(self.channel))
        self.service = self.pool.FindServiceByName("ftd.v1.FineTuning")

    def message(self, name):
        return GetMessageClass(self.pool.FindMessageTypeByName(f"ftd.v1.{name}"))

    def __getattr__(self, name):
        """The stub of the rpc `name`, unary or streaming as the server says."""
        method = self.service.methods_by_name[name]
        kind = f"{'stream' if method.client_streaming else 'unary'}_{'stream' if method.server_streaming else 'unary'}"
        return getattr(self.channel, kind)(
            f"/{self.service.full_name}/{name}",
            request_serializer=lambda request: request.SerializeToString(),
            response_deserializer=GetMessageClass(method.output_type).FromString)


def upload(ftd, path):
    """Sends a file by content; the server keeps one copy of each. Returns its sha256."""
    data = path.read_bytes()
    part = ftd.message("UploadFileRequest")
    header = {"sha256": hashlib.sha256(data).hexdigest(), "size_bytes": len(data), "file_name": path.name}
    pieces = [part(data=data[i : i + 65536]) for i in range(0, len(data), 65536)]
    return ftd.UploadFile(iter([part(header=header), *pieces])).sha256


def follow(ftd, job_id):
    """Every event of a job, once and in order, whatever becomes of the connection."""
    token = ""
    while True:
        try:
            for event in ftd.WatchJob(ftd.message("WatchJobRequest")(job=job_id, resume_token=token)):
                token = event.resume_token
                yield event
            return  # the stream ends with OK only after the final event
        except grpc.RpcError as error:
            if error.code() != grpc.StatusCode.UNAVAILABLE:
                raise
            grpc.channel_ready_future(ftd.channel).result(timeout=60)


def main():
    if len(sys.argv) != 4:
        raise SystemExit(__doc__)
    address, model, dataset = sys.argv[1], str(pathlib.Path(sys.argv[2]).absolute()), pathlib.Path(sys.argv[3])
    ftd = FineTuning(address)
    spec = {"mode": "LORA", "model": model, "max_steps": 20, "batch_size": 4, "seq_length": 256,
            "dataset": {"upload_sha256": upload(ftd, dataset), "file_name": dataset.name}}
    request = ftd.message("SubmitJobRequest")(spec=spec, request_id=str(uuid.uuid4()))
    job = ftd.SubmitJob(request)
    print("submitted", job.id)
    states = ftd.message("Job").DESCRIPTOR.enum_types_by_name["State"].values_by_number
    for event in follow(ftd, job.id):
        if event.WhichOneof("event") == "step":
            print(f"step {event.step.step} loss {event.step.loss:.4f}")
        elif event.WhichOneof("event") == "state_change":
            print("state", states[event.state_change.to].name)
    print("result", ftd.GetJob(ftd.message("GetJobRequest")(job=job.id)).result_dir)


if __name__ == "__main__":
    main()

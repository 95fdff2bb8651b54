"""Places in the life of a job at which its daemon or its worker may be killed, or meet an error or a delay.

A place is a system call on a path; the shim (tests/server/fault_shim.cc) finds it, so the product has no code for it.
"""
import dataclasses
import errno

from faults import Fault


@dataclasses.dataclass(frozen=True)
class Place:
    who: str
    call: str
    path: str  # as in Fault
    crash: str = "after"
    often: int = 1  # a life passes it at least so many times

    def fault(self, action, rng):
        """The place once, with a crash, an error or a delay."""
        once = dict(call=self.call, path=self.path, who=self.who, skip=rng.randrange(self.often), times=1)
        if action == "crash":
            return Fault(**once, crash=self.crash)
        if action == "delay":
            return Fault(**once, delay_ms=300)
        full = self.call in ("write", "mkdir", "truncate", "sync", "allocate")
        return Fault(**once, error=rng.choice([errno.EIO, errno.ENOSPC] if full else [errno.EIO, errno.EMFILE] if self.call == "open"
                                              else [errno.EIO]))


PLACES = {
    # The database
    "job row written": Place("daemon", "write", "ftd.db-wal$", often=30),
    "job row flushed": Place("daemon", "sync", "ftd.db-wal$", often=15),
    "before a flush": Place("daemon", "sync", "ftd.db-wal$", "before", often=15),
    "log copied into the database": Place("daemon", "write", "/ftd.db$", often=3),
    "database flushed": Place("daemon", "sync", "/ftd.db$"),
    "database's log removed": Place("daemon", "unlink", "ftd.db-wal$"),
    "database opened": Place("daemon", "open", "/ftd.db$"),
    "database's index truncated": Place("daemon", "truncate", "ftd.db-shm$"),
    # The start
    "ftd.lock opened": Place("daemon", "open", "/ftd.lock$"),
    "addresses.json written": Place("daemon", "write", "addresses.json.tmp-"),
    "addresses.json renamed": Place("daemon", "rename", "addresses.json$"),
    # Uploads
    "upload begun": Place("daemon", "open", "uploads/.tmp-"),
    "upload written": Place("daemon", "write", "uploads/.tmp-"),
    "upload flushed": Place("daemon", "sync", "uploads/.tmp-"),
    "before the upload's rename": Place("daemon", "rename", "uploads/", "before"),
    "upload renamed": Place("daemon", "rename", "uploads/"),
    "uploads directory flushed": Place("daemon", "sync", "/uploads$"),
    # The weights of another job's checkpoint, kept for one that begins with them
    "start's directory made": Place("daemon", "mkdir", "/start.tmp$"),
    "before the start's rename": Place("daemon", "rename", "/start$", "before"),
    "start renamed": Place("daemon", "rename", "/start$"),
    # The start of an attempt
    "attempt directory made": Place("daemon", "mkdir", "attempts/1$", often=3),
    "attempts directory flushed": Place("daemon", "sync", "/attempts$", often=3),
    "request.json written": Place("daemon", "write", "request.json.tmp-", often=3),
    "request.json flushed": Place("daemon", "sync", "request.json.tmp-", often=3),
    "request.json renamed": Place("daemon", "rename", "request.json$", often=3),
    "worker.lock opened": Place("daemon", "open", "worker.lock$", often=3),
    # A worker
    "request.json read": Place("worker", "read", "request.json$", often=3),
    "events.log made": Place("worker", "open", "events.log$", often=3),
    "event appended": Place("worker", "write", "events.log$", often=12),
    "end or checkpoint flushed": Place("worker", "sync", "events.log$", often=6),
    "steps.log made": Place("worker", "open", "steps.log$", often=3),
    "step appended": Place("worker", "write", "steps.log$", often=15),
    "checkpoint's file flushed": Place("worker", "sync", "checkpoint-4/adapter_model.safetensors$"),
    "checkpoint's manifest written": Place("worker", "write", "MANIFEST.json.tmp-", often=3),
    "checkpoint's manifest renamed": Place("worker", "rename", "MANIFEST.json$", often=3),
    "before the checkpoint's rename": Place("worker", "rename", "/checkpoint-", "before", often=3),
    "checkpoint renamed": Place("worker", "rename", "/checkpoint-", often=3),
    "attempt directory flushed": Place("worker", "sync", "attempts/1$", often=3),
    "result made": Place("worker", "mkdir", ".tmp-result$", often=3),
    "result written": Place("worker", "write", "tmp-result/adapter_model.safetensors.tmp-", often=3),
    "result complete": Place("worker", "rename", "/result$", often=3),
    # What the daemon reads
    "events.log read": Place("daemon", "read", "events.log$", often=12),
    "steps.log opened": Place("daemon", "open", "steps.log$", often=8),
    "checkpoint verified": Place("daemon", "read", "MANIFEST.json$"),
    # The end of an attempt
    "mark of publication written": Place("daemon", "write", "publishing.tmp-", often=3),
    "mark of publication renamed": Place("daemon", "rename", "/publishing$", often=3),
    "before the result's rename": Place("daemon", "rename", "/results/", "before", often=3),
    "result renamed": Place("daemon", "rename", "/results/", often=3),
    "results directory flushed": Place("daemon", "sync", "/results$", often=3),
    "earlier checkpoint removed": Place("daemon", "unlink", "/checkpoint-4"),
    # Removals
    "retention's rename to trash": Place("daemon", "rename", ".tmp-removed-"),
    "trash removed": Place("daemon", "unlink", ".tmp-removed-"),
    "job's directory removed": Place("daemon", "unlink", "/attempts/1/", often=3),
    "deleted job's result removed": Place("daemon", "unlink", "adapter_model.safetensors$"),
    # Operators
    "backup begun": Place("daemon", "open", ".tmp-backup-"),
    "backup written": Place("daemon", "write", ".tmp-backup-", often=3),
    "backup's name removed": Place("daemon", "unlink", ".tmp-backup-"),
    "access token written": Place("daemon", "write", "access-tokens.tmp-"),
    "access tokens renamed": Place("daemon", "rename", "/access-tokens$"),
    "log bounded": Place("daemon", "allocate", "worker.log$"),
    "database backed up before a migration": Place("daemon", "write", "ftd.db.backup-v"),
    "backup before a migration flushed": Place("daemon", "sync", "ftd.db.backup-v"),
}

"""What a power cut leaves of a directory: from the log of disk_log.cc, what was flushed, and some of what was not.

The rules are POSIX's, not those of a certain file system. The bytes of a file last once it was flushed, its name once its
directory was. Of the rest a disk may have taken any part: single writes or their first blocks, and single changes of
directories, or all up to a moment as a journal does. A change is never there without those before it of the same name or file.
"""
import dataclasses
import os
import pathlib
import shutil
import struct

from ftd_fixture import BUILD

CREATE, MKDIR, WRITE, TRUNCATE, SYNC, RENAME, UNLINK, LINK = range(1, 9)
RECORD = struct.Struct("<IIQQ")
BLOCK = 4096
LOST = ("-shm",)  # an index in memory that SQLite makes again


class Node:
    """A file, with the bytes that last and the writes that may be lost; or a directory, with the names that last."""

    def __init__(self, is_dir):
        self.is_dir = is_dir
        self.data, self.pending = bytearray(), []
        self.names = {}  # that last
        self.now = {}  # as programs see them

    def write(self, at, data):
        if len(self.data) < at:
            self.data.extend(bytes(at - len(self.data)))
        self.data[at:at + len(data)] = data

    def apply(self, change):
        at, data = change
        if data is None:
            self.data = self.data[:at].ljust(at, b"\0")
        else:
            self.write(at, data)

    def flush(self):
        for change in self.pending:
            self.apply(change)
        self.pending = []

    def lose(self, rng):
        """Takes some of what was not flushed."""
        chance = rng.choice([0, 0.5, 1])
        for at, data in self.pending:
            if rng.random() < chance:
                if data is not None and len(data) > BLOCK and rng.random() < 0.2:
                    data = data[:rng.randrange(len(data)) // BLOCK * BLOCK]
                self.apply((at, data))
        self.pending = []


@dataclasses.dataclass
class Change:
    """Of directories, as a whole: names that are set to a node, or to None."""
    edits: list  # (directory, name, node)

    def touches(self):
        return {(id(d), name) for d, name, _ in self.edits} | {id(node) for _, _, node in self.edits if node is not None}

    def apply(self):
        for directory, name, node in self.edits:
            if node is None:
                directory.names.pop(name, None)
            else:
                directory.names[name] = node


class Disk:
    """Of the programs that are started with `env`; `root` need not be there yet."""

    def __init__(self, root, log):
        self.root, self.log = pathlib.Path(root), pathlib.Path(log)
        self.library = str(BUILD / "tests" / "disk_log.so")
        self.env = {"FTD_DISK_ROOT": str(self.root), "FTD_DISK_LOG": str(self.log)}
        self.root.mkdir(exist_ok=True)
        self.lost = 0  # changes and writes that cuts have undone
        self.begin()

    def begin(self):
        """All that is there now lasts."""
        self.nodes, self.changes = {}, []
        self.top = self.scan(self.root)
        self.log.write_bytes(b"")

    def scan(self, path):
        inode = os.lstat(path).st_ino
        if inode in self.nodes:  # another name of a file
            return self.nodes[inode]
        node = self.nodes[inode] = Node(path.is_dir())
        if node.is_dir:
            node.names = {entry.name: self.scan(entry) for entry in path.iterdir() if entry.is_dir() or entry.is_file()}
            node.now = dict(node.names)
        else:
            node.data = bytearray(path.read_bytes())
        return node

    def find(self, path):
        """(directory, name) of a path; None where its directory is unknown."""
        parts = pathlib.PurePath(path).relative_to(self.root).parts
        directory = self.top
        for part in parts[:-1]:
            directory = directory.now.get(part)
            if directory is None:
                return None
        return directory, parts[-1]

    def change(self, *edits):
        for directory, name, node in edits:
            if node is None:
                directory.now.pop(name, None)
            else:
                directory.now[name] = node
        self.changes.append(Change(list(edits)))

    def keep(self, chosen):
        """These last, and all before them that they stand on."""
        wanted, kept = set(), []
        for change in reversed(self.changes):
            touched = change.touches()
            if chosen(change) or touched & wanted:
                wanted |= touched
                kept.append(change)
        for change in reversed(kept):
            change.apply()
        ids = set(map(id, kept))
        self.changes = [change for change in self.changes if id(change) not in ids]

    def read_log(self):
        data, at = self.log.read_bytes(), 0
        while at + RECORD.size <= len(data):
            op, size, inode, offset = RECORD.unpack_from(data, at)
            at += RECORD.size
            if at + size > len(data):
                return
            yield op, inode, offset, data[at:at + size]
            at += size

    def replay(self, op, inode, offset, data):
        if op in (CREATE, MKDIR, UNLINK, RENAME, LINK):
            return self.replay_names(op, inode, [self.find(path) for path in data.decode().split("\0")])
        node = self.nodes.get(inode)
        if node is None:
            return  # made by the kernel alone: worker.log, a socket
        if op == SYNC and node.is_dir:
            self.keep(lambda change: any(directory is node for directory, _, _ in change.edits))
        elif op == SYNC:
            node.flush()
        else:
            node.pending.append((offset, None if op == TRUNCATE else data))

    def replay_names(self, op, inode, places):
        if None in places:
            return
        (directory, name), node = places[0], None
        if op in (CREATE, MKDIR):
            node = self.nodes[inode] = Node(op == MKDIR)
            return self.change((directory, name, node))
        node = directory.now.get(name)
        if node is None:
            return
        if op == UNLINK:
            self.change((directory, name, None))
        elif op == LINK:
            self.change((*places[1], node))
        else:
            self.change((directory, name, None), (*places[1], node))

    def cut(self, rng):
        """Of processes that have ended: the directory as the disk has it."""
        for record in self.read_log():
            self.replay(*record)
        unflushed = [node for node in self.nodes.values() if node.pending]
        self.lost += len(self.changes) + sum(len(node.pending) for node in unflushed)
        if rng.random() < 0.5:  # a journal
            journal = set(map(id, self.changes[:rng.randint(0, len(self.changes))]))
            self.keep(lambda change: id(change) in journal)
        else:
            chance = rng.choice([0, 0.5, 1])
            self.keep(lambda change: rng.random() < chance)
        for node in unflushed:
            node.lose(rng)
        old = self.root.with_name(self.root.name + ".old")
        self.root.rename(old)
        self.build(self.root, self.top, {})
        shutil.rmtree(old)
        self.begin()

    def build(self, path, node, built):
        if node.is_dir:
            path.mkdir()
            for name, child in node.names.items():
                if not name.endswith(LOST):
                    self.build(path / name, child, built)
        elif id(node) in built:
            path.hardlink_to(built[id(node)])
        else:
            path.write_bytes(node.data)
            built[id(node)] = path

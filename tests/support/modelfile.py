"""Ollama's Modelfile, read by the grammar of its documentation and its parser: an instruction, a value, to the end of the line.

A value that begins with one or three double quotes ends with as many at the end of a line, which may be a later one; nothing
escapes a quote. Characters that cannot be printed are dropped. `FROM` is required, and words may be in any case.
"""
import re

INSTRUCTIONS = {"FROM", "PARAMETER", "TEMPLATE", "SYSTEM", "ADAPTER", "LICENSE", "MESSAGE", "REQUIRES", "RENDERER", "PARSER", "DRAFT"}
ROLES = {"system", "user", "assistant"}


def unquoted(value):
    """What the quotes hold; None if they are not closed."""
    for quotes in ('"""', '"'):
        if value.startswith(quotes):
            closed = len(value) >= 2 * len(quotes) and value.endswith(quotes)
            return value[len(quotes):-len(quotes)] if closed else None
    return value


def instruction(line):
    """(instruction, second word of those that have one, the value so far) of the line that begins one."""
    match = re.fullmatch(r"([A-Za-z]+)[ \t](.*)", line, re.S)
    if not match or match[1].upper() not in INSTRUCTIONS:
        raise ValueError(f"not an instruction: {line!r}")
    name, rest = match[1].upper(), match[2]
    if name not in ("PARAMETER", "MESSAGE"):
        return name, "", rest
    match = re.fullmatch(r"(\w+)[ \t](.*)", rest, re.S | re.A)
    if not match or (name == "MESSAGE" and match[1] not in ROLES):
        raise ValueError(f"not a {name}: {line!r}")
    return name, match[1], match[2]


def read(text):
    """The instructions in order, as (instruction, parameter or role or "", value)."""
    found, lines = [], iter(text.split("\n"))
    for line in lines:
        line = line.lstrip(" \t")
        if not line or line.startswith("#"):
            continue
        name, word, value = instruction(line)
        while (content := unquoted(value.strip())) is None:
            following = next(lines, None)
            if following is None:
                raise ValueError(f"quotes that are not closed: {value!r}")
            value += "\n" + following
        found.append((name, word, "".join(c for c in content if c.isprintable() or c in "\n\t")))
    if not any(name == "FROM" for name, _, _ in found):
        raise ValueError("no FROM line")
    return found

"""A strict reader of Prometheus' text format (version 0.0.4) with promtool's complaints about names."""

import re

SAMPLE = re.compile(r'([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$')
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(?:,|$)')
SUFFIXES = {"histogram": ("_bucket", "_sum", "_count"), "summary": ("", "_sum", "_count")}


def parse_labels(text: str) -> dict:
    labels, at = {}, 0
    while at < len(text):
        match = LABEL.match(text, at)
        assert match, f"bad labels: {text}"
        assert match[1] not in labels, f"label {match[1]} twice: {text}"
        labels[match[1]] = match[2]
        at = match.end()
    return labels


def check_histogram(name: str, samples: list) -> None:
    """Buckets of each series are cumulative, ordered, and end with +Inf, which equals the count."""
    buckets, counts = {}, {}
    for sample, labels, value in samples:
        key = tuple(sorted((k, v) for k, v in labels.items() if k != "le"))
        if sample.endswith("_bucket"):
            buckets.setdefault(key, []).append((float(labels["le"]), value))
        elif sample.endswith("_count"):
            counts[key] = value
    assert buckets.keys() == counts.keys(), name
    for key, series in buckets.items():
        assert series == sorted(series) and [v for _, v in series] == sorted(v for _, v in series), (name, series)
        assert series[-1] == (float("inf"), counts[key]), (name, series)


def parse(text: str) -> dict:
    """{(sample name, sorted label pairs): value}; raises AssertionError on anything that is not as it should be."""
    types, helps, samples, by_family = {}, {}, {}, {}
    assert text.endswith("\n")
    for line in text.splitlines():
        if line.startswith("# "):
            _, kind, name, rest = line.split(" ", 3)
            table = {"HELP": helps, "TYPE": types}[kind]
            assert name not in table, f"{kind} of {name} twice"
            assert name not in by_family, f"{kind} of {name} after its samples"
            table[name] = rest
            continue
        match = SAMPLE.match(line)
        assert match, f"bad line: {line}"
        name, labels, value = match[1], parse_labels(match[2] or ""), float(match[3])
        family = next((f for f, t in types.items() for s in SUFFIXES.get(t, ("",)) if f + s == name), None)
        assert family is not None, f"{name} has no TYPE"
        key = (name, tuple(sorted(labels.items())))
        assert key not in samples, f"twice: {line}"
        samples[key] = value
        by_family.setdefault(family, []).append((name, labels, value))
    for family, kind in types.items():
        assert helps.get(family), f"{family} has no HELP"
        assert family.endswith("_total") == (kind == "counter"), f"{family} is a {kind}"
        assert not family.endswith(("_ms", "_milliseconds", "_kb", "_percent")), f"{family}: not a base unit"
        if kind == "histogram":
            check_histogram(family, by_family.get(family, []))
    return samples

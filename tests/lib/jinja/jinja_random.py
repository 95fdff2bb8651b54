"""Random small templates: expressions of a type, now and then of another, in random statements."""
import random

VARIABLES = {
    "i": 3, "j": -2, "f": 1.5, "s": "Ab, c", "u": "é日😀 x", "e": "", "b": True, "nil": None, "l": [3, 1, 2], "w": ["b", "A", "c"],
    "d": {"k": 1, "s": "v", "l": [1]}, "m": [{"role": "user", "n": 2}, {"role": "bot", "n": 1, "x": "y"}], "el": [], "ed": {},
}
TEXTS = ["a", "b c", " x ", "", "é", "A-B", "1", "x,y,,z", "日本", "<b>", "it's", "\\n", "%s", "{}", "aXbX"]
SPACE = ["", " ", "\n", "  \n ", "\t", " a ", "\n\n"]


class Templates:
    def __init__(self, seed):
        self.rng = random.Random(seed)
        self.depth = 0
        self.names = []

    def pick(self, *options):
        """One of some functions or texts; near the leaves the first."""
        chosen = options[0] if self.depth > 3 else self.rng.choice(options)
        if isinstance(chosen, str):
            return chosen
        self.depth += 1
        try:
            return chosen()
        finally:
            self.depth -= 1

    def any(self):
        if self.names and self.rng.random() < 0.2:
            return self.rng.choice(self.names)
        return self.pick(lambda: self.rng.choice(list(VARIABLES)), self.number, self.text, self.items, self.truth, self.mapping, self.text, self.number, "none", lambda: self.rng.choice(["undef", "nil", "1"]),
                         lambda: f"{self.any()} if {self.truth()} else {self.any()}", lambda: f"({self.any()})", lambda: f"{self.any()}|default({self.any()})",
                         lambda: f"{self.truth()} and {self.any()}", lambda: f"{self.any()} or {self.any()}", lambda: f"{self.items()}[{self.number()}]", lambda: f"{self.mapping()}.k",
                         lambda: f"{self.mapping()}[{self.text()}]", lambda: f"{self.items()}|first", lambda: f"{self.items()}|last", lambda: f"d.get({self.text()}, {self.any()})")

    def confused(self, expression):
        return self.any() if self.rng.random() < 0.01 else expression

    def number(self):
        return self.confused(self.pick(
            lambda: str(self.rng.choice([0, 1, 2, 3, -1, 10, 1.5, 0.5])), "i", "j", "f", lambda: f"({self.number()} {self.rng.choice(['+', '-', '*', '+', '-', '*', '/', '//', '%'])} {self.number()})",
            lambda: f"{self.text()}|length", lambda: f"{self.items()}|length", lambda: f"l|sum + {self.number()}", lambda: f"{self.text()}.find({self.text()})", lambda: f"{self.text()}.count({self.text()})",
            lambda: f"{self.number()}|round(1)", lambda: f"{self.number()}|int", lambda: f"{self.text()}|int({self.number()})", lambda: f"{self.number()}|abs", lambda: f"-{self.number()}", lambda: "(l|max)", lambda: f"{self.number()}|float"))

    def text(self):
        return self.confused(self.pick(
            lambda: repr(self.rng.choice(TEXTS)), "s", "u", "e", lambda: f"({self.text()} + {self.text()})", lambda: f"({self.any()} ~ {self.any()})", lambda: f"{self.text()}|{self.rng.choice(['upper', 'lower', 'title', 'capitalize', 'trim', 'string', 'reverse', 'safe', 'e', 'indent', 'urlencode'])}",
            lambda: f"{self.text()}.{self.rng.choice(['upper', 'lower', 'title', 'strip', 'lstrip', 'rstrip', 'swapcase', 'capitalize'])}()", lambda: f"{self.text()}.strip({self.text()})", lambda: f"{self.text()}.replace({self.text()}, {self.text()})",
            lambda: f"{self.text()}[{self.bound()}:{self.bound()}:{self.rng.choice(['', '1', '2', '-1'])}]", lambda: f"{self.items()}|join({self.text()})", lambda: f"{self.any()}|tojson", lambda: f"{self.any()}|string", lambda: f"{self.any()}|tojson(indent={self.rng.choice(['1', '2', 'none'])})",
            lambda: f"{self.text()}.split({self.rng.choice(['s', ','.join(['none']), repr(','), self.text()])})[{self.rng.randrange(2)}]", lambda: f"{self.text()} * {self.rng.randrange(3)}", lambda: f"'%s-%s' % ({self.any()}, {self.any()})", lambda: f"'{{}}{{}}'.format({self.any()}, {self.any()})", lambda: f"{self.text()}|replace({self.text()}, {self.text()})",
            lambda: f"{self.text()}|truncate({self.rng.randrange(3, 6)}, {self.truth()}, '..', 0)", lambda: f"{self.text()}.center({self.rng.randrange(8)}, '*')", lambda: f"{self.text()}.partition({self.text()})[{self.rng.randrange(3)}]"))

    def bound(self):
        return self.rng.choice(["", "0", "1", "2", "-1", "-2", "i", "j"])

    def items(self):
        return self.confused(self.pick(
            "l", "w", "m", "el", lambda: f"[{self.any()}, {self.any()}]", lambda: f"({self.any()},)", lambda: f"range({self.rng.randrange(5)})|list", lambda: f"{self.text()}.split()", lambda: f"{self.text()}.split({self.text()}, {self.rng.randrange(-1, 3)})" if self.rng.random() < 0.5 else f"{self.text()}.split(none, {self.rng.randrange(-1, 3)})",
            lambda: f"{self.items()}[{self.bound()}:{self.bound()}:{self.rng.choice(['', '1', '2', '-1'])}]", lambda: f"({self.items()} + {self.items()})", lambda: f"{self.rng.choice(['l', 'w', self.items()])}|sort|list", lambda: f"{self.items()}|reverse|list", lambda: f"{self.rng.choice(['l', 'w', self.items()])}|unique|list",
            lambda: f"{self.items()}|map('{self.rng.choice(['string', 'upper', 'lower', 'int', 'tojson', 'trim', 'float', 'string', 'title', 'length'])}')|list", lambda: f"{self.items()}|{self.rng.choice(['select', 'reject'])}('{self.rng.choice(['string', 'number', 'defined', 'none', 'mapping', 'iterable'])}')|list",
            lambda: f"{self.items()}|map(attribute='{self.rng.choice(['role', 'n', 'x', '0'])}')|list", lambda: f"{self.items()}|selectattr('{self.rng.choice(['role', 'n', 'x'])}'{self.rng.choice(['', ', chr'.replace('chr', repr('defined')), ', ' + repr('eq') + ', 2'])})|list",
            lambda: f"{self.items()}|batch({self.rng.randrange(1, 4)}{self.rng.choice(['', ', 0'])})|list", lambda: f"{self.items()}|slice({self.rng.randrange(1, 4)})|list", lambda: f"{self.mapping()}|dictsort", lambda: f"{self.mapping()}.items()|list", lambda: f"{self.mapping()}|list",
            lambda: f"{self.text()}|list", lambda: "m|groupby('n')|list", lambda: f"{self.text()}.splitlines()"))

    def mapping(self):
        return self.confused(self.pick("d", "ed", "m[0]", lambda: f"{{{self.text()}: {self.any()}, 'k': {self.any()}}}", lambda: f"dict({self.mapping()}, k={self.any()})", lambda: f"{{{self.number()}: {self.any()}}}"))

    def truth(self):
        compare = ["==", "!=", "<", "<=", ">", ">="]
        return self.confused(self.pick(
            "b", "true", "false", lambda: f"{self.number()} {self.rng.choice(compare)} {self.number()}", lambda: f"{self.text()} {self.rng.choice(compare)} {self.text()}", lambda: f"{self.any()} == {self.any()}", lambda: f"not {self.truth()}", lambda: f"({self.truth()} {self.rng.choice(['and', 'or'])} {self.truth()})",
            lambda: f"{self.any()} in {self.items()}", lambda: f"{self.text()} not in {self.text()}", lambda: f"{self.text()}.startswith({self.text()})", lambda: f"{self.text()}.endswith({self.text()})",
            lambda: f"({self.any()}) is {self.rng.choice(['', 'not '])}{self.rng.choice(['defined', 'none', 'string', 'number', 'mapping', 'sequence', 'iterable', 'odd', 'true', 'boolean', 'upper', 'lower', 'integer'])}", lambda: f"{self.number()} < {self.number()} < {self.number()}",
            lambda: f"{self.text()}.{self.rng.choice(['isdigit', 'isalpha', 'isspace', 'isupper', 'islower', 'istitle', 'isalnum'])}()", lambda: f"{self.text()} in {self.mapping()}"))

    def tag(self, text):
        return "{%" + self.rng.choice(["", "", "-", "+"]) + f" {text} " + self.rng.choice(["", "", "-", "+"]) + "%}"

    def body(self):
        self.depth += 1
        known = len(self.names)
        out = "".join(self.statement() for _ in range(self.rng.randrange(1, 4)))
        del self.names[known:]
        self.depth -= 1
        return out

    def statement(self):
        return self.rng.choice(SPACE) + self.pick(self.output, self.output, self.output, self.branch, self.loop, self.assign, self.block, self.macro, self.other) + self.rng.choice(SPACE)

    def output(self):
        return "{{" + self.rng.choice(["", "-"]) + f" {self.any()} " + self.rng.choice(["", "-"]) + "}}"

    def branch(self):
        middle = self.tag(f"elif {self.truth()}") + self.body() if self.rng.random() < 0.3 else ""
        last = self.tag("else") + self.body() if self.rng.random() < 0.5 else ""
        return self.tag(f"if {self.truth()}") + self.body() + middle + last + self.tag("endif")

    def loop(self):
        name = self.rng.choice(["x", "y", "i", "s"])
        self.names += [name, f"loop.{self.rng.choice(['index', 'first', 'last', 'length', 'index0', 'revindex', 'previtem', 'nextitem', 'depth'])}"]
        head = f"for {name} in {self.items()}" if self.rng.random() < 0.8 else f"for {name}, z in {self.mapping()}.items()"
        if self.rng.random() < 0.2:
            head += f" if {self.truth()}"
        stop = self.tag(f"if {self.truth()}") + self.tag(self.rng.choice(["break", "continue"])) + self.tag("endif") if self.rng.random() < 0.2 else ""
        last = self.tag("else") + self.body() if self.rng.random() < 0.2 else ""
        return self.tag(head) + self.body() + stop + self.body() + last + self.tag("endfor")

    def assign(self):
        name = self.rng.choice(["x", "y", "i", "s", "t"])
        out = self.tag(f"set {name} = {self.any()}")
        if self.rng.random() < 0.2:
            out = self.tag("set ns = namespace(v=0)") + self.tag(f"set ns.v = {self.any()}")
            name = "ns.v"
        if self.rng.random() < 0.2:
            out = self.tag(f"set {name.replace('ns.v', 't')}") + self.body() + self.tag("endset")
        self.names.append(name)
        return out

    def block(self):
        kind, end = self.rng.choice([("filter upper", "endfilter"), ("generation", "endgeneration"), (f"with t = {self.any()}", "endwith"), ("filter replace('a', 'b')|trim", "endfilter")])
        return self.tag(kind) + self.body() + self.tag(end)

    def macro(self):
        out = self.tag(f"macro g(t, y={self.any()})") + self.body() + self.rng.choice(["", "{{ caller() if caller }}", "{{ varargs }}", "{{ kwargs }}"]) + self.tag("endmacro")
        call = f"g({self.any()}{self.rng.choice(['', ', ' + self.any(), ', y=' + self.any()])})"
        return out + self.rng.choice(["{{ " + call + " }}", self.tag("call " + call) + self.body() + self.tag("endcall")])

    def other(self):
        return self.rng.choice(["{# c #}", "{#- c -#}", "{% raw %} {{ x }} {% endraw %}", "{%- raw -%} a {%- endraw -%}", "text", "é\r\n", "{", "}}"])

    def template(self):
        self.names = []
        return "".join(self.statement() for _ in range(self.rng.randrange(1, 4))) + "{{ x }}{{ t }}"

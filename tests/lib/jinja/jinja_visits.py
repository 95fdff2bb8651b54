"""Which part of a text came from which element, found by Jinja2 itself.

Each for loop of the template's tree gets two calls, at the beginning and at the end of its body, that note the element and how
much text has been given out by then. Loops in captured output are left as they are. Within a generation block, whose text
Jinja2 gives out as a whole, the place is not known: None.
"""
import functools

import jinja2
from jinja2 import nodes
from transformers.utils import chat_template_utils


def call(name, *args):
    return nodes.Output([nodes.Call(nodes.Name(name, "load"), list(args), [], None, None)])


def with_ends(body):
    """The body with the closing call before each way out of it."""
    out = []
    for node in body:
        if isinstance(node, (nodes.Break, nodes.Continue)):
            out.append(call("mark_end"))
        if isinstance(node, nodes.If):
            node.body, node.elif_, node.else_ = with_ends(node.body), with_ends(node.elif_), with_ends(node.else_)
        out.append(node)
    return out


def mark(body, inside=False):
    for node in body:
        if isinstance(node, nodes.For) and not node.recursive:
            mark(node.body + node.else_, inside)
            if isinstance(node.target, nodes.Name):
                begin = call("mark_begin", nodes.Name(node.target.name, "load"), nodes.Const(inside))
                node.body = [begin, *with_ends(node.body), call("mark_end")]
        elif isinstance(node, nodes.If):
            mark(node.body + node.elif_ + node.else_, inside)
        elif isinstance(node, nodes.With):
            mark(node.body, inside)
        elif isinstance(node, nodes.CallBlock) and isinstance(node.call.node, nodes.ExtensionAttribute):
            mark(node.body, inside=True)


class Marks:
    """Where the calls note what they see, while a text is rendered."""

    def start(self, elements):
        self.blocks, self.open, self.found = [], [], []
        self.index = {}
        for i, element in enumerate(elements):
            self.index.setdefault(id(element), i)

    def size(self, inside):
        return None if inside else len("".join(self.blocks).encode())

    def begin(self, element, inside):
        self.open.append((self.index.get(id(element)), self.size(inside), inside))
        return ""

    def end(self):
        element, begin, inside = self.open.pop()
        if element is not None:
            self.found.append([element, begin, self.size(inside)])
        return ""


@functools.lru_cache
def marked(template):
    environment = chat_template_utils._compile_jinja_template(template).environment
    tree, marks = environment.parse(template), Marks()
    mark(tree.body)
    names = {**environment.globals, "mark_begin": marks.begin, "mark_end": marks.end}
    return jinja2.Template.from_code(environment, environment.compile(tree), names), marks


def visits(template, variables, watched):
    """[index, begin, end] in bytes, in the order in which the iterations end."""
    compiled, marks = marked(template)
    marks.start(variables[watched])
    for block in compiled.generate(**variables):
        marks.blocks.append(block)
    return marks.found

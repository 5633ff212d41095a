"""Parser of VRML 2.0 text into a tree of nodes: the grammar only (ISO/IEC 14772-1, annex A).

Strict: text that breaks the grammar, ends early, or uses a name before its definition is refused with its
line. Arrays of numbers stay text here, because nearly all of a file is such arrays and they are converted
together later.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from align3d.errors import RejectedItem

# An array without nested nodes is one token; so is a whole string. Commas are blanks in VRML.
_TOKEN = re.compile(r'\[[^\[\]{}"]*\]|[{}\[\]]|"(?:[^"\\]|\\.)*"|[^\s,{}\[\]"]+|"')
_COMMENT_OR_STRING = re.compile(r'"(?:[^"\\]|\\.)*"|#[^\n]*')
_NUMBER_START = frozenset("+-.0123456789")
_NODE_LISTS = frozenset({"children", "choice", "level"})
_MAX_DEPTH = 100

Value = "Node | list[Node] | list[str] | str | None"


@dataclass(slots=True)
class Node:
    """One node: its type, the name it was defined under, and its fields.

    A field's value is a ``Node``, a list of them, the text of an array ("[1, 2, -1]"), a list of the words
    of a scalar or vector (``["0.4", "0.4", "0.4"]``), or None for NULL.
    """

    type: str
    name: str | None = None
    fields: dict[str, Node | list[Node] | list[str] | str | None] = field(default_factory=dict)

    def node(self, name: str) -> Node | None:
        """The field's node, or None where it is missing or NULL; refuses any other value."""
        value = self.fields.get(name)
        if value is None or isinstance(value, Node):
            return value
        raise RejectedItem(f"field {name} of {self.type} is not a node")

    def nodes(self, name: str) -> list[Node]:
        """The field's nodes; a single node counts as a list of one."""
        value = self.fields.get(name)
        if value is None:
            return []
        if isinstance(value, Node):
            return [value]
        if isinstance(value, str):
            raise RejectedItem(f"field {name} of {self.type} is not a list of nodes")
        return [child for child in value if isinstance(child, Node)]

    def numbers(self, name: str, default: tuple[float, ...]) -> tuple[float, ...]:
        """The field's numbers, as many as the default has."""
        value = self.fields.get(name)
        if value is None:
            return default
        words = value if isinstance(value, list) else ["not a number"]
        try:
            found = tuple(float(word) for word in words)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            found = ()
        if len(found) != len(default):
            raise RejectedItem(f"field {name} of {self.type}: expected {len(default)} numbers")
        return found

    def array(self, name: str) -> str:
        """The text between the brackets of an array field; a single value may come without brackets."""
        value = self.fields.get(name)
        if value is None:
            return ""
        if isinstance(value, str) and value.startswith("["):
            return value[1:-1]
        if isinstance(value, list) and all(isinstance(word, str) for word in value):
            return " ".join(value)  # type: ignore[arg-type]
        raise RejectedItem(f"field {name} of {self.type} is not an array of numbers")


class _Parser:
    """Recursive descent over the tokens of one file."""

    def __init__(self, text: str) -> None:
        self.tokens = _TOKEN.findall(text)
        self.tokens.reverse()  # popped from the end
        self.total = len(self.tokens)
        self.defined: dict[str, Node] = {}

    def fail(self, what: str) -> RejectedItem:
        return RejectedItem(f"{what} at token {self.total - len(self.tokens)} of {self.total}")

    def scene(self) -> list[Node]:
        nodes = []
        try:
            while self.tokens:
                nodes.append(self.node_value(self.tokens.pop(), 0))
        except IndexError as error:  # no token left where the grammar wants one
            raise RejectedItem("truncated file: it ends inside a node") from error
        return nodes

    def node_value(self, token: str, depth: int) -> Node:
        """A node where one must stand: ``Type {``, ``DEF name Type {`` or ``USE name``."""
        if token == "USE":
            name = self.tokens.pop()
            if name not in self.defined:
                raise self.fail(f"USE {name} before its DEF")
            return self.defined[name]
        name_defined = None
        if token == "DEF":
            name_defined = self.tokens.pop()
            token = self.tokens.pop()
        if token in ("PROTO", "EXTERNPROTO", "ROUTE"):
            raise self.fail(f"{token} is not read")
        if not (token[0].isalpha() or token[0] == "_"):
            raise self.fail(f"expected a node, found {token[:20]!r}")
        if self.tokens.pop() != "{":
            raise self.fail(f"expected {{ after {token[:20]}")
        node = Node(token, name_defined)
        self.body(node, depth + 1)
        if name_defined is not None:
            self.defined[name_defined] = node
        return node

    def body(self, node: Node, depth: int) -> None:
        if depth > _MAX_DEPTH:
            raise self.fail(f"nodes nested deeper than {_MAX_DEPTH}")
        tokens, fields = self.tokens, node.fields
        while (name := tokens.pop()) != "}":
            if not (name[0].isalpha() or name[0] == "_"):
                raise self.fail(f"expected a field of {node.type}, found {name[:20]!r}")
            token = tokens.pop()
            first = token[0]
            if first == "[":
                if len(token) == 1 or name in _NODE_LISTS:
                    fields[name] = self.node_list(token, depth)
                else:
                    fields[name] = token
            elif first in _NUMBER_START:
                words = [token]
                while tokens and tokens[-1][0] in _NUMBER_START:
                    words.append(tokens.pop())
                fields[name] = words
            elif token in ("TRUE", "FALSE") or (first == '"' and len(token) > 1):
                fields[name] = [token]
            elif token == "NULL":
                fields[name] = None
            else:
                fields[name] = self.node_value(token, depth)

    def node_list(self, token: str, depth: int) -> list[Node] | list[str]:
        """Nodes up to the closing bracket; ``[USE a, USE b]`` arrives as one token and is split again."""
        if len(token) > 1:
            self.tokens.append("]")
            self.tokens.extend(reversed(_TOKEN.findall(token[1:-1])))
        nodes: list[Node] = []
        while (token := self.tokens.pop()) != "]":
            if token[0] == '"':  # a list of strings, such as an image's url
                continue
            nodes.append(self.node_value(token, depth))
        return nodes


def parse_vrml(text: str) -> list[Node]:
    """Read the nodes of a VRML 2.0 file.

    Args:
        text: Text of the whole file.

    Returns:
        The top-level nodes; a node used twice (DEF, USE) is one object.

    Raises:
        RejectedItem: Not VRML 2.0, truncated, or against the grammar.
    """
    if not text.startswith("#VRML V2.0"):
        raise RejectedItem(f"not VRML 2.0: it starts with {text[:16]!r}" if text.strip() else "empty file")
    text = _COMMENT_OR_STRING.sub(lambda m: m[0] if m[0][0] == '"' else " ", text)
    return _Parser(text).scene()

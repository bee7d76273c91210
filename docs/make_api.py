"""Make docs/api, a page a package: the signature and the docstring of every public name.

    python docs/make_api.py

What can be raised is left out, as `help(name)` has it. A test compares the pages with what this makes.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import sys
import textwrap
from pathlib import Path
from types import ModuleType
from typing import Any

FOLDER = Path(__file__).parent / "api"
PACKAGES = (
    "vaejax", "data", "disentanglement", "distributions", "evaluation", "human", "lab", "models", "nets",
    "objectives", "ops", "plots", "runs", "train",
)  # fmt: skip
BESIDE = {"runs": ("figures", "sentences")}  # public modules that no `__all__` names
SECTION = re.compile(r"^(Args|Returns|Raises):$", re.MULTILINE)
# what Markdown would take for its own, outside of `code`; a name's underscores are none of it
SPECIAL = re.compile(r"[*$]|<(?=[\w/!?])|(?<=\])\(|(?<!\w)_|_(?!\w)")
MARKER = re.compile(r"^( *)([-+>#])(?= )", re.MULTILINE)  # at the start of a line


def pages() -> dict[str, str]:
    """{file name: text} of all pages, README.md their list."""
    made = {f"{name}.md": page(name) for name in PACKAGES}
    listed = "\n".join(f"* [{name}]({name}.md): {first(module_of(name))}" for name in PACKAGES)
    how = "Made of the docstrings by `python docs/make_api.py`; `help(name)` also says what can be raised."
    return {"README.md": f"# The reference\n\n{how}\n\n{listed}\n", **made}


def page(package: str) -> str:
    """The page of a package: what it holds, and then every name."""
    module = module_of(package)
    parts = list(entries(package, module))
    held = "\n".join(f"* [{title}](#{anchor(title)}): {first(thing)}" for title, thing, _ in parts)
    return "\n\n".join([f"# {package}", markdown(module.__doc__), held, *(text for *_, text in parts)]) + "\n"


def entries(title: str, module: ModuleType, mark: str = "##") -> Any:
    """(title, object, text) of every public name of a module, and of the modules among them.

    `mark`: of headings.
    """
    inner = []
    for name in public(module):
        thing, full = inspect.unwrap(getattr(module, name)), f"{title}.{name}"
        if not isinstance(thing, ModuleType):
            yield full, thing, f"{mark} {full}\n\n{described(name, thing)}"
        elif name not in PACKAGES:
            inner.append((full, thing))
    for full, thing in inner:
        yield full, thing, f"{mark} {full}\n\n{markdown(thing.__doc__)}"
        yield from entries(full.removeprefix("vaejax."), thing, f"{mark}#")


def public(module: ModuleType) -> list[str]:
    """The names of `__all__`, or, without one, of the functions that a module defines."""
    package = module.__name__.rpartition(".")[2]
    own = [n for n, f in vars(module).items() if inspect.isfunction(f) and f.__module__ == module.__name__]
    names = getattr(module, "__all__", [name for name in own if not name.startswith("_")])
    for name in (beside := BESIDE.get(package, ())):
        importlib.import_module(f"{module.__name__}.{name}")
    return [*names, *beside]


def described(name: str, thing: Any) -> str:
    """Signature and docstring of a class, a function or a value."""
    if not (inspect.isclass(thing) or inspect.isfunction(thing)):
        return f"```python\n{assigned(name, thing)}\n```"
    node, lines = source_of(thing)
    head = signature(node, lines)
    if inspect.isclass(thing):
        inside = fields_or_init(thing)
        head = "\n".join([head + ":" * bool(inside), *inside])
    text = [f"```python\n{head}\n```", markdown(inspect.getdoc(thing))]
    if isinstance(node, ast.ClassDef):
        text.append("\n".join(method(part, lines) for part in node.body if is_method(part)))
    return "\n\n".join(filter(None, text))


def source_of(thing: Any) -> tuple[ast.ClassDef | ast.FunctionDef, list[str]]:
    """The definition of a class or a function, and the lines that its places count."""
    lines = textwrap.dedent(inspect.getsource(thing)).splitlines()
    node = ast.parse("\n".join(lines)).body[0]
    assert isinstance(node, ast.ClassDef | ast.FunctionDef)
    return node, lines


def signature(node: ast.ClassDef | ast.FunctionDef, lines: list[str]) -> str:
    """The lines of a `def`, or the first ones of a class."""
    return re.sub(r":?( *# fmt: skip)?$", "", "\n".join(lines[node.lineno - 1 : node.body[0].lineno - 1]))


def fields_or_init(kind: type) -> list[str]:
    """The lines of a class's fields, those of bases that are not public first, or of its `__init__`."""
    fields, init = [], []
    for base in kind.__mro__[::-1]:
        home = ".".join(base.__module__.split(".")[:2])
        if not home.startswith("vaejax.") or (base is not kind and base.__name__ in vars(sys.modules[home])):
            continue
        node, lines = source_of(base)
        own = [a for a, before in zip(node.body, [None, *node.body], strict=False) if is_field(a, before)]
        fields += lines[own[0].lineno - 1 : own[-1].end_lineno] if own else []
        inits = [part for part in node.body if isinstance(part, ast.FunctionDef) and part.name == "__init__"]
        init = [signature(part, lines) for part in inits] or init
    return fields or init


def is_field(part: ast.stmt, before: ast.stmt | None) -> bool:
    """Whether it is a field, or the text below one that says what it is."""
    if isinstance(part, ast.Expr):
        return before is not None and is_field(before, None)
    return isinstance(part, ast.AnnAssign) and "ClassVar" not in ast.unparse(part.annotation)


def is_method(part: ast.stmt) -> bool:
    """Whether it is a public method or property with a docstring."""
    return isinstance(part, ast.FunctionDef) and part.name[0] != "_" and bool(ast.get_docstring(part))


def method(part: ast.stmt, lines: list[str]) -> str:
    """A method in a line or two: its signature, but for self, and what it does."""
    assert isinstance(part, ast.FunctionDef)
    head = re.sub(r"\s+", " ", signature(part, lines)).strip().removeprefix("def ")
    if any(ast.unparse(decorator) == "property" for decorator in part.decorator_list):
        head = head.replace("(self)", "")
    head = re.sub(r"\((self|cls)(, )?", "(", head, count=1)
    return f"* `{head}`: {escaped((ast.get_docstring(part) or '').splitlines()[0])}"


def assigned(name: str, value: Any) -> str:
    """The line that gives a public value its name."""
    for module in [m for n, m in sorted(sys.modules.items()) if n.startswith("vaejax.")]:
        if vars(module).get(name) is not value:
            continue
        source = inspect.getsource(module)
        for part in ast.parse(source).body:
            targets = getattr(part, "targets", [getattr(part, "target", None)])
            if any(isinstance(target, ast.Name) and target.id == name for target in targets):
                return str(ast.get_source_segment(source, part))
    raise LookupError(name)


def markdown(doc: str | None) -> str:
    """A docstring as Markdown: its text, a list of arguments, what is returned; not what is raised."""
    head, *rest = SECTION.split(inspect.cleandoc(doc or ""))
    text = [escaped(head)]
    for kind, body in zip(rest[::2], rest[1::2], strict=True):
        # a section ends where the text stands at the margin again
        inside, _, after = re.sub(r"\n(?=\S)", "\n\0", body.strip("\n"), count=1).partition("\0")
        inside = textwrap.dedent(inside).strip()
        if kind == "Args":
            text.append("Arguments:\n\n" + re.sub(r"^(?=\S)", "* ", named(inside), flags=re.MULTILINE))
        elif kind == "Returns":
            text.append("Returns: " + escaped(inside))
        text.append(escaped(after))
    return "\n\n".join(part.strip() for part in text if part.strip())


def named(arguments: str) -> str:
    """Lines `name: text`, each name as code, with what goes on below them."""
    lines = (re.fullmatch(r"(\S.*?): (.*)", line) or line for line in arguments.splitlines())
    return "\n".join(
        f"  {escaped(line.strip())}" if isinstance(line, str) else f"`{line[1]}`: {escaped(line[2])}"
        for line in lines
    )


def escaped(text: str) -> str:
    """Text that Markdown shows as it stands; code in backticks, and paragraphs set in by four, are left."""
    paragraphs = []
    for paragraph in text.strip("\n").split("\n\n"):
        if not all(line.startswith("    ") for line in paragraph.splitlines()):
            spans = re.split(r"(`[^`]*`)", MARKER.sub(r"\1\\\2", paragraph))
            spans[::2] = [SPECIAL.sub(r"\\\g<0>", span) for span in spans[::2]]
            paragraph = "".join(spans)
        paragraphs.append(paragraph)
    return "\n\n".join(paragraphs)


def first(thing: Any) -> str:
    """The first line of a docstring; of a value without one nothing."""
    value = not (inspect.isclass(thing) or inspect.isfunction(thing) or inspect.ismodule(thing))
    return "a value" if value else escaped((inspect.getdoc(thing) or "").split("\n\n")[0].replace("\n", " "))


def anchor(title: str) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w-]", "", title.lower())


def module_of(package: str) -> ModuleType:
    """The module of a page."""
    return importlib.import_module("vaejax" if package == "vaejax" else f"vaejax.{package}")


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    made = pages()
    for path in FOLDER.glob("*.md"):
        if path.name not in made:
            path.unlink()
    for name, text in made.items():
        (FOLDER / name).write_text(text, encoding="utf-8")

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
BESIDE = {"runs": ("figures",)}  # public modules that no `__all__` names
SECTION = re.compile(r"^(Args|Returns|Raises):$", re.MULTILINE)
# what Markdown would take for its own, outside of `code`; a name's underscores are none of it
SPECIAL = re.compile(r"[*$]|<(?=[\w/!?])|(?<=\])\(|(?<!\w)_|_(?!\w)|^(?:[-+>#](?= ))", re.MULTILINE)


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


def entries(title: str, module: ModuleType) -> Any:
    """(title, object, text) of every public name of a module, and of the modules among them."""
    inner = []
    for name in public(module):
        thing, full = getattr(module, name), f"{title}.{name}"
        if not isinstance(thing, ModuleType):
            yield full, thing, described(full, name, thing)
        elif name not in PACKAGES:
            inner.append((full, thing))
    for full, thing in inner:
        yield full, thing, f"## {full}\n\n{markdown(thing.__doc__)}"
        yield from entries(full.removeprefix("vaejax."), thing)


def public(module: ModuleType) -> list[str]:
    """The names of `__all__`, or, without one, of the functions that a module defines."""
    package = module.__name__.rpartition(".")[2]
    own = [n for n, f in vars(module).items() if inspect.isfunction(f) and f.__module__ == module.__name__]
    names = getattr(module, "__all__", [name for name in own if not name.startswith("_")])
    return [*names, *BESIDE.get(package, ())]


def described(title: str, name: str, thing: Any) -> str:
    """Heading, signature and docstring of a class, a function or a value."""
    if not (inspect.isclass(thing) or inspect.isfunction(thing)):
        return f"### {title}\n\n```python\n{assigned(name, thing)}\n```"
    lines = textwrap.dedent(inspect.getsource(thing)).splitlines()
    node = ast.parse("\n".join(lines)).body[0]
    assert isinstance(node, ast.ClassDef | ast.FunctionDef)
    text = [f"### {title}", f"```python\n{signature(node, lines)}\n```", markdown(inspect.getdoc(thing))]
    if isinstance(node, ast.ClassDef):
        text.append("\n".join(method(part, lines) for part in node.body if is_method(part)))
    return "\n\n".join(filter(None, text))


def signature(node: ast.ClassDef | ast.FunctionDef, lines: list[str]) -> str:
    """The lines of a `def`; of a class its first ones, and those of its fields or of its `__init__`."""
    head = re.sub(r":?( *# fmt: skip)?$", "", "\n".join(lines[node.lineno - 1 : node.body[0].lineno - 1]))
    if isinstance(node, ast.FunctionDef):
        return head
    fields = [part for part in node.body if isinstance(part, ast.AnnAssign)]
    inits = [part for part in node.body if isinstance(part, ast.FunctionDef) and part.name == "__init__"]
    if fields:
        return f"{head}:\n" + "\n".join(lines[fields[0].lineno - 1 : fields[-1].end_lineno])
    return "\n".join([head + ":" * bool(inits), *(signature(init, lines) for init in inits)])


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
            if isinstance(part, ast.Assign) and ast.unparse(part.targets[0]) == name:
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
            spans = re.split(r"(`[^`]*`)", paragraph)
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

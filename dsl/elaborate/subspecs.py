"""Specs in specs: which spec a name means, at which dims, and the streams that pass through."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from .. import syntax
from ..core import Node, Param, Type
from ..document import Defined, Document, load_document
from ..library import find, library_paths
from ..shapes import Entry, Scalar, Table, closest
from ..sizes import Size
from ..typed import StreamInfo, TypedSpec
from .dims import Dims
from .state import PREDECLARED, Choices
from .values import Env, Poisoned, Word

MOST_SPECS = 8  # in one another


SUFFIXES = (".yaml", ".yml")


class Subspecs(Dims):
    """The specs that a document uses."""

    def declare_specs(self) -> None:
        """Which spec each spec-valued parameter is: what was chosen, or its default."""
        for name, defined in self.document.sections.get("specs", {}).items():
            value = defined.value
            chosen = value.get("default") if isinstance(value, Table) else value
            given = self.choices.dims.get(name)
            if isinstance(chosen, Scalar):
                text = str(given) if given is not None else str(chosen.value)
                if given is None and text in self.spec_params:
                    self.spec_aliases[name] = text
                    text = str(self.spec_params[text].value)
                self.spec_params[name] = Scalar(text, chosen.span)
                self.spec.dims[name] = Path(text).stem

    def _reach(self, name: str) -> dict[str, bool | int | float | str]:
        """The choices meant for a spec-valued parameter, after those for what it defaults to."""
        alias = self.spec_aliases.get(name)
        return {**(self._reach(alias) if alias else {}), **self.choices.inner(name)}

    def subspec(self, name: Scalar, given: object, env: Env) -> TypedSpec:
        """The typed spec of a name, at the dims that it is used with."""
        target = self.spec_params.get(str(name.value), name)
        if target is name and name.value in self.document.sections.get("specs", {}):
            raise Poisoned
        path = self._spec_path(target, env)
        document = self._load(path, target, env)
        dims = self._dims_for(document, given, env)
        dims.update(self._reach(str(name.value)))
        derived = _derived(document)
        dims = {key: value for key, value in dims.items() if key not in derived}
        made = (str(path), tuple(sorted(dims.items(), key=str)))
        if made not in self.cache:
            self._elaborate_spec(made, document, Choices(dims), target, env)
        return self.cache[made]

    def _dims_for(
        self, document: Document, given: object, env: Env
    ) -> dict[str, bool | int | float | str]:
        """The dims that a used spec gets: this spec's own, and those of `with`."""
        declared = document.sections.get("dims", {})
        specs = document.sections.get("specs", {})
        dims: dict[str, bool | int | float | str] = {}
        chosen = {*self.choices.dims, *self.document.sections.get("dims", {})}
        for key in PREDECLARED:  # derived ones are derived again, from what the spec is given
            if key in ("d_model", "heads") or key in chosen:
                dims[key] = self.dim(key).value
        for entry in given.entries.values() if isinstance(given, Table) else ():
            dims.update(self._with(entry, declared, specs, env))
        return dims

    def _elaborate_spec(
        self, made: object, document: Document, choices: Choices, target: Scalar, env: Env
    ) -> None:
        if self.depth > MOST_SPECS:
            help = "a spec cannot hold itself; a stack repeats layers"
            message = f"`{target.value}` uses itself"
            raise self.fail("ATT403", message, target.span, env, help)
        self.tick(target.span, env, 100)
        before = len(self.report.errors)
        self.cache[made] = type(self)(
            document,
            self.loader,
            choices,
            depth=self.depth + 1,
            cache=self.cache,
            work=self.work,
        ).run()
        if len(self.report.errors) > before:
            raise Poisoned

    def _with(
        self, entry: Entry, declared: Mapping[str, Defined], specs: Mapping[str, Defined], env: Env
    ) -> dict[str, bool | int | float | str]:
        expr, name = entry.value, entry.name
        if not isinstance(expr, syntax.Syntax):
            raise Poisoned
        if name in specs:
            if not isinstance(expr, syntax.Name):
                raise self.fail("ATT402", "a spec is given by its name", expr.span, env)
            chosen = self.spec_params.get(expr.name)
            text = expr.name if chosen is None else str(chosen.value)
            found: dict[str, bool | int | float | str] = {name: self._located(text)}
            reach = self._reach(expr.name)
            found.update({f"{name}.{key}": value for key, value in reach.items()})
            return found
        if name not in declared and name not in PREDECLARED:
            hint = closest(name, (*declared, *specs, *PREDECLARED))
            raise self.fail(
                "ATT312",
                f"the spec has no dim `{name}`",
                entry.name_span,
                env,
                f"did you mean `{hint}`?" if hint else "",
            )
        known = isinstance(expr, syntax.Name) and self.static_name(expr.name, expr.span, ())
        if isinstance(expr, syntax.Name) and known is None:
            return {name: expr.name}
        value = self.static(expr, env)
        if isinstance(value, Size):
            return {name: value.value}
        return {name: value.text if isinstance(value, Word) else value}

    def _spec_path(self, name: Scalar, env: Env) -> Path:
        path = self._find(str(name.value))
        if path is None:
            hint = closest(str(name.value), (*library_paths(), *self.spec_params))
            raise self.fail(
                "ATT402",
                f"there is no spec `{name.value}`",
                name.span,
                env,
                f"did you mean `{hint}`?" if hint else "`attnc list` shows the library",
            )
        return path

    def _find(self, text: str) -> Path | None:
        """The file of a spec. Texts hold names; a path comes only from whoever compiles."""
        if text.endswith(SUFFIXES):
            return Path(text) if Path(text).is_file() else None
        return find(text, self.document.folder)

    def _located(self, text: str) -> str:
        """A name as another file understands it: the path of a neighbour of this file."""
        path = self._find(text)
        return text if path is None or path == library_paths().get(text) else str(path)

    def _load(self, path: Path, name: Scalar, env: Env) -> Document:
        document = load_document(self.loader, None, path)
        if document is None:
            raise self.fail("ATT402", f"the spec `{name.value}` has mistakes", name.span, env)
        return document

    def stream_value(self, name: str, result: Type) -> Node | None:
        """The value of a stream that a used spec needs: the spec's own stream of that name."""
        if self.muted_streams:
            return None
        if name not in self.spec.streams:
            self.spec.streams[name] = StreamInfo(name, result, None, "none")
            self.passed[name] = None
            self.memo[name] = Param(result, name, "stream")
        current = self.passed.get(name)
        if current is not None:
            return current
        value = self.memo.get(name)
        return value if isinstance(value, Node) else None

    def pass_on(self, name: str, node: Node) -> None:
        """The new value of a stream that a used spec changed: the spec's output of that name."""
        if self.muted_streams:
            return
        self.passed[name] = node


def _derived(document: Document) -> set[str]:
    """The dims of a spec that are computed from others and cannot be given."""
    return {
        name
        for name, defined in document.sections.get("dims", {}).items()
        if isinstance(defined.value, Table) and defined.value.get("is") is not None
    }

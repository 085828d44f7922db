"""Run GraphQL documents: parsed by graphql-core, answered from the world's objects.

An object is a mapping from field names to values or to functions of the field's arguments. The
document is checked against GitHub's official schema by the contract, so this module can be small:
it selects, in order, what is asked for. Mutations of one document run one after the other, and
one that fails does not keep the next from running (GraphQL specification, section 6.2.2).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLSyntaxError,
    InlineFragmentNode,
    OperationDefinitionNode,
    OperationType,
    SelectionSetNode,
    Undefined,
    parse,
    value_from_ast_untyped,
)

from tests.world.github.errors import ApiError, unauthorized
from tests.world.github.graphql.mutations import MUTATIONS
from tests.world.github.graphql.objects import INTERFACES, GraphqlError, Viewer, queries
from tests.world.github.permissions import Principal
from tests.world.github.state import State

Json = dict[str, Any]


def execute(state: State, principal: Principal, text: str, variables: Json) -> Json:
    """Answer a document as GitHub does: always with 200, errors in a list."""
    if principal.account is None:
        raise unauthorized()
    try:
        document = parse(text)
    except GraphQLSyntaxError as error:
        return {"errors": [{"message": error.message}]}
    operation = _operation(document)
    viewer = Viewer(state, principal)
    run = _Run(document, _with_defaults(operation, variables))
    if operation.operation is OperationType.MUTATION:
        root: Mapping[str, Any] = {
            name: _bound(mutate, viewer) for name, mutate in MUTATIONS.items()
        }
    else:
        root = queries(viewer)
    return run.answer(operation, root)


def _bound(mutate: Callable[[Viewer, Json], Json], viewer: Viewer) -> Callable[..., Json]:
    def run(**arguments: Any) -> Json:  # noqa: ANN401 - GraphQL arguments have any type
        return mutate(viewer, arguments["input"])

    return run


def _operation(document: DocumentNode) -> OperationDefinitionNode:
    return next(d for d in document.definitions if isinstance(d, OperationDefinitionNode))


def _with_defaults(operation: OperationDefinitionNode, variables: Json) -> Json:
    defaults = {
        definition.variable.name.value: value_from_ast_untyped(definition.default_value)
        for definition in operation.variable_definitions or ()
        if definition.default_value is not None
    }
    return defaults | variables


class Selected(dict[str, Any]):
    """What was selected of an object, and of which type that is."""

    def __init__(self, typename: str) -> None:
        """Begin with no field."""
        super().__init__()
        self.typename = typename


@dataclass(slots=True)
class _Run:
    document: DocumentNode
    variables: Json

    def answer(self, operation: OperationDefinitionNode, root: Mapping[str, Any]) -> Json:
        data: Json = {}
        errors: list[Json] = []
        for field in self._fields(operation.selection_set, root):
            key = field.alias.value if field.alias else field.name.value
            try:
                data[key] = self._value(field, root)
            except (GraphqlError, ApiError) as error:
                data[key] = None
                errors.append(_shown(error, key, field))
        return {"data": data} | ({"errors": errors} if errors else {})

    def _value(self, field: FieldNode, of: Mapping[str, Any]) -> Any:  # noqa: ANN401
        name = field.name.value
        if name not in of:
            kind = of.get("__typename", "Query")
            raise GraphqlError("undefinedField", f"Field '{name}' doesn't exist on type '{kind}'")
        value = of[name]
        if callable(value):
            value = value(**self._arguments(field))
        return self._selected(field, value)

    def _arguments(self, field: FieldNode) -> Json:
        given = {
            argument.name.value: value_from_ast_untyped(argument.value, self.variables)
            for argument in field.arguments or ()
        }
        return {name: value for name, value in given.items() if value is not Undefined}

    def _selected(self, field: FieldNode, value: Any) -> Any:  # noqa: ANN401
        if isinstance(value, list):
            return [self._selected(field, one) for one in value]
        if value is None or field.selection_set is None:
            return value
        selected = Selected(value.get("__typename", ""))
        for one in self._fields(field.selection_set, value):
            key = one.alias.value if one.alias else one.name.value
            selected[key] = self._value(one, value)
        return selected

    def _fields(self, selections: SelectionSetNode, of: Mapping[str, Any]) -> Iterator[FieldNode]:
        for one in selections.selections:
            if isinstance(one, FieldNode):
                yield one
            elif isinstance(one, InlineFragmentNode):
                condition = one.type_condition.name.value if one.type_condition else None
                if _applies(condition, of):
                    yield from self._fields(one.selection_set, of)
            elif isinstance(one, FragmentSpreadNode):
                fragment = self._fragment(one.name.value)
                if _applies(fragment.type_condition.name.value, of):
                    yield from self._fields(fragment.selection_set, of)

    def _fragment(self, name: str) -> FragmentDefinitionNode:
        return next(
            d
            for d in self.document.definitions
            if isinstance(d, FragmentDefinitionNode) and d.name.value == name
        )


def _applies(condition: str | None, of: Mapping[str, Any]) -> bool:
    return condition is None or condition in INTERFACES or of.get("__typename") == condition


def _shown(error: GraphqlError | ApiError, key: str, field: FieldNode) -> Json:
    kinds = {403: "FORBIDDEN", 404: "NOT_FOUND"}
    kind = (
        error.kind if isinstance(error, GraphqlError) else kinds.get(error.status, "UNPROCESSABLE")
    )
    shown: Json = {"type": kind, "path": [key], "message": error.message}
    if field.loc is not None:
        start = field.loc.start_token
        shown["locations"] = [{"line": start.line, "column": start.column}]
    return shown

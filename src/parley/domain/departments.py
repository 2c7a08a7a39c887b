"""Departments: what a conversation may be about, and when somebody is there for it. Holds `department.*`.

Hours are told, not enforced: a conversation may begin at any time, and waits.
"""

from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import Meta, Struct

from parley.domain import audit
from parley.domain.cursors import from_cursor, page
from parley.domain.errors import Refusal, invalid_params
from parley.domain.ids import Id
from parley.domain.params import Limit, Params
from parley.domain.ports import Acting, Decision, Row, Transaction

Name = Annotated[str, Meta(min_length=1, max_length=100)]
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
Time = Annotated[str, Meta(pattern=r"^(?:[01][0-9]|2[0-3]):[0-5][0-9]\Z|^24:00\Z")]
Zone = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_+/-]{1,64}\Z")]


class Department(Row):
    """`name_key` is the name in lower case, and unique; `hours` is JSON text."""

    KEY: ClassVar = ("id",)
    id: str
    name: str
    name_key: str
    hours: str


class Hours(Struct, forbid_unknown_fields=True):
    """On `days` from `from` to `to`, in the time of `zone` (IANA's name)."""

    days: Annotated[list[Day], Meta(min_length=1, max_length=7)]
    from_: Time = msgspec.field(name="from")
    to: Time
    zone: Zone


class DepartmentView(Struct):
    id: str
    name: str
    hours: msgspec.Raw


class List(Params):
    after: str | None = None
    limit: Limit = 200


class Create(Params):
    name: Name
    hours: Annotated[list[Hours], Meta(max_length=20)] | None = None


class Update(Params):
    department: Id
    name: Name | None = None
    hours: Annotated[list[Hours], Meta(max_length=20)] | None = None


def list_departments(tx: Transaction, p: List, who: Acting) -> Decision:
    rows = tx.departments_page(from_cursor(p.after), p.limit + 1)
    shown, following = page(rows, p.limit, key=lambda row: row.id)
    return Decision({"departments": [_view(row) for row in shown], "next": following})


def create(tx: Transaction, p: Create, who: Acting) -> Decision:
    _require_free(tx, p.name)
    department = Department(id=who.new_id(), name=p.name, name_key=p.name.lower(), hours=_hours_json(p.hours or []))
    tx.add(department)
    audit.record(tx, who, "department.create", department.id, name=p.name)
    return Decision({"department": _view(department)})


def update(tx: Transaction, p: Update, who: Acting) -> Decision:
    department = tx.get(Department, p.department)
    if department is None:
        raise Refusal("not_found", "There is no department of this id.")
    name = department.name if p.name is None else p.name
    hours = department.hours if p.hours is None else _hours_json(p.hours)
    if (name, hours) == (department.name, department.hours):
        return Decision({"department": _view(department)})
    if name.lower() != department.name_key:
        _require_free(tx, name)
    department.name, department.name_key, department.hours = name, name.lower(), hours
    tx.save(department)
    audit.record(tx, who, "department.update", department.id, name=p.name)
    return Decision({"department": _view(department)})


def find(tx: Transaction, id_or_name: str) -> Department:
    """By its id, or by its name: whoever writes a page knows names. Raises: Refusal (`invalid_params`)."""
    found = tx.get(Department, id_or_name) or tx.department_by_name(id_or_name.lower())
    if found is None:
        raise invalid_params("department", "There is no such department.")
    return found


def _require_free(tx: Transaction, name: str) -> None:
    if tx.department_by_name(name.lower()) is not None:
        raise Refusal("conflict", "A department of this name exists.")


def _hours_json(hours: list[Hours]) -> str:
    return msgspec.json.encode(hours).decode()


def _view(row: Department) -> Any:
    return DepartmentView(row.id, row.name, msgspec.Raw(row.hours.encode()))

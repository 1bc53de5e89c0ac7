"""Values that know their rows and show themselves as tables."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from html import escape
from typing import Any


@dataclass(frozen=True)
class View:
    """A table: column names and rows of text and numbers."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[object, ...], ...]


class Tabular(ABC):
    """A result with rows; a notebook shows its tables, `print` shows them as text."""

    @abstractmethod
    def records(self) -> list[dict[str, Any]]:
        """One mapping a row, of plain values."""

    def views(self) -> list[View]:
        """The tables that are shown."""
        records = self.records()
        columns = tuple(dict.fromkeys(name for record in records for name in record))
        rows = tuple(tuple(record.get(name, "") for name in columns) for record in records)
        return [View("", columns, rows)]

    def to_pandas(self) -> Any:
        """The rows as a pandas DataFrame."""
        import pandas

        return pandas.DataFrame(self.records())

    def __repr__(self) -> str:
        shown = [(view.title, _frame(view)) for view in self.views()]
        texts = [
            "\n".join(
                part
                for part in (title, f.to_string(index=False, float_format="{:.1f}".format))
                if part
            )
            for title, f in shown
        ]
        return "\n\n".join(texts)

    def _repr_html_(self) -> str:
        parts = []
        for view in self.views():
            title = f"<p>{escape(view.title)}</p>" if view.title else ""
            table = _frame(view).to_html(index=False, float_format="{:.1f}".format, border=0)
            parts.append(title + table)
        return "\n".join(parts)


def _frame(view: View) -> Any:
    import pandas

    return pandas.DataFrame(list(view.rows), columns=list(view.columns))

"""What a study writes: one page, its tables in Markdown, its pictures as PNG files, and all numbers as JSON."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bayesprune.experiments.papers.measured import row_values
from bayesprune.experiments.papers.paper import Findings
from bayesprune.experiments.papers.rows import RowRuns
from bayesprune.store.atomic import write_bytes, write_json, write_text

SCHEMA = 1


def write_results(name: str, findings: Findings, found: Sequence[RowRuns], out: Path) -> dict[str, Any]:
    """Write `NAME.html`, `tables.md`, a PNG file a picture and `results.json` into a folder.

    Args:
        name: of the paper.
        findings: what its runs came to.
        found: its rows and their runs.
        out: the folder, made where it is missing.

    Returns:
        What `results.json` says.

    Raises:
        StoreError: a file cannot be written.
    """
    document = findings.document
    page = out / f"{name}.html"
    write_text(page, document.page())
    write_text(out / "tables.md", document.markdown())
    pictures = []
    for sketch in document.sketches():
        pictures.append(f"{sketch.name}.png")
        write_bytes(out / pictures[-1], sketch.png())
    values = {
        "schema": SCHEMA,
        "paper": name,
        "verdict": document.verdict,
        **findings.values,
        "rows": [row_values(one) for one in found],
        "report": str(page),
        "pictures": pictures,
    }
    write_json(out / "results.json", values)
    return values

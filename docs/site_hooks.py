"""What `mkdocs build` needs beside the pages in docs/: the pages of the repository that lie elsewhere.

A page in docs/ links to ``../benchmarks/README.md`` so that the link works in the repository too. The site has those
files one level deeper, at ``benchmarks/README.md``.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

REPOSITORY = Path(__file__).resolve().parents[1]
ELSEWHERE = (
    "CHANGELOG.md",
    "CITATION.cff",
    "CONTRIBUTING.md",
    "README.ja.md",
    "README.md",
    "SECURITY.md",
    "benchmarks/README.md",
    "benchmarks/notebook.md",
    "examples/01_whole_way.py",
    "examples/notebooks/1_frames_to_md.ipynb",
    "examples/notebooks/2_table_to_candidates.ipynb",
    "examples/notebooks/3_audit_strange_data.ipynb",
    "examples/data/measured/README.md",
    "examples/data/sige/frames.yaml",
)
"""Files outside of docs/ that pages link to."""
_LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)\s#]+)(#[^)]*)?\)")


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that lie elsewhere in the repository."""
    for name in ELSEWHERE:
        files.append(File.generated(config, name, abs_src_path=str(REPOSITORY / name)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Turn links between places of the repository into links between places of the site."""
    source = page.file.src_uri
    folder = (REPOSITORY / source if source in ELSEWHERE else REPOSITORY / "docs" / source).parent

    def moved(found: re.Match[str]) -> str:
        target = (folder / found[1]).resolve()
        if not target.is_relative_to(REPOSITORY):
            return found[0]
        inside = target.relative_to(REPOSITORY)
        place = inside.relative_to("docs") if inside.parts[0] == "docs" else inside
        up = "../" * (len(Path(source).parts) - 1)
        return f"]({up}{place.as_posix()}{found[2] or ''})"

    return _LINK.sub(moved, markdown)

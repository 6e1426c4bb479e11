"""One model or several on labelled frames: the facts of `matgraft evaluate`, and the page and the screen that say them.

document_of(facts)        # core/report: html, markdown and screen alike
"""

from __future__ import annotations

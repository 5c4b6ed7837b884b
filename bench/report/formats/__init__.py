"""How a table is written: LaTeX, Markdown, CSV, HTML, and for a terminal."""

"""Tables of a run in LaTeX, Markdown, CSV and for the terminal, all from one layout-neutral model."""

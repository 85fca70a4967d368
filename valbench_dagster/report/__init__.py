"""Report: tables of the warehouse as Markdown and CSV."""

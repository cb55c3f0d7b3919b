"""What is shown of scored outputs: tables and numbers as text, and the report as one page, Markdown and CSV.

outputs -> `compare` -> `Comparison` -> terminal, JSON, Markdown, CSV, HTML.
"""

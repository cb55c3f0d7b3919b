"""How prompts and completions lie in rows."""

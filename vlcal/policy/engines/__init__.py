"""Engines that sample completions: this process, a group over one prompt, a server."""

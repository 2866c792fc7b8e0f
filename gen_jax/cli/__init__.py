"""Code that all commands share: flags, and the end of a command."""

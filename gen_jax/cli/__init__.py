"""What all commands share: flags, and how a command ends."""

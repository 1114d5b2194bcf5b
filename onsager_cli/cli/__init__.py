"""The command: verbs and their options, progress on the terminal, completion, signals."""

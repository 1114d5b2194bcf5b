"""onsager: learned sparse recovery (LISTA, LAMP, LVAMP) as a command-line experiment runner."""

__version__ = "0.1.0"

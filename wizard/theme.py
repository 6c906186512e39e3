"""The look of fsft: warm paper by day, deep water by night."""

from textual.theme import Theme

DARK = Theme(
    name="fsft-dark",
    primary="#5cc8bd",
    secondary="#8fb8de",
    accent="#f2b84b",
    foreground="#d8dee4",
    background="#0f151b",
    surface="#151d25",
    panel="#1e2933",
    success="#7fd18b",
    warning="#f2b84b",
    error="#ff7b72",
    dark=True,
    variables={"footer-key-foreground": "#f2b84b", "input-selection-background": "#5cc8bd 35%"},
)
LIGHT = Theme(
    name="fsft-light",
    primary="#0b6b63",
    secondary="#2f5d8a",
    accent="#9a5b00",
    foreground="#22282e",
    background="#faf7f0",
    surface="#f3eee3",
    panel="#e8e0d0",
    success="#1d6b32",
    warning="#9a5b00",
    error="#b3261e",
    dark=False,
    variables={"footer-key-foreground": "#9a5b00", "input-selection-background": "#0b6b63 25%"},
)
THEMES = {"dark": DARK.name, "light": LIGHT.name, "ansi": "ansi-dark"}
"""What `--theme` takes, to the name of a theme; ansi uses the terminal's own sixteen colours."""

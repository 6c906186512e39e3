"""Does what a recipe says, without a terminal. Never imports textual or the wizard."""

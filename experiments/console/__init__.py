"""Terminal, process and user-facing errors."""

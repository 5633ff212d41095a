"""Terminal side of the commands: arguments, help, progress, interrupts."""

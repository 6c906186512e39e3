"""The command line: arguments in, exit codes out. The only place that writes to stderr."""

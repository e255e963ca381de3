"""The subcommands of `sweep` that work on AWS, one module each."""

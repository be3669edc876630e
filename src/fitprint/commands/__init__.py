"""The subcommands, one module each: ``add`` puts its parser among the others."""

"""The command line: a module for each verb. Functions import what they need, so that `--help` is fast."""

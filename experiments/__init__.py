"""Experiments: short scripts over vaejax. Each header gives the command, the minutes and what to expect."""

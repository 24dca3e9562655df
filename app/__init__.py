"""bandshift keeps every account in the coverage band that its facts and the team's policy give it."""

__version__ = "0.1.0"

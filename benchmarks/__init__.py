"""How fast and how good the recipes are, measured; README.md beside this file is the protocol."""

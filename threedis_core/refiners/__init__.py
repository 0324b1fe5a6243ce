"""The region refiners of the core: boxes as they are, and boxes cut out by depth."""

"""Whether what a layout asks for is in its depth map, by depth alone."""

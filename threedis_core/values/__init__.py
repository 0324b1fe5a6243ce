"""What everything is made of: boxes, masks, layouts, depth maps, regions, schedules. Immutable."""

"""Parts of a pipeline that come from places of their own: folders, repositories, single files."""

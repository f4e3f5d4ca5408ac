"""Controls: what stands in for synthetic images in the rows that they are compared with. One file per control."""

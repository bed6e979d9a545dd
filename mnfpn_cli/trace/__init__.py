"""One watched pass of any module: its calls, operations, shapes, and the lifetimes of its tensors."""

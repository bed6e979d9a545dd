"""Trace any network: record one pass of it, with its calls, operations, shapes and the lifetimes of tensors."""

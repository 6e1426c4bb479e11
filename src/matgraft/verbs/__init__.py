"""The verbs of `import matgraft` that take whatever a user has: structures, tables, files. One file a verb."""

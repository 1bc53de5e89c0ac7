"""From an expression to a model: parsing, loading, composing, heads, export and import."""

"""GitHub's API: App tokens, REST, GraphQL and what their answers mean."""

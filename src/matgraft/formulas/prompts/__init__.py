"""One frozen encoder that is asked for several properties by prompts."""

//! Declarative files: Kong's way to write a whole configuration as one YAML or JSON document.

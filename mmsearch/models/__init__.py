"""Model adapters: one file per library, each imported only when its model is asked for."""

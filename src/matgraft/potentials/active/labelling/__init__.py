"""Labels by any ASE calculator: the engine, its level of theory, the process that computes, the store that keeps."""

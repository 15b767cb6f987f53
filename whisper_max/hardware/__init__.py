"""What a model runs on: processors, cores, threads, memory, GPUs."""
